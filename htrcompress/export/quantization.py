"""ONNX Runtime's quantisation tools, and what they need to know of a graph and of the training lines."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import HtrError, missing_extra
from htrcompress.export.accuracy_guard import batches
from htrcompress.runtime.onnx_session import open_session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def weighted_layers(graph: "ModelProto", quantisable: Callable[["NodeProto"], bool]) -> dict[str, list[str]]:
    """Convolutions and products with weights: the name of a layer to its one node."""
    weights = {weight.name for weight in graph.graph.initializer}
    return {
        node.name: [node.name]
        for node in graph.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights and quantisable(node)
    }


def gates(graph: "ModelProto", quantisable: Callable[["NodeProto"], bool]) -> dict[str, list[str]]:
    """Products of a convolution and the sigmoid of one: the product's name to its two nodes."""
    convolved = {node.output[0] for node in graph.graph.node if node.op_type == "Conv"}
    opened = {
        node.output[0]: node.name
        for node in graph.graph.node
        if node.op_type == "Sigmoid" and node.input[0] in convolved
    }
    return {
        node.name: [opened[gate], node.name]
        for node in graph.graph.node
        if node.op_type == "Mul" and quantisable(node)
        for value, gate in (node.input, reversed(node.input))
        if value in convolved and gate in opened
    }


class CalibrationLines:
    """Training lines in the form that ONNX Runtime's calibration takes."""

    def __init__(self, examples: EncodedLines):
        self.batches = batches(examples)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"pixels": batch[1], "widths": batch[2]}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the advice, repeated at every call, to simplify the graph first."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers  # its calls of logging.info() add one, which would print all that we log again


def optimized(data: bytes, name: str, scratch: Path) -> "ModelProto":
    """The graph of a file's content as ONNX Runtime runs it on this machine's CPU."""
    import onnx

    path = scratch / "optimized.onnx"
    open_session(data, name, "cpu", optimized=path)
    return onnx.load(path)


def quantization() -> Any:
    """ONNX Runtime's quantisation tools.

    Raises:
        HtrError: it is not installed, or too old.
    """
    try:
        import onnxruntime
        from onnxruntime import quantization as tools
    except ImportError as error:
        raise missing_extra(error.name or "onnxruntime", "cpu") from None
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 31):
        raise HtrError(f"INT8 needs onnxruntime 1.31 or later, and this is {onnxruntime.__version__}: upgrade it")
    return tools
