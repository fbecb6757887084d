"""Compares every artefact of a run: `python benchmarks/run.py --batch 32`.

Teacher, student and control, each in PyTorch (eager, FP32, constants fused), in ONNX Runtime, and in ONNX
Runtime with the FP16 and INT8 files: error rates, size, work, speed from memory and from image files, latency and
memory, on the CPU or another `--device`. TensorRT engines are measured where a GPU is, and are "built, not executed"
elsewhere. The tables go to stdout and to `<run>/benchmark.md`, and the last line on stdout is the whole result as JSON,
also in `<run>/benchmark.json`.

    python benchmarks/run.py --run runs/x --data DIR --split test,test_unseen_text
    python benchmarks/run.py --presets teacher,student --data DIR      sizes and speeds, without training
"""

import platform
import shlex
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import memory, report
from benchmarks.artefacts import PYTORCH, Artefact, find, make_presets, size_of
from benchmarks.results import save
from benchmarks.rows import Benchmark, Findings, differences, make_rows
from benchmarks.splits import Pixels, Sample, Split, SplitScore, test_splits
from benchmarks.timing import Timing, measure, require_positive
from htrcompress import runs
from htrcompress.card import Card
from htrcompress.cli import console, run_command, to_json
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import SYNTHETIC, open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.metrics import Score
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

PACKAGES = ("htrcompress", "torch", "onnxruntime", "numpy")


@dataclass(frozen=True)
class BenchmarkOptions:
    """Measures error rates, size, speed and memory of every artefact of a run; the last line on stdout is JSON."""

    run: Path | None = None
    """A run folder or a .safetensors file; the newest run if not given."""
    presets: str | None = None
    """Measure networks of these sizes with random weights instead, such as `teacher,student`."""
    data: str | None = None
    """A dataset's folder, or `synthetic`; what the first model was trained on if not given."""
    split: str | None = None
    """Splits to read, separated by commas, the first of which is timed; all test splits if not given."""
    batch: int = 32
    """Lines in a batch, which a CPU computes in parts of eight lines for each thread."""
    threads: int = 2
    """CPU threads of each runtime."""
    lines: int = 128
    """How many lines of the first split are timed."""
    rounds: int = 5
    """Timed rounds, in each of which every artefact has its turn."""
    out: Path | None = None
    """Folder for benchmark.json and benchmark.md; the run folder if not given."""
    device: Literal["cpu", "cuda", "openvino", "tensorrt", "tensorrt-rtx"] = "cpu"
    """What runs the ONNX files; PyTorch is on the CPU for cpu and openvino, else on the GPU with them."""

    def __post_init__(self) -> None:
        require_positive(batch=self.batch, threads=self.threads, lines=self.lines, rounds=self.rounds)
        if self.run and self.presets:
            raise HtrError("give --run or --presets, not both")


def benchmark(options: BenchmarkOptions) -> Benchmark:
    """Measures everything and writes the tables.

    Raises:
        HtrError: an artefact or the data cannot be used.
    """
    out = options.out
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        if options.presets:
            dataset = open_dataset(SYNTHETIC if options.data is None else options.data)
            with console.status(f"exporting {options.presets}"):
                make_presets([name.strip() for name in options.presets.split(",")], dataset, Path(scratch))
            artefacts = find(Path(scratch), options.threads, options.device)
        else:
            run = options.run or runs.newest()
            artefacts = find(run, options.threads, options.device)
            card = _card(artefacts[0])
            source = _trained_on(artefacts[0].file, card) if options.data is None else options.data
            dataset = open_dataset(source, read_config(card))
            out = out or (run if run.is_dir() else None)
        result = measure_all(artefacts, dataset, _splits(options.split, dataset), options)
    console.print(report.terminal(result), markup=False)
    if out:
        save(result, out / "benchmark.json")
        write_atomic(out / "benchmark.md", report.markdown(result).encode())
        console.print(f"written: {out / 'benchmark.json'} and benchmark.md beside it", markup=False)
    if not console.stderr:  # with --json, run_command prints it
        print(to_json(result), flush=True)
    return result


