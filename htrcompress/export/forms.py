"""The forms of one model that can be executed here, each giving labels and, if it can, logits: what `verify` compares.

PyTorch in FP32 is the reference. PyTorch in half precision stands for what an FP16 file computes on a GPU, since
ONNX Runtime's CPU provider computes FP16 graphs in FP32. TensorRT engines are forms like the others where a GPU is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from htrcompress.card import CARD_KEY, Card
from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.export.deployable import OUTPUTS, RAW_OUTPUTS, deployable
from htrcompress.export.onnx_export import read_onnx
from htrcompress.runtime.onnx_session import open_session
from htrcompress.runtime.tensorrt_engine import Engine

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Output:
    """What one batch comes to.

    Attributes:
        labels: int32 (B, T), padded with -1.
        lengths: int32 (B,).
        logits: float32 (B, T, C); None where the form keeps them inside.
    """

    labels: NDArray[np.int32]
    lengths: NDArray[np.int32]
    logits: NDArray[np.float32] | None


class Form(Protocol):
    """One executable form.

    Attributes:
        name: for tables: a file's name, or `PyTorch`.
        arithmetic: what convolutions and matrix products are computed in here.
        most: the most lines that it takes at once; None for any number.
    """

    name: str
    arithmetic: str
    most: int | None

    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        """One batch, uint8 (B, 1, H, W) and int32 (B,)."""


def precision_of(path: Path) -> str:
    """What an exported file holds, by its name: `FP16`, `INT8` or `FP32`."""
    return next((name for name in ("FP16", "INT8") if f".{name.lower()}." in path.name), "FP32")


class TorchForm:
    """The model in PyTorch on the CPU, folded, with weights and activations of one type."""

    most: int | None = None

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32):
        self.module = deployable(model, dtype)
        self.arithmetic = "FP16" if dtype == torch.float16 else "FP32"
        self.name = "PyTorch" if dtype == torch.float32 else "PyTorch, half precision"

    @torch.inference_mode()
    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        labels, lengths, _, logits = self.module(torch.from_numpy(pixels), torch.from_numpy(widths))
        return Output(labels.numpy(), lengths.numpy(), logits.numpy())


class OnnxForm:
    """An exported ONNX file in ONNX Runtime; logits are brought out where the file keeps them inside.

    Raises:
        HtrError: the file is damaged or of another model than `card`, ONNX Runtime refuses it, or has no such device.
    """

    most: int | None = None

    def __init__(self, path: Path, card: Card, device: str = "cpu"):
        graph, own = read_onnx(path)
        if own != card:
            raise HtrError(f"{path} is not of the model beside it: its {CARD_KEY} card differs; export it again")
        self.name, self.arithmetic = path.name, precision_of(path)
        if device in ("cpu", "openvino") and self.arithmetic == "FP16":
            self.arithmetic = "FP32"
        outputs = [output.name for output in graph.graph.output]
        self._decoded = OUTPUTS[0] in outputs
        if OUTPUTS[3] not in outputs:
            graph.graph.output.add().name = OUTPUTS[3]
        self._session, _ = open_session(graph.SerializeToString(), str(path), device)

    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        names = [OUTPUTS[0], OUTPUTS[1], OUTPUTS[3]] if self._decoded else list(RAW_OUTPUTS)
        return _output(dict(zip(names, self._session.run(names, {"pixels": pixels, "widths": widths}), strict=True)))


class EngineForm:
    """A TensorRT engine on the GPU that is here.

    Raises:
        Unavailable: there is no usable GPU, or not the TensorRT that built it.
        HtrError: the engine is damaged, or not for this GPU.
    """

    def __init__(self, path: Path):
        self.name, self.arithmetic = path.name, precision_of(path)
        self._engine = Engine(path)
        self.most: int | None = self._engine.max_batch
        self.inspected = self._engine.inspect()

    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        self._engine.upload(pixels, widths)
        self._engine.execute()
        return _output(self._engine.download(self._engine.outputs))


def _output(found: dict[str, NDArray[Any]]) -> Output:
    """Outputs of either kind of graph, by name; those that hold no labels are decoded here."""
    logits = found.get(OUTPUTS[3])
    if OUTPUTS[0] in found:
        return Output(found[OUTPUTS[0]], found[OUTPUTS[1]], logits)
    labels, lengths, _ = reference.greedy(found[OUTPUTS[3]], found[RAW_OUTPUTS[1]])
    return Output(labels, lengths, logits)
