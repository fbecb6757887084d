"""Compares every artefact of a run: `python benchmarks/run.py --batch 32`.

Teacher, student and control, each in PyTorch (eager, FP32, constants folded), in ONNX Runtime, and in ONNX
Runtime with the FP16 file: error rates, size, work, speed, latency and memory, on the CPU or another `--device`.
TensorRT engines are measured where a GPU is, and are "built, not executed" elsewhere. The tables go to stdout and to
`<run>/benchmark.md`, and the last line on stdout is the whole result as JSON, also in `<run>/benchmark.json`.

    python benchmarks/run.py --run runs/x --data DIR --split test,test_unseen_text
    python benchmarks/run.py --presets teacher,student --data DIR      sizes and speeds, without training
"""

import platform
import shlex
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import memory, report
from benchmarks.artefacts import PYTORCH, System, find, make_presets, size_of
from benchmarks.rows import Benchmark, Findings, differences, make_rows
from benchmarks.splits import Pixels, Split, SplitScore, test_splits
from benchmarks.timing import Timing, measure, require_positive
from htrcompress import runs
from htrcompress.card import Card
from htrcompress.cli import console, run_command, to_json
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import SYNTHETIC, default_data, open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.metrics import Score
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

PACKAGES = ("htrcompress", "torch", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Settings:
    """How to measure; see `benchmark`."""

    batch: int
    threads: int
    lines: int
    rounds: int

    def __post_init__(self) -> None:
        require_positive(**vars(self))


def benchmark(
    run: Path | None = None,
    presets: str | None = None,
    data: str | None = None,
    split: str | None = None,
    batch: int = 32,
    threads: int = 2,
    lines: int = 128,
    rounds: int = 5,
    out: Path | None = None,
    device: Literal["cpu", "cuda", "openvino", "tensorrt", "tensorrt-rtx"] = "cpu",
) -> Benchmark:
    """Measures error rates, size, speed and memory of every artefact of a run; the last line on stdout is JSON.

    Args:
        run: a run folder or a .safetensors file; the newest run if not given.
        presets: measure networks of these sizes with random weights instead, such as `teacher,student`.
        data: a dataset's folder, or `synthetic`; what the first model was trained on if not given.
        split: splits to read, separated by commas, the first of which is timed; all test splits if not given.
        batch: lines in a batch, which a CPU computes in parts of eight lines a thread.
        threads: CPU threads of either runtime.
        lines: how many lines of the first split are timed.
        rounds: timed rounds, in each of which every artefact has its turn.
        out: folder for benchmark.json and benchmark.md; the run folder if not given.
        device: what runs the ONNX files; PyTorch is on the CPU for cpu and openvino, else on the GPU with them.

    Raises:
        HtrError: an artefact or the data cannot be used, or an option makes no sense.
    """
    settings = Settings(batch, threads, lines, rounds)
    if run and presets:
        raise HtrError("give --run or --presets, not both")
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        if presets:
            dataset = open_dataset(data or SYNTHETIC)
            with console.status(f"exporting {presets}"):
                make_presets([name.strip() for name in presets.split(",")], dataset, Path(scratch))
            systems = find(Path(scratch), threads, device)
        else:
            run = run or runs.newest()
            systems = find(run, threads, device)
            card = _card(systems[0])
            dataset = open_dataset(data or _trained_on(card), read_config(card))
            out = out or (run if run.is_dir() else None)
        result = measure_all(systems, dataset, _splits(split, dataset), settings, presets, device)
    console.print(report.terminal(result), markup=False)
    if out:
        write_atomic(out / "benchmark.json", (to_json(result) + "\n").encode())
        write_atomic(out / "benchmark.md", report.markdown(result).encode())
        console.print(f"written: {out / 'benchmark.json'} and benchmark.md beside it", markup=False)
    if not console.stderr:  # with --json, run_command prints it
        print(to_json(result), flush=True)
    return result


def measure_all(
    systems: list[System], dataset: Dataset, splits: list[Split], settings: Settings, presets: str | None, device: str
) -> Benchmark:
    """Measures everything, one thing after the other."""
    originals = [system for system in systems if system.runtime == PYTORCH]
    folder = originals[0].file.parent
    cards = [_card(system) for system in originals]
    with console.status("loading the lines"):
        greys, decode_ms = splits[0].sample(cards, settings.lines)
        typical = [splits[0].median_line(card) for card in cards]
        sizes = {s.model: size_of(s.file, line) for s, line in zip(originals, typical, strict=True)}
    by_file, scores = ({}, {}) if presets else _read(systems, splits, settings.batch)
    findings = Findings(sizes, by_file, _time(systems, greys, settings), _weigh(systems, greys, settings))
    timed = {"device": device, "split": splits[0].name, "timed_lines": len(greys), "flop_width": typical[0].shape[1]}
    return Benchmark(
        command=shlex.join(["python", *sys.orig_argv[1:]]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        run=presets or folder.as_posix(),
        data=dataset.name,
        splits={split.name: {"lines": len(split.lines), "hash": split.hash} for split in splits},
        machine=_machine(),
        settings=asdict(settings) | timed,
        decode_ms_per_line=decode_ms,
        rows=make_rows(systems, findings, folder),
        differences=[d for name, of_model in scores.items() for d in differences(name, of_model)],
        groups={s.name: s.groups(scores[s.name]) for s in splits if s.name in scores and s.has_groups},
    )


def _read(
    systems: list[System], splits: list[Split], batch: int
) -> tuple[dict[Path, dict[str, SplitScore]], dict[str, dict[str, Score]]]:
    """Error rates by artefact and split; and by split and model, line by line, in PyTorch."""
    by_file: dict[Path, dict[str, SplitScore]] = {}
    scores: dict[str, dict[str, Score]] = {split.name: {} for split in splits}
    for split in splits:
        reference: list[str] = []
        for system in systems:
            if system.recognizer is None:
                continue
            with console.status(f"reading {split.name}: {system.model}, {system.file.name}"):
                readings = split.read(system.recognizer, batch)
            score = split.compare(readings)
            if system.runtime == PYTORCH:
                reference, scores[split.name][system.model] = readings, score
            differs = sum(a != b for a, b in zip(reference, readings, strict=True))
            by_file.setdefault(system.file, {})[split.name] = split.rates(system.recognizer.card, score, differs)
    return by_file, scores


def _time(systems: list[System], greys: list[Pixels], settings: Settings) -> dict[Path, Timing]:
    running = [(system.file, system.recognizer) for system in systems if system.recognizer]
    with console.status(f"timing {len(running)} artefacts in {settings.rounds} rounds and one to warm up"):
        timings = measure([recognizer for _, recognizer in running], greys, settings.batch, settings.rounds)
    return {file: timing for (file, _), timing in zip(running, timings, strict=True)}


def _weigh(systems: list[System], greys: list[Pixels], settings: Settings) -> dict[Path, float | None]:
    devices = {system.file: system.device for system in systems if system.recognizer}
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch, console.status("measuring memory"):
        pictures = Path(scratch) / "pictures.npz"
        np.savez(pictures, *greys)
        measure_one = partial(memory.peak_of, pictures=pictures, batch=settings.batch, threads=settings.threads)
        with ThreadPoolExecutor(2) as pool:  # memory, unlike time, does not mind company
            peaks = pool.map(lambda file: measure_one(file, device=devices[file]), devices)
            return dict(zip(devices, peaks, strict=True))


def _card(system: System) -> Card:
    assert system.recognizer is not None  # PyTorch systems are always executed
    return system.recognizer.card


def _trained_on(card: Card) -> str:
    return default_data(card) if card.data else SYNTHETIC


def _splits(names: str | None, dataset: Dataset) -> list[Split]:
    """The splits to read: those named, or every test split."""
    return [Split(dataset, name.strip()) for name in (names.split(",") if names else test_splits(dataset))]


def _machine() -> dict[str, Any]:
    return {
        "processor": machine.processor(),
        "cores": machine.cores(),
        "system": platform.platform(),
        "allocator": machine.allocator(),
        "versions": machine.versions(*PACKAGES),
    }


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(benchmark)
