"""A model as one ONNX graph: pixels in, decoded text out, weights and card inside.

    pixels uint8 (batch, 1, height, width), widths int32 (batch,)
        -> labels int32 (batch, T), lengths int32 (batch,), scores float32 (batch,), logits float32 (batch, T, C)

A model is traced once in each precision. In place of the decode in standard operators a graph can hold the node of the
TensorRT plugin (`export/plugin`), or no decode at all: both are cut from the same trace. The graph is compared with
PyTorch before anything is written.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from htrcompress.card import Card
from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.export.deployable import (
    DECODED_OUTPUTS,
    OUTPUTS,
    RAW_OUTPUTS,
    AttentiveDeployable,
    Deployable,
    deployable,
    sample,
)
from htrcompress.export.graph import Graph, copy_of, make_graph, require_onnx
from htrcompress.export.graph_passes import keep_outputs
from htrcompress.export.options import Decode
from htrcompress.export.tracing import trace_module

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = {False: 1e-3, True: 3e-2}
"""Allowed difference of logits from PyTorch, over the largest logit, by whether the graph is FP16."""


def export_onnx(model: nn.Module, card: Card, path: Path, *, half: bool = False, decode: Decode = "graph") -> Graph:
    """Writes a model to one ONNX file, whole or not at all; see `make_onnx`."""
    graph = make_onnx(model, card, path.name, half=half, decode=decode)
    graph.write(path.parent)
    return graph


def make_onnx(model: nn.Module, card: Card, name: str, *, half: bool = False, decode: Decode = "graph") -> Graph:
    """A model with its decode as an ONNX graph.

    Args:
        model: a network of this package.
        card: its card; stored in the metadata.
        name: of the file that the graph is for, such as `model.onnx`.
        half: weights and activations in FP16, except for the FP32 islands (`precision.islands`).
        decode: in standard operators, as a node of the TensorRT plugin, or not at all.

    Raises:
        HtrError: onnx is not installed, or the graph does not compute what PyTorch computes.
    """
    module = deployable(model, torch.float16 if half else torch.float32)
    traced = make_graph(name, trace(module, card.height), card)
    compare(traced, module, half)
    proto = copy_of(traced.proto)
    keep_outputs(proto, DECODED_OUTPUTS if decode == "graph" else RAW_OUTPUTS)
    if decode == "plugin":
        _add_plugin(proto)
    return make_graph(name, proto, card)


def trace(module: Deployable | AttentiveDeployable, height: int) -> "ModelProto":
    """The module as an ONNX graph with all its outputs; takes several seconds, whatever the size of the network."""
    given = sample(height, 2, 93)
    proto = trace_module(module, given, ("pixels", "widths"), module.outputs, ((0, 3), (0,)), _module_name)
    for value in (*proto.graph.input, *proto.graph.output):
        shape = value.type.tensor_type.shape.dim
        shape[0].dim_param = "batch"
        if len(shape) > 1:
            shape[-1 if value.name == "pixels" else 1].dim_param = "width" if value.name == "pixels" else "frames"
    return proto


def _module_name(scopes: list[str]) -> str:
    """The innermost module of the network that a node is in, such as `network.stem`; `decode` behind the network."""
    return "network" if scopes[-2].startswith("_") else scopes[-2] or "decode"


def _add_plugin(proto: "ModelProto") -> None:
    """Puts `CtcGreedyDecode` behind the logits; TensorRT's parser finds the plugin by type, version and namespace."""
    onnx = require_onnx()
    logits = copy_of(next(output for output in proto.graph.output if output.name == "logits"))
    del proto.graph.output[:]
    shapes = {"labels": ["batch", "frames"], "lengths": ["batch"], "scores": ["batch"]}
    for name, shape in shapes.items():
        kind = onnx.TensorProto.FLOAT if name == "scores" else onnx.TensorProto.INT32
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    proto.graph.output.append(logits)
    attributes = {"plugin_version": "1", "plugin_namespace": "htrcompress"}
    names = list(RAW_OUTPUTS), list(shapes)
    node = onnx.helper.make_node(
        "CtcGreedyDecode", *names, "decode/CtcGreedyDecode", domain="htrcompress", **attributes
    )
    proto.graph.node.append(node)
    proto.opset_import.append(onnx.helper.make_opsetid("htrcompress", 1))


def compare(graph: Graph, module: Deployable | AttentiveDeployable, half: bool) -> None:
    """Raises HtrError unless the graph's logits and memory are PyTorch's and its labels those of the reference decode.

    Args:
        graph: with all outputs of the module.
        module: what was traced.
        half: whether the graph is FP16.
    """
    run, stride = graph.runner(), graph.card.stride
    for batch, width in ((1, 1), (3, 61), (2, 4 * stride)):
        pixels, widths = sample(graph.card.height, batch, width)
        with torch.inference_mode():
            expected = dict(zip(module.outputs, module(pixels, widths), strict=True))
        found = run(pixels.numpy(), widths.numpy())
        logits, frames = found["logits"], -(-widths.numpy() // stride)
        valid = np.arange(logits.shape[1]) < frames[:, None]
        for what in {"logits", "memory"} & expected.keys():
            value = expected[what].numpy()
            limit = TOLERANCE[half] * max(1.0, float(np.abs(value[valid]).max()))
            difference = float(np.abs(found[what] - value)[valid].max())
            if not difference <= limit:
                raise HtrError(f"{graph.name} is not written: its {what} differ from PyTorch's by {difference:.2g}")
        labels, lengths, scores = reference.greedy(logits, frames)
        same = all(np.array_equal(found[n], v) for n, v in zip(OUTPUTS, (labels, lengths), strict=False))
        same = same and np.array_equal(found["frames"], frames)
        if not same or not np.allclose(found["scores"], scores, atol=1e-4):
            raise HtrError(f"{graph.name} is not written: the decode in its graph differs from the reference decode")
