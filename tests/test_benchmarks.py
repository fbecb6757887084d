"""The benchmark: the whole command on a tiny run, fair timing, ratios, groups, and what is refused."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from standins import pretend, write_engine
from torch import nn

from benchmarks import memory, report
from benchmarks.artefacts import Artefact, Size, find, size_of, with_decoder
from benchmarks.measuring import _read
from benchmarks.rows import Benchmark, Findings, Row, differences, make_rows
from benchmarks.run import BenchmarkOptions, benchmark
from benchmarks.splits import Split, SplitScore
from benchmarks.timing import SINGLES, Timing, evenly, measure
from benchmarks.traffic import Traffic
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.open import open_dataset
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model
from htrcompress.metrics import score
from htrcompress.models.serialization import load_card, load_model, save_model

Picture = Callable[..., NDArray[np.uint8]]
ROOT = Path(__file__).parent.parent
TEXTS = ("ab", "the cat", "x y z", "hello")


@pytest.fixture(scope="module")
def run(tiny_model: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: two equal models with random weights; the student is exported, an engine included."""
    folder = tmp_path_factory.mktemp("run")
    for role in ("student", "teacher"):
        shutil.copy(tiny_model, folder / f"{role}.safetensors")
    export = folder / "export" / "student"
    export.mkdir(parents=True)
    for name in ("model.onnx", "model.fp16.onnx"):
        shutil.copy(tiny_onnx, export / name)
    write_engine(export / "model.engine", load_card(tiny_model).to_json())
    return folder


