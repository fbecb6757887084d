"""What `python -m htrcompress.export` does: every model of a run as ONNX files and TensorRT engines.

`<run>/export/<role>/` then holds `model.onnx`, `model.fp16.onnx`, `model.int8.cpu.onnx` and `model.int8.trt.onnx`,
the engines of these with a `.json` each, `card.json`, and `labels.txt`: label by label, one character a line after
`<blank>`. With `--decode plugin` or `none` the names say so, as in `model.fp16.plugin.onnx`.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from htrcompress import runs
from htrcompress.artifact import load_model
from htrcompress.card import Card
from htrcompress.cli import console
from htrcompress.data.batches import by_width, pad
from htrcompress.data.lines import Line
from htrcompress.data.open import SYNTHETIC, default_data, open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.examples import load_examples
from htrcompress.export.onnx import Decode, export_onnx, read_onnx
from htrcompress.export.options import read_profile, refuse_contradictions
from htrcompress.export.package import replaced, write_labels, write_triton
from htrcompress.export.precision import half_share, islands, largest_activation, require_half
from htrcompress.export.tensorrt import Choice, Profile, build_engine, find_runtime
from htrcompress.image import normalise

CALIBRATION = 128
"""Training lines that the ranges of INT8 are taken from, spread over the split."""
LINES = 64
"""Validation lines that activations are measured on."""


@dataclass(frozen=True)
class ExportedFile:
    """One file that was written.

    Attributes:
        role: the model: `teacher`, `student`, `control`, or its file's name.
        path: the file.
        precision: `fp32`, `fp16` or `int8`.
        bytes: its size.
        seconds: time to make and check it.
        half_share: share of the multiplications in half precision.
        islands: number of parts that stay FP32 in an FP16 file.
    """

    role: str
    path: Path
    precision: str
    bytes: int
    seconds: float
    half_share: float
    islands: int


@dataclass(frozen=True)
class ExportResult:
    """Everything that was written.

    Attributes:
        files: one entry a model file.
        activations: role to the largest number that half precision has to hold; empty without `--fp16`.
        notes: what is worth knowing, such as which lines the activations were measured on.
        refused: why an INT8 file was not written; the others were.
    """

    files: tuple[ExportedFile, ...]
    activations: dict[str, float]
    notes: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 where something that was asked for was not written."""
        return 1 if self.refused else 0

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table("model", "file", title="exported")
        for heading in ("MiB", "seconds", "half %", "FP32 islands"):
            table.add_column(heading, justify="right")
        for file in self.files:
            precision = (f"{file.half_share:.1%}", str(file.islands)) if file.precision == "fp16" else ("-", "-")
            size = f"{file.bytes / 2**20:.1f}"
            table.add_row(file.role, file.path.as_posix(), size, f"{file.seconds:.1f}", *precision)
        peaks = [f"largest activation of {role}: {value:.1f}" for role, value in self.activations.items()]
        return Group(table, *peaks, *self.notes, *self.refused)


def export(
    run: Path | None = None,
    trt: bool = False,
    fp16: bool = False,
    int8: bool = False,
    logits: bool = False,
    decode: Decode = "graph",
    out: Path | None = None,
    data: str | None = None,
    max_cer_drop: float = 0.2,
    profile: str = "",
    runtime: Choice = "auto",
    plugin: Path | None = None,
) -> ExportResult:
    """Writes the models of a run as ONNX files, and as TensorRT engines, with decoding inside.

    Args:
        run: a run folder or a .safetensors file; the newest run if not given.
        trt: also build an engine of every ONNX file: FP32, FP16 with --fp16, INT8 with --int8.
        fp16: also write an FP16 ONNX file, with the proof that it is one.
        int8: also write INT8 ONNX files, one for ONNX Runtime on the CPU and one for TensorRT.
        logits: add the logits to the outputs.
        decode: graph decodes in standard operators, which run everywhere; plugin leaves it to the TensorRT plugin
            of export/plugin; none gives logits and frames.
        out: where to write; `export/<model>` in the run if not given.
        data: whose training lines calibrate INT8 and whose validation lines guard it; what the model was trained
            on if not given.
        max_cer_drop: points that INT8 may cost on validation, at the far end of the paired interval.
        profile: the smallest, typical and largest input of an engine, lines x pixels: 1x1,32x1024,32x4096, which
            ends at the model's own widest line if not given.
        runtime: which TensorRT builds the engine; `auto` takes the first that is installed.
        plugin: the library that `export/plugin` builds, for engines with --decode plugin; needs a GPU.

    Raises:
        HtrError: a model cannot be read or exported, half precision is not safe, TensorRT is missing, or options
            contradict each other.
    """
    refuse_contradictions(trt, int8, decode, profile, runtime, plugin)
    run = run or runs.newest()
    root = out or (run if run.is_dir() else run.parent) / "export"
    if trt:
        find_runtime(runtime)  # before the first minute is spent
    forms = _Forms(trt, fp16, int8, logits, decode, data, max_cer_drop / 100, profile, runtime, plugin)
    files: list[ExportedFile] = []
    for role, artefact in runs.models(run).items():
        target = out if out and run.is_file() else root / role
        with replaced(target) as folder:
            console.print(f"exporting {role} to {target}")
            made = forms.write(folder, role, artefact)
        files += [replace(file, path=target / file.path.name) for file in made]
    return ExportResult(tuple(files), forms.activations, tuple(forms.notes), tuple(forms.refused))


