"""The page of a benchmark: what it shows, that it needs nothing from outside, and what is refused."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.artefacts import Size
from benchmarks.evidence import CurvePoint, calibration, curve, gather, pictures
from benchmarks.page import page
from benchmarks.page.__main__ import PageOptions, write_page
from benchmarks.page.axis import axis, shown
from benchmarks.page.html import difference
from benchmarks.page.plots import front
from benchmarks.page.svg import SHAPES, Point, mark
from benchmarks.peaks import Peaks
from benchmarks.results import FOLDER, read, save
from benchmarks.rows import Benchmark, Row
from benchmarks.splits import Split
from benchmarks.timing import Spread
from htrcompress.data.lines import Dataset, Line
from htrcompress.errors import HtrError
from htrcompress.metrics import score
from htrcompress.runtime import Reading

TEXTS = ["abcd <b>", "the cat", "x y z", "hello"]
READ = ["abcd <b>", "the bat", "xyz", ""]
VOID = {"meta", "link", "img", "rect", "line", "circle", "path", "polyline"}


class Checker(HTMLParser):
    """Collects tags, addresses and texts, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.unnamed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.addresses += [known[name] or "" for name in ("src", "href") if name in known]
        if tag == "img" and not known.get("alt"):
            self.unnamed.append(tag)
        if tag == "svg" and not (known.get("aria-label") or known.get("aria-hidden")):
            self.unnamed.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == [] and checker.unnamed == [] and "script" not in checker.tags
    assert all(address.startswith("data:") for address in checker.addresses)
    assert not re.search(r"url\(|@import", text)
    return checker


@pytest.fixture
def split() -> Split:
    image = np.full((40, 90), 255, np.uint8)
    lines = [Line(f"{n}.png", text, "test", lambda: image, group="<hand>") for n, text in enumerate(TEXTS)]
    return Split(Dataset("x", "tsv", {"test": lines}), "test")


@pytest.fixture
def result(split: Split) -> Benchmark:
    """Two artefacts of one model, one of which reads worse."""
    old = read(FOLDER / "copiste_fr.json", Benchmark)
    rates = {"cer": 0.25, "cer_interval": (0.1, 0.4), "status": "measured", "work": Size(10, 0.5, 2.0)}
    speed = {"lines_per_second": Spread(100, 90, 110), "files_per_second": Spread(80, 70, 90)}
    rows = [
        Row("student", runtime, file, "FP32", "FP32", 1000, 4000, 0.5, **rates, **speed)  # type: ignore[arg-type]
        for runtime, file in (("PyTorch", "student.safetensors"), ("ONNX Runtime", "export/student/model.onnx"))
    ]
    readings = {
        rows[0].key: [Reading(text, -0.1 * n) for n, text in enumerate(READ)],
        rows[1].key: [Reading(text, -0.1) for text in TEXTS],
    }
    evidence = gather(split, [90, 90, 80, 0], readings, {"student": rows[0].key}, "student")
    points = [CurvePoint(10, 60.0, 0.5), CurvePoint(20, 120.0, 0.25)]
    return Benchmark(
        command="python benchmarks/run.py",
        date=old.date,
        run="runs/<x>",
        data="lines",
        splits={"test": {"lines": 4, "hash": split.hash}},
        machine=old.machine,
        settings=old.settings,
        decode_ms_per_line=0.5,
        rows=rows,
        differences=[],
        groups={"test": split.groups({"student": score(TEXTS, READ)})},
        peaks=Peaks({"FP32": 100.0, "BF16": 200.0, "INT8": 300.0}, 10.0),
        evidence={"test": evidence},
        curves={"student": points},
    )


def test_evidence_of_lines(result: Benchmark) -> None:
    found = result.evidence["test"]
    one, other = (row.key for row in result.rows)
    assert found.edits == {one: [0, 1, 2, 5], other: [0, 0, 0, 0]}
    assert found.differing == {one: {one: 0, other: 3}, other: {one: 3, other: 0}}
    assert [line.id for line in found.worst] == ["3.png", "2.png", "1.png"]  # a line without errors is none of them
    assert (" ", "", 2) in found.confusions["student"] and ("c", "b", 1) in found.confusions["student"]
    assert sum(some.lines for some in found.calibration["student"]) == 4


