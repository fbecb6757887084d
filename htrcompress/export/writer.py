"""Writes all forms of one model into a folder: ONNX files, engines of them, and what proves each.

A form that would not read as the model does is refused and told; the others are written.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from htrcompress.card import Card
from htrcompress.data.batching import by_width, pad
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.prepare import encode_lines
from htrcompress.data.readers.open import SYNTHETIC, default_data, open_dataset, read_config
from htrcompress.errors import HtrError, Refused
from htrcompress.export.config import read_profile
from htrcompress.export.onnx_export import Decode, export_onnx, read_onnx
from htrcompress.export.package import Package, write_labels, write_triton
from htrcompress.export.precision import half_share, islands, largest_activation, require_half
from htrcompress.export.tensorrt_build import Choice, Profile, build_engine
from htrcompress.image import resize_to_height
from htrcompress.models.serialization import load_model

if TYPE_CHECKING:
    from htrcompress.export.int8 import Quantised

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


@dataclass
class Writer:
    """What is written of every model, and what is found out on the way; the options are those of `export`."""

    onnx: bool
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

    def check(self, card: Card) -> None:
        """Raises HtrError where INT8 cannot be had: for want of the lines, or of ONNX Runtime's tools."""
        if self.int8:
            from htrcompress.export.int8 import quantization

            quantization()
        if self.int8 or self.data:
            self._dataset(card)

    def write(self, package: Package, role: str, artefact: Path) -> list[ExportedFile]:
        """All forms of one model."""
        model, card = load_model(artefact)
        profile = read_profile(self.profile, card) if self.trt else None
        folder = package.folder
        write_labels(folder, card)
        kind = "" if self.decode == "graph" else f".{self.decode}"
        graphs = [self._onnx(role, model, card, folder / f"model{kind}.onnx")]
        if self.decode == "graph" and self.onnx:
            write_triton(folder, role, graphs[0].path)
        if self.fp16:
            with self._refusing(package, role, "model.fp16.*"):
                self._measure(role, model, card)
                graphs.append(self._onnx(role, model, card, folder / f"model.fp16{kind}.onnx", half=True))
        for_engines = list(graphs)
        if self.int8:
            integers = self._int8(package, role, graphs[0].path, card)
            graphs += integers
            for_engines += [file for file in integers if ".trt." in file.path.name]
        engines = [self._engine(role, graph.path, profile) for graph in for_engines] if profile else []
        if not self.onnx:
            for graph in graphs:
                graph.path.unlink()
        return (graphs if self.onnx else []) + engines

    @contextlib.contextmanager
    def _refusing(self, package: Package, role: str, forms: str) -> Iterator[None]:
        """Goes on where a form is refused; one of that name that an earlier export left goes too."""
        try:
            yield
        except Refused as error:
            self.refused.append(f"{role}: {error}")
            package.withdrawn.append(forms)

    def _measure(self, role: str, model: nn.Module, card: Card) -> None:
        """The largest activation, on validation lines."""
        try:
            dataset = self._dataset(card)
        except HtrError:
            if self.data:
                raise
            dataset = open_dataset(SYNTHETIC)
        lines = dataset.split("valid")[:LINES]
        self.activations[role] = largest_activation(model, _batches(lines, card))
        note = f"activations measured on {len(lines)} validation lines of {dataset.name}"
        if not self.data and dataset.name != card.data.get("name", dataset.name):
            note += f", since {card.data['name']} is not here"
        self.notes += [note] if note not in self.notes else []

    def _dataset(self, card: Card) -> Dataset:
        return open_dataset(self.data or default_data(card), read_config(card))

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

    def _int8(self, package: Package, role: str, onnx_path: Path, card: Card) -> list[ExportedFile]:
        from htrcompress.export.int8 import FILES, quantise

        dataset = self._dataset(card)
        train, charset = dataset.split("train"), card.characters()
        spread = [train[i * len(train) // CALIBRATION] for i in range(min(CALIBRATION, len(train)))]
        calibration = encode_lines(spread, charset, card.height, card.max_width)
        valid = encode_lines(dataset.split("valid"), charset, card.height, card.max_width)
        made = []
        for target, name in FILES.items():
            started = time.perf_counter()
            with self._refusing(package, role, name.replace(".onnx", ".*")):
                done = quantise(onnx_path, package.folder, calibration, valid, self.limit, target)
                seconds, size = round(time.perf_counter() - started, 2), done.path.stat().st_size
                self.notes.append(_told(role, done))
                made.append(ExportedFile(role, done.path, "int8", size, seconds, 0.0, len(done.kept)))
        return made


def _told(role: str, done: "Quantised") -> str:
    before, after = (100 * rate for rate in done.cer)
    return (
        f"{done.path.name} of {role}: {done.layers} layers in INT8, {len(done.kept)} in FP32, {done.share:.0%} of the "
        f"convolutions; valid CER {before:.2f} before and {after:.2f} after, at most {100 * done.rise:+.2f}"
    )


def _batches(lines: list[Line], card: Card) -> Iterator[tuple[Tensor, Tensor]]:
    images = []
    for line in lines:
        with contextlib.suppress(HtrError):  # an unreadable or overlong line is never given to the export either
            images.append(resize_to_height(line.pixels(), card.height, card.max_width))
    for group in by_width([image.shape[1] for image in images], 8):
        pixels, widths = pad([images[i] for i in group])
        yield torch.from_numpy(pixels), torch.from_numpy(widths)