@dataclass
class _Forms:
    """What is written of every model, and what is found out on the way; the options are those of `export`."""

    trt: bool
    fp16: bool
    int8: bool
    logits: bool
    decode: Decode
    data: str | None
    limit: float
    profile: str
    runtime: Choice
    plugin: Path | None
    activations: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def write(self, folder: Path, role: str, artefact: Path) -> list[ExportedFile]:
        """All forms of one model."""
        model, card = load_model(artefact)
        profile = read_profile(self.profile, card) if self.trt else None
        write_labels(folder, card)
        kind = "" if self.decode == "graph" else f".{self.decode}"
        made = [self._onnx(role, model, card, folder / f"model{kind}.onnx")]
        if self.decode == "graph":
            write_triton(folder, role, made[0].path)
        if self.fp16:
            batches, note = _lines(card)
            self.activations[role] = largest_activation(model, batches)
            self.notes += [note] if note not in self.notes else []
            made.append(self._onnx(role, model, card, folder / f"model.fp16{kind}.onnx", half=True))
        if profile:
            made += [self._engine(role, file.path, profile) for file in tuple(made)]
        if self.int8:
            try:
                made += self._int8(role, made[0].path, folder, card)
                made += [self._engine(role, made[-1].path, profile)] if profile else []
            except HtrError as error:
                self.refused.append(f"{role}: {error}")
        return made

    def _onnx(self, role: str, model: nn.Module, card: Card, path: Path, half: bool = False) -> ExportedFile:
        started = time.perf_counter()
        export_onnx(model, card, path, half=half, logits=self.logits, decode=self.decode)
        share, parts = 0.0, 0
        if half:
            graph, _ = read_onnx(path)
            share, parts = half_share(graph), len(islands(graph))
            require_half(share, path.name)
        seconds = time.perf_counter() - started
        size = path.stat().st_size
        return ExportedFile(role, path, "fp16" if half else "fp32", size, round(seconds, 2), share, parts)

    def _engine(self, role: str, onnx_path: Path, profile: Profile) -> ExportedFile:
        path = onnx_path.with_suffix(".engine")
        engine = build_engine(onnx_path, path, profile=profile, runtime=self.runtime, plugin=self.plugin)
        share, parts = engine.half_share, len(engine.islands)
        return ExportedFile(role, path, engine.precision, engine.bytes, engine.seconds, share, parts)

    def _int8(self, role: str, onnx_path: Path, folder: Path, card: Card) -> list[ExportedFile]:
        from htrcompress.export.int8 import quantise

        started = time.perf_counter()
        dataset = open_dataset(self.data or default_data(card), read_config(card))
        train, charset = dataset.split("train"), card.characters()
        spread = [train[i * len(train) // CALIBRATION] for i in range(min(CALIBRATION, len(train)))]
        calibration = load_examples(spread, charset, card.height, card.max_width)
        valid = load_examples(dataset.split("valid"), charset, card.height, card.max_width)
        done = quantise(onnx_path, folder, calibration, valid, self.limit)
        seconds, parts = round(time.perf_counter() - started, 2), len(done.kept)
        sizes = [(path, path.stat().st_size) for path in done.paths.values()]
        return [ExportedFile(role, path, "int8", size, seconds, 0.0, parts) for path, size in sizes]


def _lines(card: Card) -> tuple[Iterator[tuple[Tensor, Tensor]], str]:
    """Batches of validation lines (see `largest_activation`), and a sentence on where they come from."""
    try:
        dataset = open_dataset(default_data(card))
    except HtrError:
        dataset = open_dataset(SYNTHETIC)
    lines = dataset.split("valid")[:LINES]
    note = f"activations measured on {len(lines)} validation lines of {dataset.name}"
    if dataset.name != card.data.get("name", dataset.name):
        note += f", since {card.data['name']} is not here"
    return _batches(lines, card), note


def _batches(lines: list[Line], card: Card) -> Iterator[tuple[Tensor, Tensor]]:
    images = []
    for line in lines:
        with contextlib.suppress(HtrError):  # an unreadable or overlong line is never given to the export either
            images.append(normalise(line.pixels(), card.height, card.max_width))
    for group in by_width([image.shape[1] for image in images], 8):
        pixels, widths = pad([images[i] for i in group])
        yield torch.from_numpy(pixels), torch.from_numpy(widths)
