"""What changed between two results of `benchmarks/run.py`: `python benchmarks/compare.py BEFORE.json AFTER.json`.

Error rates are compared line by line where both results hold the lines, with a 95 % bootstrap interval; a change counts
where the interval excludes zero. Speeds were measured in two runs, so they are compared only where processor, threads,
batch and timed lines are the same, and a change counts where every round of one is faster than every round of the
other: of `MIN_ROUNDS` rounds each, chance does that once in 35. The exit status is 1 where something got worse or
slower.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence import Evidence
from benchmarks.results import read
from benchmarks.rows import Benchmark, Row
from benchmarks.splits import SplitScore
from benchmarks.timing import Spread
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.metrics import bootstrap

MIN_ROUNDS = 4
"""Rounds that a comparison of speeds needs."""
SAME = "same"
VERDICTS = ("better", "worse", "faster", "slower", "smaller", "larger")
SAME_MACHINE = ("processor", "cores")
SAME_SETTINGS = ("threads", "batch", "timed_lines", "device", "split")


@dataclass(frozen=True)
class CompareOptions:
    """Compares two results of benchmarks/run.py; exits with 1 where something got worse or slower."""

    results: list[str]
    """BEFORE.json AFTER.json: the two results."""
    fail: str = "worse,slower"
    """What ends with status 1, of better, worse, faster, slower, smaller and larger, with commas between."""

    def __post_init__(self) -> None:
        if len(self.results) != 2:
            raise HtrError("name two results: BEFORE.json AFTER.json")
        unknown = sorted(set(self.verdicts) - set(VERDICTS))
        if unknown:
            raise HtrError(f"--fail knows no '{unknown[0]}': choose {', '.join(VERDICTS)}")

    @property
    def verdicts(self) -> list[str]:
        """What ends with status 1."""
        return [name.strip() for name in self.fail.split(",") if name.strip()]


@dataclass(frozen=True)
class Change:
    """One measure of one artefact in both results.

    Attributes:
        artefact: what it is called in both.
        measure: `CER test`, `lines/s`, `from files` or `bytes`.
        before, after: values; error rates are fractions.
        change: after minus before for error rates, else after over before.
        interval: 95 % interval of the change of an error rate; the least and the most that the rounds' speeds allow.
        paired: whether lines were compared one by one.
        verdict: one of `VERDICTS`, or `same`: not beyond the noise.
    """

    artefact: str
    measure: str
    before: float
    after: float
    change: float
    interval: tuple[float, float] | None
    paired: bool
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """What changed.

    Attributes:
        before, after: the files.
        changes: every measure of every artefact that both results have.
        only_before, only_after: artefacts that one of them has.
        notes: what was not compared, and why.
        exit_code: 1 where a verdict is one that was to fail.
    """

    before: str
    after: str
    changes: list[Change]
    only_before: list[str]
    only_after: list[str]
    notes: list[str]
    exit_code: int
    kind: str = "comparison"

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table("artefact", "measure", "before", "after", "change", "95 % or range", "")
        for c in self.changes:
            table.add_row(c.artefact, c.measure, *_cells(c), "" if c.verdict == SAME else c.verdict)
        lists = ((self.before, self.only_before), (self.after, self.only_after))
        alone = [f"only in {file}: {', '.join(names)}" for file, names in lists if names]
        changed = [c for c in self.changes if c.verdict != SAME]
        total = f"{len(changed)} of {len(self.changes)} measures changed beyond the noise"
        return Group(table, *alone, *self.notes, total)


def _cells(c: Change) -> list[str]:
    if c.measure.startswith("CER"):
        span = f"{100 * c.interval[0]:+.2f} to {100 * c.interval[1]:+.2f}" if c.interval else ""
        how = "" if c.paired else " (not paired)"
        return [f"{100 * c.before:.2f} %", f"{100 * c.after:.2f} %", f"{100 * c.change:+.2f} points", span + how]
    span = f"× {c.interval[0]:.2f} to {c.interval[1]:.2f}" if c.interval else ""
    return [f"{c.before:,.0f}", f"{c.after:,.0f}", f"× {c.change:.2f}", span]


def compare(options: CompareOptions) -> Comparison:
    """Compares two results of benchmarks/run.py.

    Raises:
        HtrError: a file is no such result, or the two have no split or artefact in common, or a split of the same name
            holds other lines.
    """
    files = [Path(name) for name in options.results]
    before, after = (read(file, Benchmark) for file in files)
    splits = _same_splits(before, after)
    rows = [{row.key: row for row in result.rows} for result in (before, after)]
    common = [key for key in rows[0] if key in rows[1]]
    if not common:
        raise HtrError(
            f"{files[0]} and {files[1]} have no artefact in common: were both made of runs of the same roles?"
        )
    reason = _why_not_speeds(before, after)
    changes: list[Change] = []
    for key in common:
        one, other = rows[0][key], rows[1][key]
        changes += _errors(key, splits, before, after, one, other)
        changes += [] if reason else _speeds(key, one, other)
        changes.append(_bytes(key, one, other))
    return Comparison(
        str(files[0]),
        str(files[1]),
        changes,
        [key for key in rows[0] if key not in rows[1]],
        [key for key in rows[1] if key not in rows[0]],
        [f"speeds are not compared: {reason}"] if reason else [],
        int(any(change.verdict in options.verdicts for change in changes)),
    )


def _same_splits(before: Benchmark, after: Benchmark) -> list[str]:
    names = [name for name in before.splits if name in after.splits]
    if not names:
        raise HtrError("the two results have no split in common: measure both on the same data")
    for name in names:
        hashes = before.splits[name]["hash"], after.splits[name]["hash"]
        if hashes[0] != hashes[1]:
            raise HtrError(f"split {name} holds other lines in each result (hashes {' and '.join(hashes)})")
    return names


def _why_not_speeds(before: Benchmark, after: Benchmark) -> str:
    """Why speeds of the two cannot be compared; empty if they can."""
    pairs = [(name, before.machine.get(name), after.machine.get(name)) for name in SAME_MACHINE]
    pairs += [(name, before.settings.get(name), after.settings.get(name)) for name in SAME_SETTINGS]
    for name, one, other in pairs:
        if one != other:
            return f"{name.replace('_', ' ')} {one} before and {other} after"
    rounds = min(before.settings["rounds"], after.settings["rounds"])
    return f"{rounds} rounds are too few, measure {MIN_ROUNDS} or more" if rounds < MIN_ROUNDS else ""


def _errors(key: str, splits: list[str], before: Benchmark, after: Benchmark, one: Row, other: Row) -> Iterator[Change]:
    for name in splits:
        first, second = (one.splits or {}).get(name), (other.splits or {}).get(name)
        if not first or not second:
            continue
        interval = _paired(key, before.evidence.get(name), after.evidence.get(name))
        paired, interval = interval is not None, interval or _unpaired(first, second)
        verdict = "worse" if interval[0] > 0 else "better" if interval[1] < 0 else SAME
        change = second.cer - first.cer
        yield Change(key, f"CER {name}", first.cer, second.cer, change, interval, paired, verdict)


def _paired(key: str, before: Evidence | None, after: Evidence | None) -> tuple[float, float] | None:
    """The interval of the change over the same lines; None where a result does not hold them."""
    if before is None or after is None or key not in before.edits or key not in after.edits:
        return None
    edits, earlier = (np.array(result.edits[key], np.int64) for result in (after, before))
    return bootstrap(edits - earlier, np.array(before.lengths, np.int64))


def _unpaired(first: SplitScore, second: SplitScore) -> tuple[float, float]:
    """The interval of the difference of two rates that are taken to be independent."""
    one, other = ((score.cer_interval[1] - score.cer_interval[0]) / 2 for score in (first, second))
    change, room = second.cer - first.cer, math.hypot(one, other)
    return change - room, change + room


def _speeds(key: str, one: Row, other: Row) -> Iterator[Change]:
    measures: list[tuple[str, Spread | None, Spread | None]] = [
        ("lines/s", one.lines_per_second, other.lines_per_second),
        ("from files", one.files_per_second, other.files_per_second),
    ]
    for measure, first, second in measures:
        if first and second:
            interval = second.min / first.max, second.max / first.min
            verdict = "faster" if interval[0] > 1 else "slower" if interval[1] < 1 else SAME
            change = second.median / first.median
            yield Change(key, measure, first.median, second.median, change, interval, False, verdict)


def _bytes(key: str, one: Row, other: Row) -> Change:
    change = other.size_bytes / one.size_bytes
    verdict = "larger" if change > 1.01 else "smaller" if change < 0.99 else SAME
    return Change(key, "bytes", one.size_bytes, other.size_bytes, change, None, False, verdict)


if __name__ == "__main__":
    run_command(compare, positional="results")
