"""Measures the artefacts of a run one after the other: error rates, speed, memory, and the machine's own peaks."""

import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import memory
from benchmarks.artefacts import PYTORCH, Artefact, Size, size_of
from benchmarks.evidence import Evidence, curve, gather
from benchmarks.peaks import measure_peaks
from benchmarks.results import command_line, this_machine
from benchmarks.rows import Benchmark, Findings, differences, make_rows
from benchmarks.splits import Pixels, Sample, Split, SplitScore
from benchmarks.timing import Timing, measure, require_positive
from htrcompress.card import Card
from htrcompress.cli import console
from htrcompress.data.lines import Dataset
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.decoding.registry import BEAM, DecoderOptions, check_decoder
from htrcompress.errors import HtrError
from htrcompress.metrics import Score
from htrcompress.runtime import Reading

PACKAGES = ("htrcompress", "torch", "onnxruntime", "openvino", "torch-tensorrt", "numpy")
ON_CPU = ("cpu", "openvino")


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
    """Folder for benchmark.json, benchmark.md and report.html; the run folder if not given."""
    decoder: str | None = None
    """Measure another decoder beside greedy decoding; beam with --lm, none else, if not given."""
    lm: LanguageOptions = LanguageOptions()
    """what the beam search knows about the language"""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""
    runtimes: str | None = None
    """Other runtimes to measure beside, with commas between: openvino, torch-tensorrt."""
    device: Literal["cpu", "cuda", "openvino", "tensorrt", "tensorrt-rtx"] = "cpu"
    """What runs the ONNX files; PyTorch is on the CPU for cpu and openvino, else on the GPU with them."""

    def __post_init__(self) -> None:
        require_positive(batch=self.batch, threads=self.threads, lines=self.lines, rounds=self.rounds)
        if self.run and self.presets:
            raise HtrError("give --run or --presets, not both")
        if self.beside is not None:
            check_decoder(self.beside, self.decoding)

    @property
    def decoding(self) -> DecoderOptions:
        """What the decoder beside is made from."""
        return DecoderOptions(self.lm, self.beam)

    @property
    def beside(self) -> str | None:
        """The decoder that is measured beside greedy decoding; None for none."""
        return self.decoder or (BEAM if self.decoding != DecoderOptions() else None)


