"""A model as one ONNX file: pixels in, decoded text out, weights and card inside.

    pixels uint8 (batch, 1, height, width), widths int32 (batch,)
        -> labels int32 (batch, T), lengths int32 (batch,), scores float32 (batch,)[, logits float32 (batch, T, C)]

Instead of the decode in standard operators a graph can hold the node of our TensorRT plugin (`export/plugin`), or
none: then it gives logits and frames.

The file is checked against PyTorch before it is written. `python -m htrcompress.export` makes it.
"""

import ast
import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from htrcompress.card import Card
from htrcompress.decoding import reference
from htrcompress.errors import HtrError, missing_extra
from htrcompress.export.deployable import OUTPUTS, RAW_OUTPUTS, Deployable, Undecoded, deployable, sample
from htrcompress.export.graph_passes import reorder_gelu
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

Decode = Literal["graph", "plugin", "none"]
OPSET = 18
"""Old enough for every runtime in use, and the one that PyTorch's exporter writes without a conversion."""
TOLERANCE = {False: 1e-3, True: 3e-2}
"""Allowed difference of logits from PyTorch, over the largest logit, by whether the graph is FP16."""


def export_onnx(
    model: nn.Module, card: Card, path: Path, *, half: bool = False, logits: bool = False, decode: Decode = "graph"
) -> None:
    """Writes a model with its decode to one ONNX file, whole or not at all.

    Args:
        model: a network of this package.
        card: its card; stored in `metadata_props` under `htrcompress`.
        path: the file to write.
        half: weights and activations in FP16, but for the FP32 islands (`precision.islands`).
        logits: add the FP32 logits as the last output.
        decode: in standard operators, as a node of our TensorRT plugin, or not at all.

    Raises:
        HtrError: onnx is not installed, the graph does not compute what PyTorch does, or the disk is full.
    """
    module = deployable(model, torch.float16 if half else torch.float32)
    if decode == "graph":
        graph = _trace(module, card.height, OUTPUTS)
    else:
        graph = _trace(Undecoded(module.network), card.height, RAW_OUTPUTS)
    _tidy(graph)
    reorder_gelu(graph)
    stamp(graph, card)
    check(graph, str(path))
    _compare(graph, module, card, half, path)
    if decode == "graph" and not logits:
        del graph.graph.output[OUTPUTS.index("logits")]
    if decode == "plugin":
        _add_plugin(graph, logits)
        check(graph, str(path))
    write_atomic(path, graph.SerializeToString())


def read_onnx(path: Path) -> "tuple[ModelProto, Card]":
    """Reads an exported file and its card.

    Raises:
        HtrError: the file is missing, damaged, or was not written by this package.
    """
    from google.protobuf.message import DecodeError

    onnx = _onnx()
    if not path.is_file():
        raise HtrError(f"no ONNX model at {path}")
    try:
        graph = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise HtrError(f"{path} is damaged or not an ONNX file: {error}") from None
    card = Card.from_metadata({p.key: p.value for p in graph.metadata_props}, str(path))
    check(graph, str(path))
    return graph, card


def stamp(graph: "ModelProto", card: Card) -> None:
    """Puts the card into a graph's metadata, in the place of what is there."""
    del graph.metadata_props[:]
    for key, value in card.to_metadata().items():
        graph.metadata_props.add(key=key, value=value)


def check(graph: "ModelProto", where: str) -> None:
    """Raises HtrError unless the graph is valid ONNX."""
    onnx = _onnx()
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise HtrError(f"{where} is not a valid ONNX graph: {str(error).splitlines()[0]}") from None


