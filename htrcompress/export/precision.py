"""The proof that an FP16 export is FP16: what computes in half precision, what does not, and that nothing overflows.

* `half_share`: of the multiplications in convolutions, matrix products and LSTMs, the share that reads and writes
  half precision; an export called FP16 needs 99 %.
* `islands`: what stays FP32 on purpose (norms, softmax, masked means, positions, grey levels, decode), by name.
* `largest_activation`: the largest number that half precision would have to hold on real lines.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from htrcompress.errors import HtrError, Refused
from htrcompress.export.deployable import deployable

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

REQUIRED_SHARE = 0.99
LARGEST_ALLOWED = 30_000.0
"""Half precision ends at 65,504; lines unlike the validation lines get a factor of two."""
WIDTH = 512
"""Width in pixels of the single line that multiplications are counted for."""
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
"""The operator that tells what an island is for; the first one found in it decides."""


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


def half_share(graph: "ModelProto") -> float:
    """Share of the multiplications of an ONNX graph whose inputs and outputs are all FP16, from 0 to 1."""
    from onnx import TensorProto

    types = value_types(graph)
    nodes = [node for node in graph.graph.node if node.op_type in ("Conv", "MatMul", "Gemm", "LSTM")]
    shapes = _shapes(graph, {name for node in nodes for name in (*node.input, *node.output) if name})
    halves, total = 0, 0
    for node in nodes:
        count = math.prod(shapes[node.output[0]]) * _products(node, shapes)
        total += count
        if all(types[name] == TensorProto.FLOAT16 for name in (*node.input, *node.output) if name):
            halves += count
    return halves / max(1, total)


def integer_share(graph: "ModelProto", optimised: "ModelProto") -> float:
    """Share of an FP32 graph's multiplications in convolutions that its quantised form does in integers.

    Args:
        graph: the FP32 graph.
        optimised: the quantised graph as ONNX Runtime runs it, whose `QLinearConv` take the weights' names.
    """
    nodes = [node for node in graph.graph.node if node.op_type == "Conv"]
    shapes = _shapes(graph, {name for node in nodes for name in (*node.input, *node.output) if name})
    integer = {node.input[3] for node in optimised.graph.node if node.op_type == "QLinearConv"}
    done, total = 0, 0
    for node in nodes:
        count = math.prod(shapes[node.output[0]]) * _products(node, shapes)
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


def islands(graph: "ModelProto") -> tuple[Island, ...]:
    """The FP32 parts of an FP16 graph, in the order of the graph; casts between the two do not count."""
    from onnx import TensorProto

    types = value_types(graph)
    shared = {weight.name for weight in graph.graph.initializer}  # a constant 1 used twice connects nothing
    groups: list[tuple[str, set[str], list[str]]] = []  # module, FP32 values, operators
    for node in graph.graph.node:
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


def largest_activation(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The largest absolute value among all tensors that an FP16 export holds in half precision.

    The network runs with FP64 in the place of half precision: FP64 does not overflow, and the FP32 islands
    stay FP32, so a tensor's type tells whether half precision will hold it.

    Args:
        model: a network of this package.
        batches: pixels uint8 (B, 1, H, W) and widths (B,) of real lines.

    Raises:
        Refused: a value passes 30,000 or is not finite.
        HtrError: there are no batches.
    """
    network = deployable(model, torch.float64).network
    with torch.no_grad(), ModuleTracker() as modules, _Largest(modules) as largest:
        for pixels, widths in batches:
            network(pixels, widths)
    if not largest.module:
        raise HtrError("there are no lines to measure activations on")
    if not largest.value <= LARGEST_ALLOWED:
        raise Refused(
            f"half precision is not safe: an activation in {largest.module} reaches {largest.value:.3g}, "
            f"above the limit of {LARGEST_ALLOWED:,.0f}; export without --fp16"
        )
    return largest.value


class _Largest(TorchDispatchMode):
    """Watches every operator's FP64 results, up to the first that passes the limit: what follows only inherits it."""

    def __init__(self, modules: ModuleTracker):
        super().__init__()
        self.modules = modules
        self.value = 0.0
        self.module = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float64 and tensor.numel():
                low, high = tensor.aminmax()
                value = max(-float(low), float(high))
                value = math.inf if math.isnan(value) else value
                if self.value <= LARGEST_ALLOWED and (value > self.value or not self.module):
                    self.value, self.module = value, max(self.modules.parents - {"Global"}, key=len)
        return result


def value_types(graph: "ModelProto") -> dict[str, int]:
    """Name of every value in a graph to its ONNX element type."""
    from onnx import shape_inference

    inner = shape_inference.infer_shapes(graph, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inner.input, *inner.value_info, *inner.output)}
    return types | {weight.name: weight.data_type for weight in inner.initializer}


def _shapes(graph: "ModelProto", names: set[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of some values for one line of `WIDTH` pixels, found by running the graph."""
    import onnx

    from htrcompress.export.onnx_export import run

    shapes = {weight.name: tuple(weight.dims) for weight in graph.graph.initializer}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(graph)
    for node in [node for node in exposed.graph.node if node.domain]:  # our plugin, which only TensorRT runs
        exposed.graph.node.remove(node)
    del exposed.graph.output[:]
    types = value_types(graph)
    wanted = sorted(names - shapes.keys())
    exposed.graph.output.extend(onnx.helper.make_tensor_value_info(name, types[name], None) for name in wanted)
    height = graph.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    values = run(exposed, np.zeros((1, 1, height, WIDTH), np.uint8), np.array([WIDTH], np.int32))
    return shapes | {name: value.shape for name, value in zip(wanted, values, strict=True)}


def _products(node: "NodeProto", shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiplications for one number of a node's output."""
    if node.op_type == "Conv":
        return math.prod(shapes[node.input[1]][1:])
    if node.op_type == "LSTM":  # four gates, each of the input and of the state
        return 4 * (shapes[node.input[1]][2] + shapes[node.input[2]][2])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return shapes[node.input[0]][-2 if transposed else -1]


def _kind(operators: list[str]) -> str:
    return next((kind for operator, kind in KINDS.items() if operator in operators), "other")
