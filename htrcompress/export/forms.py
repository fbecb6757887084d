"""The forms of one model that can be executed here, each giving text and logits: what `verify` compares.

PyTorch in FP32 is the reference. PyTorch in half precision stands for what an FP16 file computes on a GPU, since
ONNX Runtime's CPU provider computes FP16 graphs in FP32.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from htrcompress import ctc
from htrcompress.card import CARD_KEY, Card
from htrcompress.errors import HtrError
from htrcompress.export.graph import OUTPUTS, RAW_OUTPUTS, deployable
from htrcompress.export.onnx import read_onnx, session

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Output:
    """What one batch comes to.

    Attributes:
        labels: int32 (B, T), padded with -1.
        lengths: int32 (B,).
        logits: float32 (B, T, C).
    """

    labels: NDArray[np.int32]
    lengths: NDArray[np.int32]
    logits: NDArray[np.float32]


class Form(Protocol):
    """One executable form.

    Attributes:
        name: for tables: a file's name, or `PyTorch`.
        arithmetic: what convolutions and matrix products are computed in here.
    """

    name: str
    arithmetic: str

    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        """One batch, uint8 (B, 1, H, W) and int32 (B,)."""


class TorchForm:
    """The model in PyTorch, folded, with weights and activations of one type."""

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32):
        self.module = deployable(model, dtype)
        self.arithmetic = "FP16" if dtype == torch.float16 else "FP32"
        self.name = "PyTorch" if dtype == torch.float32 else "PyTorch, half precision"

    @torch.inference_mode()
    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        labels, lengths, _, logits = self.module(torch.from_numpy(pixels), torch.from_numpy(widths))
        return Output(labels.numpy(), lengths.numpy(), logits.numpy())


class OnnxForm:
    """An exported ONNX file in ONNX Runtime on the CPU; logits are brought out where the file keeps them inside.

    Raises:
        HtrError: the file is damaged, of another model than `card`, or ONNX Runtime refuses it.
    """

    def __init__(self, path: Path, card: Card):
        graph, own = read_onnx(path)
        if own != card:
            raise HtrError(f"{path} is not of the model beside it: its {CARD_KEY} card differs; export it again")
        self.name = path.name
        self.arithmetic = "INT8" if ".int8." in path.name else "FP32"
        outputs = [output.name for output in graph.graph.output]
        self._decoded = OUTPUTS[0] in outputs
        if OUTPUTS[3] not in outputs:
            graph.graph.output.add().name = OUTPUTS[3]
        self._session = session(graph, str(path))

    def run(self, pixels: Pixels, widths: NDArray[np.int32]) -> Output:
        names = [OUTPUTS[0], OUTPUTS[1], OUTPUTS[3]] if self._decoded else list(RAW_OUTPUTS)
        found = dict(zip(names, self._session.run(names, {"pixels": pixels, "widths": widths}), strict=True))
        logits = found[OUTPUTS[3]]
        if self._decoded:
            labels, lengths = found[OUTPUTS[0]], found[OUTPUTS[1]]
        else:
            labels, lengths, _ = ctc.greedy(logits, found[RAW_OUTPUTS[1]])
        return Output(labels, lengths, logits)


def check_engine(path: Path, card: Card) -> str:
    """What is known of an engine that is not executed here, in a sentence.

    Raises:
        HtrError: its `.json` is missing, damaged or of another model.
    """
    beside = Path(f"{path}.json")
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        own = Card.from_json(json.dumps(document["card"]), str(beside))
        engine = document["engine"]
        runtime, version, precision = engine["runtime"], engine["version"], engine["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        raise HtrError(f"{beside} is missing or damaged: export the model again") from None
    if own != card:
        raise HtrError(f"{path} is not of the model beside it: export it again")
    return f"built for {runtime} {version} in {precision}, not executed"
