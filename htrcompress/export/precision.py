"""The proof that an FP16 or INT8 export is one: what computes in which precision.

* `half_share`: of the multiplications in convolutions, matrix products and LSTMs, the share that reads and writes
  half precision; an export called FP16 needs 99 %.
* `islands`: what stays FP32 on purpose (norms, softmax, masked means, positions, grey levels, decode), by name.
* `integer_share`: of the multiplications in convolutions, the share that ONNX Runtime computes in integers.

That no activation overflows half precision is proven in `activations.py`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from htrcompress.errors import HtrError
from htrcompress.export.graph import COUNTED, Graph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

REQUIRED_SHARE = 0.99
KINDS = {
    "LayerNormalization": "norm",
    "Softmax": "softmax",
    "Sin": "positions",
    "Sqrt": "grey levels",
    "TopK": "decode and score",
    "Log": "decode and score",
    "Sub": "attention mask",
    "ReduceSum": "masked mean",
}
"""Operator to the purpose of the island that contains it; the first of these found in an island decides."""


@dataclass(frozen=True)
class Island:
    """A connected part of one module that computes in FP32 inside an FP16 graph.

    Attributes:
        name: the module it belongs to, such as `network.norm`.
        kind: what it is for, such as `softmax`.
        operators: its ONNX operators, in order.
    """

    name: str
    kind: str
    operators: tuple[str, ...]


def require_half(share: float, where: str) -> None:
    """Raises HtrError if less than 99 % of the multiplications are in half precision."""
    if share < REQUIRED_SHARE:
        raise HtrError(
            f"{where} is not FP16: only {share:.1%} of its multiplications are in half precision, "
            f"{REQUIRED_SHARE:.0%} are required"
        )


def half_share(graph: Graph) -> float:
    """Share of the multiplications of an ONNX graph whose inputs and outputs are all FP16, from 0 to 1."""
    from onnx import TensorProto

    halves, total = 0, 0
    for node in graph.proto.graph.node:
        if node.op_type in COUNTED:
            count = _multiplications(node, graph)
            total += count
            if all(graph.types[name] == TensorProto.FLOAT16 for name in (*node.input, *node.output) if name):
                halves += count
    return halves / max(1, total)


def integer_share(graph: Graph, optimized: "ModelProto") -> float:
    """Share of an FP32 graph's multiplications in convolutions that its quantised form computes in integers.

    Args:
        graph: the FP32 graph.
        optimized: the quantised graph as ONNX Runtime runs it, whose `QLinearConv` take the weights' names.
    """
    integer = {node.input[3] for node in optimized.graph.node if node.op_type == "QLinearConv"}
    done, total = 0, 0
    for node in graph.proto.graph.node:
        if node.op_type == "Conv":
            count = _multiplications(node, graph)
            total += count
            done += count * any(name.startswith(node.input[1]) for name in integer)
    return done / max(1, total)


def tensorrt_shares(trt: Any, network: Any) -> tuple[float, float]:
    """Shares of a parsed TensorRT network's multiplications in half precision, and in integers.

    Those whose inputs all come from dequantising layers are integer ones: TensorRT fuses the two.

    Args:
        trt: the TensorRT module.
        network: an INetworkDefinition whose inputs have no free dimension.
    """
    halves, integers, total = 0, 0, 0
    dequantised: dict[str, bool] = {}
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        inputs = [layer.get_input(i) for i in range(layer.num_inputs)]
        if layer.type == trt.LayerType.SHUFFLE:  # a transposed weight, say
            dequantised[layer.get_output(0).name] = dequantised.get(inputs[0].name, False)
        elif layer.type == trt.LayerType.DEQUANTIZE:
            dequantised[layer.get_output(0).name] = True
        output = layer.get_output(0)
        if layer.type == trt.LayerType.CONVOLUTION:
            layer.__class__ = trt.IConvolutionLayer
            products = math.prod(layer.kernel_size_nd) * inputs[0].shape[1] // layer.num_groups
        elif layer.type == trt.LayerType.MATRIX_MULTIPLY:
            layer.__class__ = trt.IMatrixMultiplyLayer
            products = inputs[0].shape[-2 if layer.op0 == trt.MatrixOperation.TRANSPOSE else -1]
        else:
            continue
        count = math.prod(output.shape) * products
        total += count
        if all(tensor.dtype == trt.DataType.HALF for tensor in (*inputs, output) if tensor is not None):
            halves += count
        integers += count * all(dequantised.get(tensor.name, False) for tensor in inputs[:2] if tensor is not None)
    return halves / max(1, total), integers / max(1, total)


def islands(graph: Graph) -> tuple[Island, ...]:
    """The FP32 parts of an FP16 graph, in the order of the graph; casts between the two do not count."""
    from onnx import TensorProto

    types = graph.types
    shared = {weight.name for weight in graph.proto.graph.initializer}  # a constant 1 used twice connects nothing
    groups: list[tuple[str, set[str], list[str]]] = []  # module, FP32 values, operators
    for node in graph.proto.graph.node:
        values = {n for n in (*node.input, *node.output) if types.get(n) == TensorProto.FLOAT} - shared
        if not values or node.op_type in ("Cast", "Shape"):
            continue
        module = node.name.rpartition("/")[0]
        joined = [group for group in groups if group[0] == module and group[1] & values]
        if not joined:
            groups.append((module, values, [node.op_type]))
            continue
        joined[0][1].update(values, *(group[1] for group in joined[1:]))
        joined[0][2].extend([operator for group in joined[1:] for operator in group[2]] + [node.op_type])
        groups = [group for group in groups if not any(group is other for other in joined[1:])]
    return tuple(Island(module, _kind(operators), tuple(operators)) for module, _, operators in groups)


def _multiplications(node: "NodeProto", graph: Graph) -> int:
    """Multiplications of a node for one line of `graph.WIDTH` pixels."""
    return math.prod(graph.shapes[node.output[0]]) * _multiplications_per_output(node, graph.shapes)


def _multiplications_per_output(node: "NodeProto", shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type == "Conv":
        return math.prod(shapes[node.input[1]][1:])
    if node.op_type == "LSTM":  # four gates, each of the input and of the state
        return 4 * (shapes[node.input[1]][2] + shapes[node.input[2]][2])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return shapes[node.input[0]][-2 if transposed else -1]


def _kind(operators: list[str]) -> str:
    return next((kind for operator, kind in KINDS.items() if operator in operators), "other")