def measure_all(
    artefacts: list[Artefact], dataset: Dataset, splits: list[Split], options: BenchmarkOptions
) -> Benchmark:
    """Measures everything, one thing after the other."""
    originals = [artefact for artefact in artefacts if artefact.is_original]
    folder = originals[0].file.parent
    cards = [card_of(artefact) for artefact in originals]
    typical = [splits[0].median_line(card) for card in cards]
    sizes = {s.model: size_of(s.file, line) for s, line in zip(originals, typical, strict=True)}
    read = _Read({}, {}, {}) if options.presets else _read(artefacts, splits, options.batch)
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        sample = splits[0].sample(cards, options.lines, Path(scratch))
        timings = _time(artefacts, sample, options)
    peaks = _weigh(artefacts, sample.greys, options)
    work = {s.model: _work(s, card, sample.greys) for s, card in zip(originals, cards, strict=True)}
    settings: dict[str, Any] = {
        name: getattr(options, name) for name in ("batch", "threads", "lines", "rounds", "device")
    }
    if options.beside is not None:
        settings["decoding"] = {"decoder": options.beside, "lm": (lm := options.lm.located()) and lm.name}
    timed = {"split": splits[0].name, "timed_lines": len(sample.greys), "flop_width": typical[0].shape[1]}
    with console.status("measuring what the machine can do"):
        machine_peaks = measure_peaks(options.threads) if options.device in ON_CPU else None
    curves = {artefact.model: curve(artefact.file) for artefact in originals}
    return Benchmark(
        command=command_line(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        run=options.presets or folder.as_posix(),
        data=dataset.name,
        splits={split.name: {"lines": len(split.lines), "hash": split.hash} for split in splits},
        machine={"system": platform.platform(), **this_machine(*PACKAGES)},
        settings=settings | timed,
        decode_ms_per_line=sample.decode_ms,
        rows=make_rows(artefacts, Findings(sizes, read.rates, timings, peaks, work), folder),
        differences=[d for name, of_model in read.scores.items() for d in differences(name, of_model)],
        groups={s.name: s.groups(read.scores[s.name]) for s in splits if s.name in read.scores and s.has_groups},
        peaks=machine_peaks,
        evidence=read.evidence,
        curves={model: points for model, points in curves.items() if points},
    )


@dataclass(frozen=True)
class _Read:
    """What reading all lines gave.

    Attributes:
        rates: artefact's key and split to error rates.
        scores: split and model to errors line by line, in PyTorch.
        evidence: by split.
    """

    rates: dict[str, dict[str, SplitScore]]
    scores: dict[str, dict[str, Score]]
    evidence: dict[str, Evidence]


def _read(artefacts: list[Artefact], splits: list[Split], batch: int) -> _Read:
    found = _Read({}, {split.name: {} for split in splits}, {})
    models = {artefact.model: artefact.key for artefact in artefacts if artefact.is_original}
    shown = "student" if "student" in models else next(iter(models))
    for split in splits:
        readings: dict[str, list[Reading]] = {}
        reference: dict[str, list[str]] = {}
        for artefact in artefacts:
            if artefact.recognizer is None:
                continue
            with console.status(f"reading {split.name}: {artefact.model}, {artefact.file.name}"):
                readings[artefact.key] = split.readings(artefact.recognizer, batch)
            texts = [reading.text for reading in readings[artefact.key]]
            score = split.compare(texts)
            if artefact.runtime == PYTORCH:
                reference[artefact.decoder] = texts
            if artefact.is_original:
                found.scores[split.name][artefact.model] = score
            differs = sum(a != b for a, b in zip(reference[artefact.decoder], texts, strict=True))
            rates = split.rates(artefact.recognizer.card, score, differs)
            found.rates.setdefault(artefact.key, {})[split.name] = rates
        widths = [0 if image is None else image.shape[1] for image in split.scaled(card_of(artefacts[0]))]
        found.evidence[split.name] = gather(split, widths, readings, models, shown)
    return found


def _time(artefacts: list[Artefact], sample: Sample, options: BenchmarkOptions) -> dict[str, Timing]:
    running = [(artefact.key, artefact.recognizer) for artefact in artefacts if artefact.recognizer]
    readers = [recognizer for _, recognizer in running]
    with console.status(f"timing {len(running)} artefacts in {options.rounds} rounds and one to warm up"):
        timings = measure(readers, sample.greys, options.batch, options.rounds, sample.files)
    return {key: timing for (key, _), timing in zip(running, timings, strict=True)}


def _work(artefact: Artefact, card: Card, greys: list[Pixels]) -> Size:
    """What a model computes for a line of the timed lines' mean width."""
    width = round(float(np.mean([grey.shape[1] * card.height / grey.shape[0] for grey in greys])))
    return size_of(artefact.file, np.full((card.height, max(width, 1)), 255, np.uint8))


def _weigh(artefacts: list[Artefact], greys: list[Pixels], options: BenchmarkOptions) -> dict[str, float | None]:
    executed = [artefact for artefact in artefacts if artefact.recognizer and artefact.is_loadable]
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch, console.status("measuring memory"):
        pictures = Path(scratch) / "pictures.npz"
        np.savez(pictures, *greys)
        measure_one = partial(memory.peak_of, pictures=pictures, batch=options.batch, threads=options.threads)
        with ThreadPoolExecutor(2) as pool:  # memory, unlike time, does not depend on other processes
            peaks = pool.map(
                lambda a: measure_one(a.file, device=a.device, decoder=a.decoder, options=options.decoding), executed
            )
            return {artefact.key: peak for artefact, peak in zip(executed, peaks, strict=True)}


def card_of(artefact: Artefact) -> Card:
    """The card of a model in PyTorch, which is always executed."""
    assert artefact.recognizer is not None
    return artefact.recognizer.card
