"""An attention decoder as two ONNX graphs: the model with what the decoder reads, and the decoder's step.

    model.attention.onnx       pixels, widths -> labels, lengths, scores, logits, memory float32 (batch, T, M)
    model.attention.step.onnx  memory, frames, labels, parents, keys, values
                               -> log_probabilities, next_keys, next_values

The step is called once for each character with the keys and values of the characters before, which it hands back with
one more; `runtime/onnx_attention.py` says what the tensors hold. Both are compared with PyTorch before anything is
written.
"""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export.deployable import ATTENTIVE_OUTPUTS, DECODED_OUTPUTS, attentive_deployable
from htrcompress.export.graph import Graph, copy_of, make_graph
from htrcompress.export.graph_passes import keep_outputs
from htrcompress.export.onnx_export import TOLERANCE, compare, trace
from htrcompress.export.tracing import trace_module
from htrcompress.models.attention import AttentionDecoder
from htrcompress.models.base import LineRecognizer
from htrcompress.runtime.onnx_attention import INPUTS, OUTPUTS
from htrcompress.runtime.onnx_session import open_session

if TYPE_CHECKING:
    from onnx import ModelProto

AXES = {
    "memory": ("lines", "frames", None),
    "frames": ("lines",),
    "labels": ("lines", "texts"),
    "parents": ("lines", "texts"),
    "keys": (None, "lines", "before", None, "length", None),
    "values": (None, "lines", "before", None, "length", None),
}
"""The axes of the step's inputs that may have any size."""


class Step(nn.Module):
    """`AttentionDecoder.step` as a module."""

    def __init__(self, decoder: AttentionDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(
        self, memory: Tensor, frames: Tensor, labels: Tensor, parents: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.decoder.step(memory, frames, labels, parents, keys, values)


def make_attention(
    model: LineRecognizer, decoder: AttentionDecoder, card: Card, names: tuple[str, str]
) -> tuple[Graph, Graph]:
    """The two graphs of a model and its attention decoder, in FP32.

    Args:
        model: the network.
        decoder: its attention decoder.
        card: the model's card; the decoder's sizes are added to it.
        names: of the files that the graphs are for.

    Raises:
        HtrError: onnx is not installed, or a graph does not compute what PyTorch computes.
    """
    card = replace(card, attention=asdict(decoder.sizes))
    module = attentive_deployable(model, decoder)
    traced = make_graph(names[0], trace(module, card.height), card)
    compare(traced, module, half=False)
    proto = copy_of(traced.proto)
    keep_outputs(proto, (*DECODED_OUTPUTS, ATTENTIVE_OUTPUTS[-1]))
    step = make_graph(names[1], _trace_step(module.decoder), card)
    _compare_step(step, module.decoder)
    return make_graph(names[0], proto, card), step


def _inputs(decoder: AttentionDecoder, sizes: tuple[int, int, int, int, int], seed: int = 0) -> tuple[Tensor, ...]:
    """Inputs of a step: so many lines and frames, and texts, texts before and their characters."""
    lines, frames, texts, before, length = sizes
    draw, classes, found = torch.Generator().manual_seed(seed), decoder.head.out_features, decoder.sizes
    shape = found.layers, lines, before, found.heads, length, found.dim // found.heads
    memory = torch.randn(lines, frames, 2 * found.layers * found.dim, generator=draw)
    valid = torch.randint(1, frames + 1, (lines,), generator=draw)
    labels = torch.randint(0, classes, (lines, texts), generator=draw)
    parents = torch.randint(0, before, (lines, texts), generator=draw)
    keys, values = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
    return memory, valid, labels, parents, keys, values


def _trace_step(decoder: AttentionDecoder) -> "ModelProto":
    free = [[place for place, name in enumerate(axes) if name] for axes in AXES.values()]
    given = _inputs(decoder, (2, 9, 3, 5, 7))
    proto = trace_module(Step(decoder).eval(), given, INPUTS, OUTPUTS, free, lambda scopes: "step")
    for value in proto.graph.input:
        for axis, name in zip(value.type.tensor_type.shape.dim, AXES[value.name], strict=True):
            if name:
                axis.dim_param = name
    for value in proto.graph.output:
        for axis in value.type.tensor_type.shape.dim:
            axis.ClearField("dim_param")
    return proto


def _compare_step(graph: Graph, decoder: AttentionDecoder) -> None:
    """Raises HtrError unless the graph gives what PyTorch gives, from the first character on."""
    session, _ = open_session(graph.data, graph.name, "cpu")
    for seed, sizes in enumerate(((1, 1, 1, 1, 0), (3, 20, 1, 1, 0), (3, 20, 4, 1, 1), (2, 33, 6, 6, 12))):
        given = _inputs(decoder, sizes, seed)
        with torch.inference_mode():
            expected = [value.numpy() for value in decoder.step(*given)]
        found = session.run(list(OUTPUTS), dict(zip(INPUTS, (value.numpy() for value in given), strict=True)))
        for name, one, other in zip(OUTPUTS, found, expected, strict=True):
            same = one.shape == other.shape
            limit = TOLERANCE[False] * max(1.0, float(np.abs(other).max()))
            if not (same and float(np.abs(one - other).max()) <= limit):
                raise HtrError(f"{graph.name} is not written: its {name} are not those of PyTorch")
