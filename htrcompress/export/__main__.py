"""Writes the deployable files of a run's models: `python -m htrcompress.export [RUN] --trt --fp16`."""

from htrcompress.cli import run_command
from htrcompress.export.commands import export

if __name__ == "__main__":
    run_command(export, positional="run")
