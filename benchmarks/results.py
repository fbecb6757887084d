"""What all benchmarks do with a result: say how it was made, write it, and put it into a table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from htrcompress.cli import to_json
from htrcompress.utils.io import write_atomic

FOLDER = Path(__file__).parent / "results"
"""The committed results, which the tables of README and docs are written from."""


def command_line(script: str) -> str:
    """The command that is running, as a user types it from the project's folder."""
    return " ".join(["python", script, *sys.argv[1:]])


def save(result: Any, out: Path | None) -> None:
    """Writes a result as one line of JSON, if there is a file to write it to."""
    if out:
        write_atomic(out, (to_json(result) + "\n").encode())


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    """The lines of a Markdown table; the columns after the first `texts` are numbers."""
    rule = ["---" if place < texts or not heading else "---:" for place, heading in enumerate(headings)]
    escaped = [[cell.replace("|", r"\|") for cell in cells] for cells in (headings, rule, *rows)]
    return ["| " + " | ".join(cells) + " |" for cells in escaped]