def session(graph: "ModelProto", where: str, optimised: Path | None = None) -> "InferenceSession":
    """A graph in ONNX Runtime on the CPU.

    Args:
        graph: an exported graph.
        where: what to call it in an error.
        optimised: where ONNX Runtime shall write the graph that it really runs.

    Raises:
        HtrError: ONNX Runtime is not installed or refuses the graph.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "cpu") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    try:
        return onnxruntime.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base class but this
        raise HtrError(f"ONNX Runtime refuses {where}: {str(error).splitlines()[0]}") from None


def run(graph: "ModelProto", pixels: np.ndarray, widths: np.ndarray) -> list[np.ndarray]:
    """All outputs of a graph for pixels uint8 (B, 1, H, W) and widths int32 (B,), by ONNX Runtime on the CPU."""
    return session(graph, "the exported graph").run(None, {"pixels": pixels, "widths": widths})


def _add_plugin(graph: "ModelProto", logits: bool) -> None:
    """Puts `CtcGreedyDecode` behind the logits; TensorRT's parser finds the plugin by type, version and namespace."""
    onnx = _onnx()
    raw = list(graph.graph.output)
    del graph.graph.output[:]
    shapes = {"labels": ["batch", "frames"], "lengths": ["batch"], "scores": ["batch"]}
    for name, shape in shapes.items():
        kind = onnx.TensorProto.FLOAT if name == "scores" else onnx.TensorProto.INT32
        graph.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    graph.graph.output.extend(raw[:1] if logits else [])
    attributes = {"plugin_version": "1", "plugin_namespace": "htrcompress"}
    names = list(RAW_OUTPUTS), list(shapes)
    node = onnx.helper.make_node(
        "CtcGreedyDecode", *names, "decode/CtcGreedyDecode", domain="htrcompress", **attributes
    )
    graph.graph.node.append(node)
    graph.opset_import.append(onnx.helper.make_opsetid("htrcompress", 1))


def _trace(module: nn.Module, height: int, outputs: tuple[str, ...]) -> "ModelProto":
    _onnx()
    dynamic = torch.export.Dim.DYNAMIC
    with _quiet():
        program = torch.onnx.export(
            module,
            sample(height, 2, 93),
            input_names=["pixels", "widths"],
            output_names=list(outputs),
            dynamic_shapes=({0: dynamic, 3: dynamic}, {0: dynamic}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None only for an export straight to a file
    return program.model_proto


def _tidy(graph: "ModelProto") -> None:
    """Names nodes after their module and axes after what they are, and drops notes that hold source paths."""
    for number, node in enumerate(graph.graph.node):
        if node.op_type == "Clip" and len(node.input) == 2:
            node.op_type = "Max"  # the same; of integers, OpenVINO makes zeros of a Clip without a maximum
        notes = {p.key: p.value for p in node.metadata_props}
        scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "['network', '']"))
        module = "network" if scopes[-2].startswith("_") else scopes[-2] or "decode"
        node.name = f"{module}/{node.op_type}_{number}"
        del node.metadata_props[:]
        node.ClearField("doc_string")
    inner = graph.graph
    del inner.value_info[:]
    del graph.metadata_props[:]
    for value in (*inner.input, *inner.output, *inner.initializer, inner):
        del value.metadata_props[:]
    for value in (*inner.input, *inner.output):
        shape = value.type.tensor_type.shape.dim
        shape[0].dim_param = "batch"
        if len(shape) > 1:
            shape[-1 if value.name == "pixels" else 1].dim_param = "width" if value.name == "pixels" else "frames"


def _compare(graph: "ModelProto", module: Deployable, card: Card, half: bool, path: Path) -> None:
    """Raises HtrError unless the graph's logits are PyTorch's and its labels are what the oracle reads in them."""
    for batch, width in ((1, 1), (3, 61), (2, 4 * card.stride)):
        pixels, widths = sample(card.height, batch, width)
        with torch.inference_mode():
            expected = module(pixels, widths)[-1].numpy()
        names = (output.name for output in graph.graph.output)
        found = dict(zip(names, run(graph, pixels.numpy(), widths.numpy()), strict=True))
        logits, frames = found["logits"], -(-widths.numpy() // card.stride)
        valid = np.arange(logits.shape[1]) < frames[:, None]
        limit = TOLERANCE[half] * max(1.0, float(np.abs(expected[valid]).max()))
        difference = float(np.abs(logits - expected)[valid].max())
        if not difference <= limit:
            raise HtrError(f"{path.name} is not written: its logits differ from PyTorch's by {difference:.2g}")
        if "frames" in found:
            same = np.array_equal(found["frames"], frames)
        else:
            labels, lengths, scores = reference.greedy(logits, frames)
            same = np.array_equal(found["labels"], labels) and np.array_equal(found["lengths"], lengths)
            same = same and np.allclose(found["scores"], scores, atol=1e-4)
        if not same:
            raise HtrError(f"{path.name} is not written: the decode in its graph does not read what the oracle reads")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's progress notes; its errors are exceptions and pass."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _onnx():  # type: ignore[no-untyped-def]
    """The onnx package, checked to be there together with what PyTorch's exporter needs."""
    try:
        import onnx
        import onnx.shape_inference
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "train") from None
    return onnx
