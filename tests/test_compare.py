"""Two results beside each other: what counts as a change, what does not, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import CompareOptions, Comparison, compare
from benchmarks.evidence import Evidence
from benchmarks.results import FOLDER, read, save
from benchmarks.rows import Benchmark
from benchmarks.timing import Spread
from htrcompress.errors import HtrError

LINES = 60


@pytest.fixture
def before() -> Benchmark:
    """One artefact, with one error in each line of ten characters."""
    old = read(FOLDER / "copiste_fr.json", Benchmark)
    row = replace(old.rows[0], lines_per_second=Spread(100, 95, 105), files_per_second=Spread(80, 75, 85))
    assert row.splits is not None
    row = replace(row, splits={"test": replace(row.splits["test"], cer=0.1, cer_interval=(0.09, 0.11))})
    evidence = Evidence([10] * LINES, [90] * LINES, {row.key: [1] * LINES}, {}, {})
    return replace(old, rows=[row], splits={"test": old.splits["test"]}, evidence={"test": evidence})


def after(before: Benchmark, edits: list[int] | None = None, **changes: Any) -> Benchmark:
    """The same with other errors, or other values of its row."""
    row = replace(before.rows[0], **changes)
    if edits is None:
        return replace(before, rows=[row])
    assert row.splits is not None
    row = replace(row, splits={"test": replace(row.splits["test"], cer=sum(edits) / (10 * LINES))})
    evidence = replace(before.evidence["test"], edits={row.key: edits})
    return replace(before, rows=[row], evidence={"test": evidence})


def compared(one: Benchmark, other: Benchmark, folder: Path, fail: str = "worse,slower") -> Comparison:
    for name, result in (("a.json", one), ("b.json", other)):
        save(result, folder / name)
    return compare(CompareOptions([str(folder / "a.json"), str(folder / "b.json")], fail))


def verdicts(found: Comparison) -> dict[str, str]:
    return {change.measure: change.verdict for change in found.changes}


def test_nothing_changed(before: Benchmark, tmp_path: Path) -> None:
    found = compared(before, before, tmp_path)
    assert set(verdicts(found).values()) == {"same"} and found.exit_code == 0
    assert found.changes[0].paired and found.changes[0].interval == (0, 0)


def test_errors_are_compared_line_by_line(before: Benchmark, tmp_path: Path) -> None:
    worse = compared(before, after(before, [2] * 20 + [1] * 40), tmp_path)
    assert verdicts(worse)["CER test"] == "worse" and worse.exit_code == 1
    assert worse.changes[0].change == pytest.approx(20 / 600)
    better = compared(before, after(before, [0] * 20 + [1] * 40), tmp_path)
    assert verdicts(better)["CER test"] == "better" and better.exit_code == 0
    noise = compared(before, after(before, [2, 0, 2] + [1] * 57), tmp_path)
    assert verdicts(noise)["CER test"] == "same" and noise.exit_code == 0


def test_without_lines_intervals_are_wider(before: Benchmark, tmp_path: Path) -> None:
    other = replace(after(before, [2] * 5 + [1] * 55), evidence={})
    change = compared(before, other, tmp_path).changes[0]
    assert not change.paired and change.verdict == "same"
    assert change.interval is not None and change.interval[0] < 0 < change.change < change.interval[1]


def test_speeds_change_where_no_rounds_overlap(before: Benchmark, tmp_path: Path) -> None:
    slower = compared(before, after(before, lines_per_second=Spread(90, 85, 94)), tmp_path)
    assert verdicts(slower) | {"lines/s": "slower", "from files": "same"} == verdicts(slower)
    assert slower.exit_code == 1
    assert compared(before, after(before, lines_per_second=Spread(90, 85, 96)), tmp_path).exit_code == 0
    faster = compared(before, after(before, files_per_second=Spread(95, 90, 99), size_bytes=9), tmp_path, "smaller")
    assert verdicts(faster)["from files"] == "faster" and verdicts(faster)["bytes"] == "smaller"
    assert faster.exit_code == 1


@pytest.mark.parametrize("changed", [{"threads": 1}, {"rounds": 2}], ids=str)
def test_speeds_of_other_settings_are_not_compared(before: Benchmark, changed: dict[str, int], tmp_path: Path) -> None:
    other = replace(before, settings=before.settings | changed)
    found = compared(before, other, tmp_path)
    assert set(verdicts(found)) == {"CER test", "bytes"} and next(iter(changed)) in found.notes[0]


def test_what_cannot_be_compared_is_refused(before: Benchmark, tmp_path: Path) -> None:
    other_lines = replace(before, splits={"test": {"lines": 3, "hash": "0"}})
    with pytest.raises(HtrError, match="split test"):
        compared(before, other_lines, tmp_path)
    with pytest.raises(HtrError, match="no split"):
        compared(before, replace(before, splits={"valid": {"lines": 3, "hash": "0"}}), tmp_path)
    with pytest.raises(HtrError, match="no artefact"):
        compared(before, after(before, model="other"), tmp_path)
    with pytest.raises(HtrError, match="two results"):
        CompareOptions(["a.json"])
    with pytest.raises(HtrError, match="--fail"):
        CompareOptions(["a.json", "b.json"], "wrose")