def measure_all(
    artefacts: list[Artefact], dataset: Dataset, splits: list[Split], options: BenchmarkOptions
) -> Benchmark:
    """Measures everything, one thing after the other."""
    originals = [artefact for artefact in artefacts if artefact.runtime == PYTORCH]
    folder = originals[0].file.parent
    cards = [_card(artefact) for artefact in originals]
    typical = [splits[0].median_line(card) for card in cards]
    sizes = {s.model: size_of(s.file, line) for s, line in zip(originals, typical, strict=True)}
    by_file, scores = ({}, {}) if options.presets else _read(artefacts, splits, options.batch)
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        sample = splits[0].sample(cards, options.lines, Path(scratch))
        timings = _time(artefacts, sample, options)
    findings = Findings(sizes, by_file, timings, _weigh(artefacts, sample.greys, options))
    settings = {name: getattr(options, name) for name in ("batch", "threads", "lines", "rounds", "device")}
    timed = {"split": splits[0].name, "timed_lines": len(sample.greys), "flop_width": typical[0].shape[1]}
    return Benchmark(
        command=shlex.join(["python", *sys.orig_argv[1:]]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        run=options.presets or folder.as_posix(),
        data=dataset.name,
        splits={split.name: {"lines": len(split.lines), "hash": split.hash} for split in splits},
        machine=_machine(),
        settings=settings | timed,
        decode_ms_per_line=sample.decode_ms,
        rows=make_rows(artefacts, findings, folder),
        differences=[d for name, of_model in scores.items() for d in differences(name, of_model)],
        groups={s.name: s.groups(scores[s.name]) for s in splits if s.name in scores and s.has_groups},
    )


def _read(
    artefacts: list[Artefact], splits: list[Split], batch: int
) -> tuple[dict[Path, dict[str, SplitScore]], dict[str, dict[str, Score]]]:
    """Error rates by artefact and split; and by split and model, line by line, in PyTorch."""
    by_file: dict[Path, dict[str, SplitScore]] = {}
    scores: dict[str, dict[str, Score]] = {split.name: {} for split in splits}
    for split in splits:
        reference: list[str] = []
        for artefact in artefacts:
            if artefact.recognizer is None:
                continue
            with console.status(f"reading {split.name}: {artefact.model}, {artefact.file.name}"):
                readings = split.read(artefact.recognizer, batch)
            score = split.compare(readings)
            if artefact.runtime == PYTORCH:
                reference, scores[split.name][artefact.model] = readings, score
            differs = sum(a != b for a, b in zip(reference, readings, strict=True))
            by_file.setdefault(artefact.file, {})[split.name] = split.rates(artefact.recognizer.card, score, differs)
    return by_file, scores


def _time(artefacts: list[Artefact], sample: Sample, options: BenchmarkOptions) -> dict[Path, Timing]:
    running = [(artefact.file, artefact.recognizer) for artefact in artefacts if artefact.recognizer]
    readers = [recognizer for _, recognizer in running]
    with console.status(f"timing {len(running)} artefacts in {options.rounds} rounds and one to warm up"):
        timings = measure(readers, sample.greys, options.batch, options.rounds, sample.files)
    return {file: timing for (file, _), timing in zip(running, timings, strict=True)}


def _weigh(artefacts: list[Artefact], greys: list[Pixels], options: BenchmarkOptions) -> dict[Path, float | None]:
    devices = {artefact.file: artefact.device for artefact in artefacts if artefact.recognizer}
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch, console.status("measuring memory"):
        pictures = Path(scratch) / "pictures.npz"
        np.savez(pictures, *greys)
        measure_one = partial(memory.peak_of, pictures=pictures, batch=options.batch, threads=options.threads)
        with ThreadPoolExecutor(2) as pool:  # memory, unlike time, does not depend on other processes
            peaks = pool.map(lambda file: measure_one(file, device=devices[file]), devices)
            return dict(zip(devices, peaks, strict=True))


def _card(artefact: Artefact) -> Card:
    assert artefact.recognizer is not None  # PyTorch artefacts are always executed
    return artefact.recognizer.card


def _trained_on(file: Path, card: Card) -> str:
    return runs.own_data(file, card) if card.data else SYNTHETIC


def _splits(names: str | None, dataset: Dataset) -> list[Split]:
    """The splits to read: those named, or every test split."""
    return [Split(dataset, name.strip()) for name in (names.split(",") if names else test_splits(dataset))]


def _machine() -> dict[str, Any]:
    return {
        "processor": machine.processor(),
        "cores": machine.cores(),
        "system": platform.platform(),
        "versions": machine.versions(*PACKAGES),
    }


if __name__ == "__main__":
    run_command(benchmark)