@pytest.fixture(scope="module")
def data(picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five lines to read, one of them damaged, and a second test split."""
    folder = tmp_path_factory.mktemp("lines")
    for number, text in enumerate(TEXTS):
        Image.fromarray(picture(60 + 30 * number, 40)).save(folder / f"{number}.png")
        with open(folder / "test.tsv", "a") as file:
            file.write(f"{number}.png\t{text}\n")
    (folder / "damaged.png").write_bytes(b"no image")
    with open(folder / "test.tsv", "a") as file:
        file.write("damaged.png\tlost\n")
    (folder / "test_more.tsv").write_text("0.png\tab\n1.png\tthe cat\n")
    return folder


def numbers(value: Any) -> Iterator[float]:
    """Every number in a JSON document."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield value


def test_another_decoder_stands_beside_greedy_decoding(run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat\n" * 9)
    make_language_model(LmOptions([str(tmp_path / "text.txt")], order=2, out=tmp_path / "lm.ngram"))
    options = BenchmarkOptions(lm=LanguageOptions(tmp_path / "lm.ngram"))
    artefacts = with_decoder(find(run, 1), 1, options.beside or "", options.decoding)
    read = _read(artefacts, [Split(open_dataset(str(data)), "test")], 4)
    sizes = {artefact.model: Size(1, 1.0) for artefact in artefacts}
    rows = make_rows(artefacts, Findings(sizes, read.rates, {}, {}), run)
    greedy, beam = ([row for row in rows if row.decoder == name and row.cer is not None] for name in ("greedy", "beam"))
    assert len(greedy) == len(beam) == 4 and len({row.key for row in rows}) == len(rows)
    assert all(row.label.endswith(", beam") for row in beam) and set(read.scores["test"]) == {"student", "teacher"}
    np.savez(tmp_path / "a.npz", np.zeros((8, 8), np.uint8))
    file = run / "export" / "student" / "model.onnx"
    assert memory.peak_of(file, tmp_path / "a.npz", 1, 1, decoder="beam", options=options.decoding)
    with pytest.raises(HtrError, match="greedy"):
        BenchmarkOptions(decoder="greedy", lm=options.lm)


def test_the_whole_command(run: Path, data: Path, tmp_path: Path) -> None:
    command = ["benchmarks/run.py", "--batch", "2", "--rounds", "2", "--run", run, "--data", data, "--out", tmp_path]
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 120
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert all(math.isfinite(number) for number in numbers(result))
    assert {name: split["lines"] for name, split in result["splits"].items()} == {"test": 5, "test_more": 2}
    assert all(len(split["hash"]) == 16 for split in result["splits"].values())
    assert result["machine"]["processor"] and result["machine"]["cores"] and result["machine"]["versions"]["torch"]
    assert result["settings"]["timed_lines"] == 4
    assert result["decode_ms_per_line"] > 0

    rows = result["rows"]
    assert [(row["model"], row["runtime"], row["precision"], row["status"]) for row in rows] == [
        ("teacher", "PyTorch", "FP32", "measured"),
        ("student", "PyTorch", "FP32", "measured"),
        ("student", "ONNX Runtime", "FP32", "measured"),
        ("student", "ONNX Runtime", "FP16", "measured"),
        ("student", "TensorRT-RTX", "FP32", "built, not executed"),
    ]
    assert [row["arithmetic"] for row in rows] == ["FP32"] * 5
    assert [row["file"] for row in rows[1:3]] == ["student.safetensors", "export/student/model.onnx"]
    for row in rows[:4]:
        assert row["parameters"] > 100_000 and row["size_bytes"] > 400_000 and row["gflop_per_line"] > 0
        assert row["cer"] == row["splits"]["test"]["cer"] and row["wer"] == row["splits"]["test"]["wer"]
        assert row["cer_interval"][0] <= row["cer"] <= row["cer_interval"][1]
        assert row["splits"]["test"]["failed"] == 1 and row["splits"]["test_more"]["failed"] == 0
        assert row["splits"]["test"]["differs"] == 0
        assert row["files_per_second"]["median"] > 0
        assert row["lines_per_second"]["min"] <= row["lines_per_second"]["median"] <= row["lines_per_second"]["max"]
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]
    assert rows[0]["speedup_over_teacher"] == rows[1]["speedup_over_pytorch"] == 1
    assert rows[2]["speedup_over_teacher"] is None  # the teacher was not exported
    assert rows[2]["speedup_over_pytorch"] > 0
    assert 20 < rows[2]["peak_memory_mib"] < 0.7 * rows[1]["peak_memory_mib"]  # it loads no torch
    assert rows[4]["lines_per_second"] is rows[4]["cer"] is rows[4]["peak_memory_mib"] is None

    difference = result["differences"][0]
    assert (difference["split"], difference["one"], difference["other"]) == ("test", "student", "teacher")
    assert difference["difference"] == 0 and difference["interval"] == [0, 0]
    page = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert page.count("| student |") == 4 + 2
    assert "1 lines of test cannot be read" in page


class Clockwork:
    """Notes who read how many lines."""

    def __init__(self, name: str, log: list[tuple[str, int, int]]):
        self.name, self.log = name, log

    def read(self, images: Any, batch_size: int = 32) -> list[str]:
        self.log.append((self.name, len(images), batch_size))
        return [""] * len(images)


def test_rounds_are_interleaved_and_the_first_only_warms_up() -> None:
    log: list[tuple[str, int, int]] = []
    timings = measure([Clockwork(name, log) for name in "abc"], list(range(40)), 8, 3)
    assert [name for name, lines, _ in log if lines == 40] == list("abc" * 4)
    assert all(batch == (8 if lines == 40 else 1) for _, lines, batch in log)
    assert [len(timing.rounds) for timing in timings] == [3, 3, 3]
    assert [len(timing.singles) for timing in timings] == [3 * SINGLES] * 3


def test_a_speedup_is_the_median_of_the_ratios_within_rounds() -> None:
    slow, fast = Timing(10, [4.0, 40.0, 6.0], [0.1]), Timing(10, [2.0, 20.0, 1.0], [0.1])
    assert fast.speedup_over(slow) == 2  # the machine was ten times slower in the second round
    assert slow.speedup_over(slow) == 1
    spread = fast.lines_per_second
    assert (spread.median, spread.min, spread.max) == (5, 0.5, 10)


def test_a_sample_is_spread_evenly() -> None:
    assert evenly(range(10), 5) == [0, 2, 4, 6, 8]
    assert evenly(range(3), 5) == [0, 1, 2]


def test_memory_is_that_of_the_process_alone(tiny_onnx: Path, picture: Picture, tmp_path: Path) -> None:
    ballast = np.ones(1 << 26)  # half a GiB here
    np.savez(tmp_path / "a.npz", picture(80), picture(90))
    peak = memory.peak_of(tiny_onnx, tmp_path / "a.npz", 2, 1)
    assert peak is not None and 20 < peak < ballast.nbytes / memory.MIB
    with pytest.raises(HtrError, match=r"memory of .*b\.onnx failed: .*no model at"):
        memory.peak_of(tiny_onnx.with_name("b.onnx"), tmp_path / "a.npz", 2, 1)


def test_work_is_two_operations_a_multiply_add(tiny_model: Path, picture: Picture) -> None:
    model, card = load_model(tiny_model)
    products = 0

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal products
        products += output.numel() * module.weight[0].numel()  # type: ignore[operator, index]

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv1d | nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(count)
    model(torch.zeros(1, 1, 32, 64, dtype=torch.uint8), torch.tensor([64]))
    attention = card.architecture["layers"] * 2 * (64 // card.stride) ** 2 * card.architecture["dim"]
    size = size_of(tiny_model, picture(64))
    assert size.gflop * 1e9 == 2 * (products + attention)
    assert size.parameters == sum(p.numel() for p in model.parameters())


def test_traffic_is_what_products_read_and_write() -> None:
    with torch.inference_mode(), Traffic() as traffic:
        nn.Conv2d(1, 4, 3, padding=1)(torch.zeros(1, 1, 8, 8)).relu()
        assert traffic.numbers == 64 + 256
        nn.Linear(4, 5)(torch.zeros(3, 4))
        assert traffic.numbers == 64 + 256 + 12 + 15


def test_groups_and_differences() -> None:
    lines = [Line(str(i), "ab", "test", Path("x"), group="font a" if i < 2 else "b|c") for i in range(4)]
    split = Split(Dataset("x", "tsv", {"test": lines}), "test")
    scores = {
        "student": score(["ab"] * 4, ["ab", "a", "", ""]),
        "control": score(["ab"] * 4, ["", "", "", ""]),
    }
    assert split.has_groups
    assert split.groups(scores) == [
        {"group": "b|c", "lines": 2, "cer": {"student": 1.0, "control": 1.0}},
        {"group": "font a", "lines": 2, "cer": {"student": 0.25, "control": 1.0}},
    ]
    (found,) = differences("test", scores)
    assert (found.one, found.other, found.difference) == ("student", "control", pytest.approx(-3 / 8))
    assert found.interval[0] < -3 / 8 < found.interval[1] <= 0
    assert "student minus control -37.50 points" in str(found)

    result = Benchmark("c", "d", "r", "x", {}, {}, {}, 0.0, [], [found], {"test": split.groups(scores)})
    (sheet,) = report._groups(result)
    assert "| b\\|c | 2 | 100.00 | 100.00 |" in sheet.markdown()


def test_random_weights_have_no_error_rates(tiny_model: Path) -> None:
    artefact = Artefact("tiny-teacher", "PyTorch", tiny_model, "FP32", None)
    key = artefact.key
    found = Findings({"tiny-teacher": Size(7, 1.5)}, {}, {key: Timing(4, [2.0], [0.5])}, {key: 100.0})
    (row,) = make_rows([artefact], found, tiny_model.parent)
    assert isinstance(row, Row)
    assert (row.status, row.cer, row.splits, row.speedup_over_teacher) == ("random weights", None, None, 1)


def test_an_engine_is_measured_where_a_gpu_is(run: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tiny_onnx)
    (engine,) = [artefact for artefact in find(run, 1) if artefact.file.suffix == ".engine"]
    assert engine.recognizer is not None and engine.device == "cuda"
    pytorch = find(run, 1)[1]
    timings = {artefact.key: Timing(4, [2.0], [0.5]) for artefact in (engine, pytorch)}
    splits = {engine.key: {"test": SplitScore(0.5, (0.4, 0.6), 0.9, (0.8, 1.0), 0, 0)}}
    found = Findings({"student": Size(7, 1.5)}, splits, timings, dict.fromkeys(timings, 100.0))
    row, _ = make_rows([engine, pytorch], found, run)
    assert (row.status, row.label, row.cer) == ("measured", "TensorRT-RTX (cuda)", 0.5)
    assert row.speedup_over_pytorch is None  # that was on the CPU
    monkeypatch.undo()
    assert find(run, 1)[-1].recognizer is None


def test_a_stale_export_is_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    model, card = load_model(copy / "student.safetensors")
    save_model(copy / "student.safetensors", model, replace(card, training={"steps": 1}))
    with pytest.raises(HtrError, match=r"model\.onnx was exported from another model"):
        find(copy, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "--batch is 0"),
        ({"presets": "teacher", "run": Path("x")}, "--run or --presets"),
        ({"run": Path("nowhere")}, "no run folder or model file at nowhere"),
        ({"presets": "huge"}, "no model is called 'huge'"),
        ({"split": "test,dev"}, "no lines in split 'dev'"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_told(run: Path, data: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(HtrError, match=message):
        benchmark(BenchmarkOptions(**{"data": str(data)} | ({} if "presets" in options else {"run": run}) | options))