def test_calibration_sorts_lines_by_confidence() -> None:
    readings = [Reading("ab", -2.0), Reading("xx", -np.inf), Reading("ab", 0.0)]
    bins = calibration(readings, score(["ax", "ab", "ab"], [reading.text for reading in readings]))
    assert [(some.lines, round(some.confidence, 3), some.accuracy) for some in bins] == [
        (1, 0.0, 0.0),
        (1, 0.135, 0.5),
        (1, 1.0, 1.0),
    ]


def test_the_page_has_every_section_and_needs_nothing(result: Benchmark, split: Split, tmp_path: Path) -> None:
    ids = {line.id for line in result.evidence["test"].worst}
    text = page(result, pictures(split, ids))
    found = checked(text)
    for name in "pareto table curves size calibration confusions agreement worst roofline environment".split():
        assert f'<section id="{name}">' in text, name
    assert found.tags.count("img") == 3 and found.tags.count("figure") == 4 + 2 + 2 + 1
    assert "<del>c</del><ins>b</ins>" in text and "&lt;hand&gt;" in text and "<hand>" not in text
    assert "50 of 100 (50 %)" in text  # 0.5 GFLOP a line at 100 lines/s

    save(result, tmp_path / "benchmark.json")
    again = read(tmp_path / "benchmark.json", Benchmark)
    assert page(again) == page(result)
    written = write_page(PageOptions(tmp_path / "benchmark.json"))
    assert written.path == tmp_path / "report.html" and written.pictures == 0
    assert written.path.read_text(encoding="utf-8") == page(result)


@pytest.mark.parametrize("name", ["copiste_fr", "demo", "speed"])
def test_committed_results_have_a_page(name: str) -> None:
    text = page(read(FOLDER / f"{name}.json", Benchmark))
    checked(text)
    assert ('id="pareto"' in text) == (name != "speed")  # random weights have no error rates


def test_what_is_no_result_is_refused(result: Benchmark, tmp_path: Path) -> None:
    for name, content in {
        "none.json": None,
        "text.json": "{",
        "list.json": "[]",
        "kind.json": '{"kind": "seeds"}',
        "part.json": '{"kind": "benchmark", "rows": 3}',
    }.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(HtrError, match=name):
            read(tmp_path / name, Benchmark)
    (tmp_path / "lines").mkdir()
    Image.new("L", (20, 20)).save(tmp_path / "lines" / "0.png")
    (tmp_path / "lines" / "test.tsv").write_text("0.png\tother\n")
    save(result, tmp_path / "result.json")
    with pytest.raises(HtrError, match="--data"):
        write_page(PageOptions(tmp_path / "result.json", str(tmp_path / "lines")))


def test_what_nothing_surpasses() -> None:
    points = [Point(100, 9, "a"), Point(200, 10, "b"), Point(150, 12, "c"), Point(50, 9, "d")]
    assert [point.title for point in front(points, more_is_better=True)] == ["a", "b"]
    assert [point.title for point in front(points, more_is_better=False)] == ["d"]


def test_axes_mark_round_values() -> None:
    assert axis("x", [3, 97], zero=True).marks() == [0, 25, 50, 75, 100]
    assert axis("x", [80, 900], log=True).marks() == [100, 200, 500, 1000]
    assert axis("x", [5, 5]).marks()
    assert [shown(value) for value in (1500, 2.5e6, 0.25, 12)] == ["1.5k", "2.5M", "0.25", "12"]
    assert len({mark(0, 0, shape) for shape in range(len(SHAPES))}) == len(SHAPES)


def test_a_difference_shows_what_is_lost_and_found() -> None:
    assert difference("a b<", "ab<") == "a<del>␣</del>b&lt;"
    assert difference("cat", "bats") == "<del>c</del><ins>b</ins>at<ins>s</ins>"


def test_a_curve_skips_rows_of_losses_and_damage(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    rows = [{"step": 1, "seconds": 1, "ctc": 3}, {"step": 2, "seconds": 3, "cer": 0.5, "wer": 1}]
    (tmp_path / "student" / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 3, "se')
    assert curve(tmp_path / "student.safetensors") == [CurvePoint(2, 3, 0.5)]
    assert curve(tmp_path / "teacher.safetensors") == []


@pytest.mark.skipif(not shutil.which("chromium") or sys.platform != "linux", reason="no chromium here")
def test_a_browser_has_nothing_to_complain_of(result: Benchmark, split: Split, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page(result, pictures(split, {"3.png"})), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=360,800", f"file://{tmp_path}/report.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "The worst lines" in done.stdout
    assert "CONSOLE" not in done.stderr
