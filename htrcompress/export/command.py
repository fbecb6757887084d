"""What `python -m htrcompress.export` does: every model of a run as ONNX files and TensorRT engines.

`<run>/export/<role>/` then holds `model.onnx`, `model.fp16.onnx`, `model.int8.cpu.onnx` and `model.int8.trt.onnx`,
the engines of these with a `.json` each, `card.json`, and `labels.txt`: label by label, one character a line after
`<blank>`.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from htrcompress.export.onnx import export_onnx, read_onnx
from htrcompress.export.precision import half_share, islands, largest_activation, require_half
from htrcompress.export.tensorrt import Choice, Profile, build_engine, find_runtime
from htrcompress.files import write_atomic
from htrcompress.image import normalise

CALIBRATION = 128
"""Training lines that the ranges of INT8 are taken from, spread over the split."""
LINES = 64
"""Validation lines that activations are measured on."""
TYPICAL_WIDTH = 1024
"""Width in pixels that engines are tuned for."""
KINDS = ("", ".fp16", ".int8.cpu", ".int8.trt")
OWNED = ("verify.json", *(f"model{kind}{end}" for kind in KINDS for end in (".onnx", ".engine", ".engine.json")))


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
    out: Path | None = None,
    data: str | None = None,
    max_cer_drop: float = 0.2,
    max_batch: int = 32,
    runtime: Choice = "auto",
) -> ExportResult:
    """Writes the models of a run as ONNX files, and as TensorRT engines, with decoding inside.

    Args:
        run: a run folder or a .safetensors file; the newest run if not given.
        trt: also build engines: FP16 with --fp16, else FP32, and INT8 with --int8.
        fp16: also write an FP16 ONNX file, with the proof that it is one.
        int8: also write INT8 ONNX files, one for ONNX Runtime on the CPU and one for TensorRT.
        logits: add the logits to the outputs.
        out: where to write; `export/<model>` in the run if not given.
        data: whose training lines calibrate INT8 and whose validation lines guard it; what the model was trained
            on if not given.
        max_cer_drop: points that INT8 may cost on validation, at the far end of the paired interval.
        max_batch: the largest batch that an engine takes.
        runtime: which TensorRT builds the engine; `auto` takes the first that is installed.

    Raises:
        HtrError: a model cannot be read or exported, half precision is not safe, or TensorRT is missing.
    """
    run = run or runs.newest()
    root = out or (run if run.is_dir() else run.parent) / "export"
    if trt:
        find_runtime(runtime)  # before the first minute is spent
    files: list[ExportedFile] = []
    activations: dict[str, float] = {}
    notes: list[str] = []
    refused: list[str] = []
    for role, artefact in runs.models(run).items():
        model, card = load_model(artefact)
        target = out if out and run.is_file() else root / role
        with _replaced(target) as folder:
            console.print(f"exporting {role} to {target}", markup=False)
            write_atomic(folder / "card.json", f"{card.to_json()}\n".encode())
            write_atomic(folder / "labels.txt", "".join(f"{c}\n" for c in ("<blank>", *card.charset)).encode())
            made = [_onnx(model, card, folder / "model.onnx", logits)]
            if fp16:
                batches, note = _lines(card)
                activations[role] = largest_activation(model, batches)
                notes += [note] if note not in notes else []
                made.append(_onnx(model, card, folder / "model.fp16.onnx", logits, half=True))
            if trt:
                made.append(_engine(made[-1].path, card, max_batch, runtime))
            if int8:
                try:
                    quantised = _int8(made[0].path, folder, card, data, max_cer_drop)
                    made += quantised
                    made += [_engine(quantised[1].path, card, max_batch, runtime)] if trt else []
                except HtrError as error:
                    refused.append(f"{role}: {error}")
        files += [
            ExportedFile(role, target / m.path.name, m.precision, m.bytes, m.seconds, m.half_share, m.islands)
            for m in made
        ]
    return ExportResult(tuple(files), activations, tuple(notes), tuple(refused))


@dataclass(frozen=True)
class _Made:
    """A file in the folder that is not yet in its place; fields as in `ExportedFile`."""

    path: Path
    precision: str
    bytes: int
    seconds: float
    half_share: float
    islands: int


def _onnx(model: nn.Module, card: Card, path: Path, logits: bool, half: bool = False) -> _Made:
    started = time.perf_counter()
    export_onnx(model, card, path, half=half, logits=logits)
    share, parts = 0.0, 0
    if half:
        graph, _ = read_onnx(path)
        share, parts = half_share(graph), len(islands(graph))
        require_half(share, path.name)
    seconds = time.perf_counter() - started
    return _Made(path, "fp16" if half else "fp32", path.stat().st_size, round(seconds, 2), share, parts)


def _engine(onnx_path: Path, card: Card, max_batch: int, runtime: Choice) -> _Made:
    profile = Profile((1, max_batch, max_batch), (1, min(TYPICAL_WIDTH, card.max_width), card.max_width))
    path = onnx_path.with_suffix(".engine")
    engine = build_engine(onnx_path, path, profile=profile, runtime=runtime)
    return _Made(path, engine.precision, engine.bytes, engine.seconds, engine.half_share, len(engine.islands))


def _int8(onnx_path: Path, folder: Path, card: Card, data: str | None, max_cer_drop: float) -> list[_Made]:
    from htrcompress.export.int8 import quantise

    started = time.perf_counter()
    dataset = open_dataset(data or default_data(card), read_config(card))
    train, charset = dataset.split("train"), card.characters()
    spread = [train[i * len(train) // CALIBRATION] for i in range(min(CALIBRATION, len(train)))]
    calibration = load_examples(spread, charset, card.height, card.max_width)
    valid = load_examples(dataset.split("valid"), charset, card.height, card.max_width)
    done = quantise(onnx_path, folder, calibration, valid, max_cer_drop / 100)
    seconds = round(time.perf_counter() - started, 2)
    return [_Made(path, "int8", path.stat().st_size, seconds, 0.0, len(done.kept)) for path in done.paths.values()]


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


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A folder to write in, whose files move to `target` once all are there; earlier exports in it go then."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir(parents=True)
        yield beside
        target.mkdir(exist_ok=True)
        for name in OWNED:
            (target / name).unlink(missing_ok=True)
        for file in beside.iterdir():
            file.replace(target / file.name)
    except OSError as error:
        raise HtrError(f"cannot write the export folder {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
