"""Compares exports with the model they came from: `python -m htrcompress.export.verify FOLDER --data DIR`."""

from htrcompress.cli import run_command
from htrcompress.export.commands import verify

if __name__ == "__main__":
    run_command(verify, positional="folder")
