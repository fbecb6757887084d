"""Text into pages and back: `python benchmarks/studies/pages_back.py PAGES --model MODEL --folder .peers`.

A model's texts are written into copies of PAGE and ALTO files, as `htrcompress.transcribe --write` does. The copies are
read by our reader and by kraken's, in the environment that `python benchmarks/peers.py --setup kraken` makes, and line
by line the two must have the same text. With `--schemas`, a folder with the schemas of PAGE and ALTO and with what they
import (`xlink.xsd`), every file is validated before and after: what was valid must stay so, and nothing else may be
wrong with the others than was before.
"""

import json
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peer_setup import RUNNERS, interpreter
from benchmarks.results import command_line, save, this_machine
from htrcompress import load
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.pages.files import read_page
from htrcompress.runtime.page_reading import read_pages
from htrcompress.transcribe import page_files


@dataclass(frozen=True)
class Validated:
    """What schemas say of the files.

    Attributes:
        files: that there was a schema for.
        valid_before, valid_after: how many were valid before and after text was put into them.
        worse: files with an error that was not there before.
    """

    files: int
    valid_before: int
    valid_after: int
    worse: list[str]


@dataclass(frozen=True)
class PagesBack:
    """What came back from pages that were filled.

    Attributes:
        command: how this was measured.
        model: the model's name.
        pages: that were filled, by format.
        errors: pages that could not be, with why.
        lines: that text was written into.
        left: reason to how many lines stayed as they were.
        seconds: that reading and writing took, once the model was there.
        same: lines that our reader and kraken's give the same text of.
        different: up to ten of the others: file, line, ours, kraken's.
        schemas: see `Validated`; None where no schemas were named.
        machine: processor, cores and versions.
    """

    command: str
    model: str
    pages: dict[str, int]
    errors: list[str]
    lines: int
    left: dict[str, int]
    seconds: float
    same: int
    different: list[tuple[str, str, str, str | None]]
    schemas: Validated | None
    machine: dict[str, Any] = field(default_factory=dict)
    kind: str = "pages_back"

    def __rich__(self) -> str:
        text = (
            f"{sum(self.pages.values())} pages, {self.lines} lines in {self.seconds:.1f} s; {self.same} read alike by "
            f"our reader and kraken's, {len(self.errors)} pages failed"
        )
        if self.schemas:
            found = self.schemas
            text += (
                f"; {found.valid_before} of {found.files} files were valid before and {found.valid_after} after, "
                f"{len(found.worse)} have a new error"
            )
        return text


@dataclass(frozen=True)
class PagesBackOptions:
    """Fills pages with a model's text and reads them back with two readers."""

    pages: list[Path]
    """PAGE or ALTO files, or folders of them, with their images."""
    model: str
    """A model's name or file."""
    folder: Path = Path(".peers")
    """Where the environments of other recognisers are; kraken's is used."""
    schemas: Path | None = None
    """A folder with the schemas of PAGE and ALTO (.xsd); nothing is validated if not given."""
    most: int | None = None
    """How many pages to fill, spread evenly; all if not given."""
    threads: int = 2
    """CPU threads."""
    out: Path | None = None
    """A JSON file for the result."""


def pages_back(options: PagesBackOptions) -> PagesBack:
    """Fills pages with a model's text and reads them back with two readers.

    Raises:
        HtrError: there are no pages, the model cannot be used, or kraken's environment is not there or fails.
    """
    python = interpreter("kraken", options.folder)
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        files = page_files(options.pages, Path(scratch))
        files = files[:: max(1, len(files) // options.most)][: options.most] if options.most else files
        with load(options.model, options.threads) as recognizer:
            start = time.perf_counter()
            outcomes = list(read_pages(recognizer, files))
            seconds = time.perf_counter() - start
            model = recognizer.card.name
        filled = [(outcome.source, outcome.written) for outcome in outcomes if outcome.written]
        ours = [read_page(after) for _, after in filled]
        theirs = _ask(python, filled, options.schemas)
    left: Counter[str] = Counter()
    for outcome in outcomes:
        left.update(outcome.left)
    same, different = _compared([(str(after), page) for (_, after), page in zip(filled, ours, strict=True)], theirs)
    result = PagesBack(
        command_line(),
        model,
        dict(Counter(page.format.partition(" ")[0] for page in ours)),
        [outcome.error for outcome in outcomes if outcome.error],
        sum(outcome.lines for outcome in outcomes),
        dict(+left),
        seconds,
        same,
        different[:10],
        _validated(theirs["schemas"]) if options.schemas else None,
        this_machine("htrcompress") | {"readers": theirs["versions"]},
    )
    save(result, options.out)
    return result


def _ask(python: Path, filled: list[tuple[Path, Path]], schemas: Path | None) -> dict[str, Any]:
    """What kraken reads in the filled files, and what the schemas say."""
    request = {"pairs": [[str(a), str(b)] for a, b in filled], "schemas": str(schemas) if schemas else None}
    done = subprocess.run(
        [str(python), str(RUNNERS / "pages.py")], input=json.dumps(request) + "\n", capture_output=True, text=True
    )
    if done.returncode:
        raise HtrError(f"kraken's process failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _compared(
    pages: list[tuple[str, Any]], theirs: dict[str, Any]
) -> tuple[int, list[tuple[str, str, str, str | None]]]:
    """How many lines have the same text in both readers, and the others."""
    same, different = 0, []
    for name, page in pages:
        texts = theirs["texts"][name]
        for line in page.lines:
            text = texts.get(line.id)
            if text is not None and text.strip() == line.text.strip():
                same += 1
            else:
                different.append((Path(name).name, line.id, line.text, text))
    return same, different


def _validated(rows: list[dict[str, Any]]) -> Validated:
    worse = [f"{Path(row['file']).name}: {row['new'][0]}" for row in rows if row["new"]]
    return Validated(len(rows), sum(row["before"] for row in rows), sum(row["after"] for row in rows), worse)


if __name__ == "__main__":
    run_command(pages_back, positional="pages")
