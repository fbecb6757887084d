"""What a benchmark finds out about each artefact, in the shape that its JSON document has."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.artefacts import PYTORCH, Artefact, Size, is_teacher, key_of
from benchmarks.evidence import CurvePoint, Evidence
from benchmarks.peaks import Peaks
from benchmarks.splits import SplitScore
from benchmarks.timing import Latency, Spread, Timing
from htrcompress.decoding.registry import GREEDY
from htrcompress.metrics import Score, paired_interval

MEASURED, NOT_EXECUTED, RANDOM = "measured", "built, not executed", "random weights"
PAIRS = (("student", "control"), ("student", "teacher"), ("pruned", "teacher"))
"""The models whose error rates are compared line by line."""


@dataclass(frozen=True)
class Row:
    """One artefact in one runtime. What was not measured is None.

    Attributes:
        model: the role in the run.
        runtime: what runs it.
        file: the artefact, relative to the run.
        precision: type of the weights in the file.
        arithmetic: type that convolutions and matrix products are computed in.
        parameters: trained numbers.
        size_bytes: of the file.
        gflop_per_line: for the line of median width, two operations a multiply-add.
        cer, cer_interval, wer, wer_interval: error rates on the first split, fractions.
        splits: error rates on every split.
        lines_per_second: grey pixels in memory to text, over the rounds.
        files_per_second: the same from image files, decoding included: what users feel.
        latency_ms: the same for one line alone.
        peak_memory_mib: resident memory of a process that does nothing else.
        speedup_over_teacher: against the teacher in the same runtime and precision, median of the rounds' ratios.
        speedup_over_pytorch: against the same model in PyTorch on the same device, likewise.
        device: where it was executed.
        status: `measured`, `random weights`, or the reason why it was not executed.
        work: operations and numbers moved for a line of the timed lines' mean width; see `Size`.
        decoder: what makes text of the network's output.
    """

    model: str
    runtime: str
    file: str
    precision: str
    arithmetic: str
    parameters: int
    size_bytes: int
    gflop_per_line: float
    cer: float | None = None
    cer_interval: tuple[float, float] | None = None
    wer: float | None = None
    wer_interval: tuple[float, float] | None = None
    splits: dict[str, SplitScore] | None = None
    lines_per_second: Spread | None = None
    files_per_second: Spread | None = None
    latency_ms: Latency | None = None
    peak_memory_mib: float | None = None
    speedup_over_teacher: float | None = None
    speedup_over_pytorch: float | None = None
    device: str = ""
    status: str = NOT_EXECUTED
    work: Size | None = None
    decoder: str = GREEDY

    @property
    def key(self) -> str:
        """What the artefact is called in `Benchmark.evidence`."""
        return key_of(self.model, Path(self.file), self.runtime, self.arithmetic, self.decoder)

    @property
    def label(self) -> str:
        """The runtime as tables call it."""
        runtime = f"{self.runtime} ({self.device})" if self.device not in ("", "cpu") else self.runtime
        runtime += f", {self.precision} file" * (self.precision != "FP32")
        runtime += ", BF16 arithmetic" * (self.arithmetic == "BF16")
        return runtime if self.decoder == GREEDY else f"{runtime}, {self.decoder}"


@dataclass(frozen=True)
class Difference:
    """CER of `one` minus CER of `other` on the same lines, both in PyTorch, with its 95 % paired-bootstrap interval."""

    split: str
    one: str
    other: str
    difference: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"CER on {self.split}: {self.one} minus {self.other} {100 * self.difference:+.2f} points "
            f"(95 %: {100 * low:+.2f} to {100 * high:+.2f}, paired bootstrap over lines)"
        )


@dataclass(frozen=True)
class Benchmark:
    """What `benchmarks/run.py` measured.

    Attributes:
        command, date: how and when.
        run: the run folder, or the presets.
        data: the dataset.
        splits: lines and hash of every split that was read.
        machine: processor, cores, system, versions.
        settings: batch, threads, rounds, what was timed.
        decode_ms_per_line: decoding one image file on one thread; None where no files were timed.
        rows: one for each artefact.
        differences: paired comparisons of error rates.
        groups: split to CER of every model by group.
        peaks: what the machine can do at most; None on a GPU.
        evidence: split to what its lines say one by one; none for random weights.
        curves: model to the validations of its training, where the run has its log.
    """

    command: str
    date: str
    run: str
    data: str
    splits: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    settings: dict[str, Any]
    decode_ms_per_line: float | None
    rows: list[Row]
    differences: list[Difference]
    groups: dict[str, list[dict[str, Any]]]
    peaks: Peaks | None = None
    evidence: dict[str, Evidence] = field(default_factory=dict)
    curves: dict[str, list[CurvePoint]] = field(default_factory=dict)
    kind: str = "benchmark"


@dataclass(frozen=True)
class Findings:
    """All that was measured, by artefact.

    Attributes:
        sizes: by model.
        splits: by artefact's key and split; empty for random weights.
        timings, peaks: by artefact's key; those that cannot be executed have none.
        work: by model, for a line of the timed lines' mean width.
    """

    sizes: dict[str, Size]
    splits: dict[str, dict[str, SplitScore]]
    timings: dict[str, Timing]
    peaks: dict[str, float | None]
    work: dict[str, Size] = field(default_factory=dict)


def make_rows(artefacts: list[Artefact], found: Findings, folder: Path) -> list[Row]:
    """One row for each artefact; files are named relative to `folder`."""
    teacher = next((s.model for s in artefacts if is_teacher(s.model)), "")
    timing_of = {(s.model, *_kind(s)): found.timings.get(s.key) for s in artefacts}
    pytorch = {(s.model, s.device, s.decoder): found.timings.get(s.key) for s in artefacts if s.runtime == PYTORCH}
    rows = []
    for artefact in artefacts:
        size, timing, splits = (
            found.sizes[artefact.model],
            found.timings.get(artefact.key),
            found.splits.get(artefact.key),
        )
        same = _kind(artefact)
        row = Row(
            model=artefact.model,
            runtime=artefact.runtime,
            file=artefact.file.relative_to(folder).as_posix(),
            precision=artefact.precision,
            arithmetic=artefact.arithmetic,
            parameters=size.parameters,
            size_bytes=artefact.file.stat().st_size,
            gflop_per_line=size.gflop,
            device=artefact.device,
            status=artefact.reason or NOT_EXECUTED,
            work=found.work.get(artefact.model),
            decoder=artefact.decoder,
        )
        if timing:
            row = replace(
                row,
                lines_per_second=timing.lines_per_second,
                files_per_second=timing.files_per_second,
                latency_ms=timing.latency_ms,
                peak_memory_mib=found.peaks.get(artefact.key),
                speedup_over_teacher=_speedup(timing, timing_of.get((teacher, *same))),
                speedup_over_pytorch=_speedup(timing, pytorch.get((artefact.model, artefact.device, artefact.decoder))),
                status=RANDOM,
            )
        if splits:
            first = next(iter(splits.values()))
            row = replace(row, cer=first.cer, cer_interval=first.cer_interval, splits=splits, status=MEASURED)
            row = replace(row, wer=first.wer, wer_interval=first.wer_interval)
        rows.append(row)
    return rows


def _kind(artefact: Artefact) -> tuple[str, str, str, str]:
    """What two artefacts must have in common for one to be the other's reference in speed."""
    return artefact.runtime, artefact.precision, artefact.arithmetic, artefact.decoder


def _speedup(timing: Timing, reference: Timing | None) -> float | None:
    return timing.speedup_over(reference) if reference else None


def differences(split: str, scores: dict[str, Score]) -> list[Difference]:
    """The paired comparisons that the models of a run allow."""
    found = []
    for one, other in PAIRS:
        if one in scores and other in scores:
            value, low, high = paired_interval(scores[one], scores[other])
            found.append(Difference(split, one, other, value, (low, high)))
    return found
