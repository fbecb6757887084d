"""Compares exports with the model they came from: `python -m htrcompress.export.verify FOLDER --data DIR`."""

from htrcompress.cli import exit_without, run_command

if __name__ == "__main__":
    try:
        from htrcompress.export.verification import verify
    except ModuleNotFoundError as error:
        exit_without(error)
    run_command(verify, positional="folder")
