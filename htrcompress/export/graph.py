"""`Graph`: an exported ONNX graph, parsed and checked once, that every step of an export hands to the next.

Nothing changes a graph after it is made: passes copy its `proto`. So its bytes, types and shapes are computed once,
and what is measured is what is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.errors import HtrError, first_line, missing_extra
from htrcompress.runtime.onnx_session import open_session
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from onnx import ModelProto

WIDTH = 512
"""Width in pixels of the single line that shapes are computed and multiplications are counted for."""
COUNTED = ("Conv", "MatMul", "Gemm", "LSTM")
"""Operators whose multiplications are counted."""


@dataclass(frozen=True, eq=False)
class Graph:
    """An exported graph.

    Attributes:
        name: of its file, such as `model.fp16.onnx`; for messages.
        proto: the parsed graph; copy it to change it.
        card: the card in its metadata.
    """

    name: str
    proto: "ModelProto"
    card: Card

    @cached_property
    def data(self) -> bytes:
        """The content of the file."""
        return bytes(self.proto.SerializeToString())

    @cached_property
    def types(self) -> dict[str, int]:
        """ONNX element type of every value, by name."""
        from onnx import shape_inference

        inner = shape_inference.infer_shapes(self.proto, strict_mode=True).graph
        types = {v.name: v.type.tensor_type.elem_type for v in (*inner.input, *inner.value_info, *inner.output)}
        return types | {weight.name: weight.data_type for weight in inner.initializer}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what the counted operators read and write for one line of `WIDTH` pixels, found by running it."""
        import onnx

        shapes = {weight.name: tuple(weight.dims) for weight in self.proto.graph.initializer}
        exposed = copy_of(self.proto)
        for node in [node for node in exposed.graph.node if node.domain == "htrcompress"]:  # TensorRT alone runs it
            exposed.graph.node.remove(node)
        del exposed.graph.output[:]
        counted = (node for node in exposed.graph.node if node.op_type in COUNTED)
        names = {name for node in counted for name in (*node.input, *node.output) if name}
        wanted = sorted(names - shapes.keys())
        make = onnx.helper.make_tensor_value_info
        exposed.graph.output.extend(make(name, self.types[name], None) for name in wanted)
        pixels = np.zeros((1, 1, self.card.height, WIDTH), np.uint8)
        session, _ = open_session(exposed.SerializeToString(), self.name, "cpu")
        values = session.run(wanted, {"pixels": pixels, "widths": np.array([WIDTH], np.int32)})
        return shapes | {name: value.shape for name, value in zip(wanted, values, strict=True)}

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [output.name for output in self.proto.graph.output]

    def runner(self) -> Callable[[NDArray[np.uint8], NDArray[np.int32]], dict[str, NDArray[Any]]]:
        """`run(pixels, widths)`: all outputs by name, from ONNX Runtime on the CPU."""
        session, _ = open_session(self.data, self.name, "cpu")

        def run(pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
            return dict(zip(self.outputs, session.run(self.outputs, {"pixels": pixels, "widths": widths}), strict=True))

        return run

    def write(self, folder: Path) -> Path:
        """Writes the file into a folder, whole or not at all."""
        write_atomic(folder / self.name, self.data)
        return folder / self.name


def make_graph(name: str, proto: "ModelProto", card: Card) -> Graph:
    """A graph with the card in its metadata, checked.

    Raises:
        HtrError: it is not valid ONNX.
    """
    stamp(proto, card)
    _check(proto, name)
    return Graph(name, proto, card)


def read_graph(path: Path) -> Graph:
    """Reads an exported file.

    Raises:
        HtrError: the file is missing, damaged, or was not written by this package.
    """
    from google.protobuf.message import DecodeError

    onnx = require_onnx()
    if not path.is_file():
        raise HtrError(f"no ONNX model at {path}")
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
    except (DecodeError, OSError, UnicodeDecodeError) as error:
        raise HtrError(f"{path} is damaged or not an ONNX file: {error}") from None
    card = Card.from_metadata(metadata, str(path))
    _check(proto, str(path))
    return Graph(path.name, proto, card)


def stamp(proto: "ModelProto", card: Card) -> None:
    """Replaces the metadata by the card, in place."""
    del proto.metadata_props[:]
    for key, value in card.to_metadata().items():
        proto.metadata_props.add(key=key, value=value)


def copy_of(proto: "ModelProto") -> "ModelProto":
    """A copy that may be changed."""
    made = type(proto)()
    made.CopyFrom(proto)
    return made


def require_onnx() -> Any:
    """The onnx module, once it is sure that what PyTorch's exporter needs is installed with it.

    Raises:
        Unavailable: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnx.shape_inference
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "train") from None
    return onnx


def _check(proto: "ModelProto", where: str) -> None:
    onnx = require_onnx()
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, UnicodeDecodeError) as error:
        raise HtrError(f"{where} is not a valid ONNX graph: {first_line(error)}") from None
