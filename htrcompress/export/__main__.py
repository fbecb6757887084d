"""Writes the deployable forms of a run's models: `python -m htrcompress.export [RUN] --trt --fp16`."""

from htrcompress.cli import exit_without, run_command

if __name__ == "__main__":
    try:
        from htrcompress.export.exporter import export
    except ModuleNotFoundError as error:
        exit_without(error)
    run_command(export, positional="run")
