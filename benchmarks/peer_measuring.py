"""Recognisers on the lines of one corpus, each in a process of its own: timed in turns, then every line read once.

The speeds are those of some lines, spread over the split, since the slowest peers read a few in a second; the error
rates are those of all lines unless fewer are asked for.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.peer_rows import PeerCorpus, PeerRow
from benchmarks.peer_setup import Process
from benchmarks.splits import Split, file_of
from benchmarks.timing import Spread, evenly, require_positive
from htrcompress import metrics
from htrcompress.cli import console
from htrcompress.errors import HtrError

CHUNK = 128
"""Lines that a process is asked to read at once, which bounds its memory."""


@dataclass(frozen=True)
class Terms:
    """What is the same for every recogniser and corpus.

    Attributes:
        threads: CPU threads of each.
        batch: lines in a batch; each also reads lines one by one.
        lines: how many lines of each corpus are timed.
        rounds: timed rounds; one more comes first, to warm up.
        scored: how many lines of each corpus are read for the error rate; all if None.
    """

    threads: int
    batch: int
    lines: int
    rounds: int
    scored: int | None = None

    def __post_init__(self) -> None:
        counts = {name: value for name, value in asdict(self).items() if value is not None}
        require_positive(**counts)


@dataclass(frozen=True)
class Entrant:
    """A recogniser before it is measured.

    Attributes:
        row: its name and kind; with a reason where it cannot run.
        python: what runs it.
        runner: its file in `peer_runners/`.
        options: of the runner.
        sources: where it can read from.
    """

    row: PeerRow
    python: Path = Path()
    runner: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ("memory", "files")


def measure(entrants: Sequence[Entrant], corpus: str, split: Split, terms: Terms) -> PeerCorpus:
    """Times all recognisers on lines of a split, and scores those that have learnt to read."""
    lines = evenly(split.lines, terms.scored or len(split.lines))
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        files = [file_of(line, Path(scratch) / f"{number}.png") for number, line in enumerate(lines)]
        timed = evenly(files, terms.lines)
        contest = _Contest(entrants, timed, terms)
        try:
            contest.time()
            contest.score(files, [line.text for line in lines])
        finally:
            contest.close()
    return PeerCorpus(corpus, split.name, split.hash, len(lines), len(timed), contest.rows)


class _Contest:
    """The processes of one corpus, and the rows that they fill; one that fails leaves the reason in its row."""

    def __init__(self, entrants: Sequence[Entrant], timed: list[Path], terms: Terms):
        self.rows = [entrant.row for entrant in entrants]
        self.timed, self.terms = timed, terms
        self.sources = [entrant.sources for entrant in entrants]
        self.running: dict[int, Process] = {}
        for number, entrant in enumerate(entrants):
            if entrant.row.reason:
                continue
            try:
                with console.status(f"opening {entrant.row.name}"):
                    opened = Process(entrant.python, entrant.runner, timed, terms.threads, entrant.options)
            except HtrError as error:
                self.rows[number] = replace(entrant.row, reason=str(error))
                continue
            self.running[number] = opened
            about = {name: value for name, value in opened.about.items() if value is not None}
            self.rows[number] = replace(entrant.row, **about)

    def time(self) -> None:
        """Every process has its turn in every round; the first round warms up."""
        seconds: dict[int, dict[tuple[str, int], list[float]]] = {number: {} for number in self.running}
        for round_number in range(self.terms.rounds + 1):
            for number in list(self.running):
                with console.status(f"round {round_number} of {self.terms.rounds}: {self.rows[number].name}"):
                    taken = self._turn(number)
                if round_number and taken:
                    for kind, one in taken.items():
                        seconds[number].setdefault(kind, []).append(one)
        for number in self.running:
            speeds = {
                f"{source}, batch {size}": Spread.of([len(self.timed) / one for one in several])
                for (source, size), several in seconds[number].items()
            }
            self.rows[number] = replace(self.rows[number], speeds=speeds)

    def score(self, files: list[Path], truth: list[str]) -> None:
        """Reads all lines in batches, and compares every recogniser with the first."""
        first: metrics.Score | None = None
        for number in list(self.running):
            row = self.rows[number]
            if row.kind == "speed":
                continue
            texts: list[str] = []
            try:
                for start in range(0, len(files), CHUNK):
                    with console.status(f"{row.name}: {start} of {len(files)} lines"):
                        chunk = files[start : start + CHUNK]
                        texts += self.running[number].read("files", self.terms.batch, chunk)[1]
            except HtrError as error:
                self._drop(number, error)
                continue
            found = metrics.score(truth, texts)
            difference = metrics.paired_interval(found, first) if first else None
            first = first or found if number == 0 else first
            self.rows[number] = replace(
                row, cer=found.cer, interval=found.interval(), wer=found.wer, difference=difference
            )

    def close(self) -> None:
        """Ends all processes."""
        for process in self.running.values():
            process.close()

    def _turn(self, number: int) -> dict[tuple[str, int], float]:
        """Seconds of one process for each source and size of batch; nothing where it fails."""
        seconds, texts = {}, {}
        for source in self.sources[number]:
            for size in (1, self.terms.batch):
                try:
                    seconds[source, size], texts[size] = self.running[number].read(source, size)
                except HtrError as error:
                    self._drop(number, error)
                    return {}
        differing = sum(one != other for one, other in zip(texts[1], texts[self.terms.batch], strict=True))
        self.rows[number] = replace(self.rows[number], differing=differing)
        return seconds

    def _drop(self, number: int, error: HtrError) -> None:
        """Takes a process out that failed, and its figures with it."""
        del self.running[number]
        row = self.rows[number]
        self.rows[number] = replace(row, reason=str(error), speeds={}, differing=None)
