"""INT8 by static post-training quantisation, with a guard: what ships reads like the model, or does not ship.

Weights get a scale a channel, activations one a tensor, from training lines. On validation lines the CER may rise by
`limit` at the far end of its paired interval; while it rises by more, the layers that disturb the logits most go
back to FP32. There are two files, each with its own guard, since no file suits both runtimes: `model.int8.cpu.onnx`
(unsigned activations, integer bias: ONNX Runtime fuses it; gates are quantised with their convolutions, for each step
out of INT8 and back costs it as much as a convolution) and `model.int8.trt.onnx` (symmetric, float bias: TensorRT's
parser refuses integer ones). Only what a quantised layer reads is rounded: the residual stream beside it is not, nor
are masks, softmax, squeeze-and-excitation, positions and decode.

On processors without VNNI, ONNX Runtime's kernels for U8S8 may saturate: `htrcompress.export.verify` tells.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from htrcompress import metrics
from htrcompress.card import Card
from htrcompress.cli import console
from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import HtrError, Refused, missing_extra
from htrcompress.export.accuracy_guard import batches, logits, scores, versions
from htrcompress.export.graph_passes import fuse_gelu, without_pooling
from htrcompress.export.onnx_export import check, read_onnx, session, stamp
from htrcompress.export.precision import integer_share
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Target = Literal["cpu", "trt"]
FILES: dict[Target, str] = {"cpu": "model.int8.cpu.onnx", "trt": "model.int8.trt.onnx"}
REQUIRED_SHARE = 0.9
"""Share of the convolutions' multiplications that must be integer ones in the graph that ONNX Runtime runs."""
PROBE = 32
"""Lines that the layers' disturbance is measured on."""
UNTOUCHED = (".stem", ".excite.")
"""Modules that stay FP32: integer kernels are slower on one channel; and a whole channel hangs on each number here."""
EXACT: dict[Target, list[str]] = {"cpu": ["Gemm", "MatMul"], "trt": ["Conv", "Gemm", "MatMul"]}
"""Operators whose results stay as exact as their sums: a step of FP32 or FP16 follows."""


@dataclass(frozen=True)
class Quantised:
    """What was written.

    Attributes:
        path: the file.
        layers: quantised layers, gates among them.
        kept: layers that stay FP32 for accuracy, by name.
        share: of the convolutions' multiplications in ONNX Runtime's optimised graph that are integer ones.
        cer: on the validation lines as they are, of the model and of the file, fractions.
        rise: the far end of the paired interval of the file's CER minus the model's, over all versions.
    """

    path: Path
    layers: int
    kept: tuple[str, ...]
    share: float
    cer: tuple[float, float]
    rise: float


def quantise(
    onnx_path: Path, folder: Path, calibration: EncodedLines, valid: EncodedLines, limit: float, target: Target
) -> Quantised:
    """Writes one INT8 file of an FP32 ONNX file.

    Args:
        onnx_path: a file that `export_onnx` wrote.
        folder: where the file goes.
        calibration: training lines.
        valid: validation lines.
        limit: the largest rise of the CER, a fraction.
        target: what the file is for, one of `FILES`.

    Raises:
        Refused: no mixture of layers stays within the limit with 90 % of the convolutions in INT8; nothing is written.
        HtrError: onnxruntime is missing or too old.
    """
    graph, card = read_onnx(onnx_path)
    lines = versions(valid, card.stride)
    model = scores(graph, card, lines)
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        quantiser = _Quantiser(graph, card, calibration, Path(scratch), target)
        for kept in quantiser.mixtures(calibration.subset(range(min(PROBE, len(calibration.texts))))):
            share = integer_share(graph, _optimised(quantiser.make(kept, "cpu"), Path(scratch)))
            if share < REQUIRED_SHARE:
                break
            made = quantiser.make(kept, target)
            read = scores(made, card, lines)
            rise = metrics.mean_difference(read, model)[2]
            if rise <= limit:
                path = folder / FILES[target]
                write_atomic(path, made.SerializeToString())
                cer = (model[0].cer, read[0].cer)
                return Quantised(path, len(quantiser.layers) - len(kept), kept, share, cer, rise)
            console.print(f"{FILES[target]} with {len(kept)} layers in FP32: CER up to {100 * rise:+.2f} points")
    raise Refused(
        f"{FILES[target]} is not written: no mixture with {REQUIRED_SHARE:.0%} of the convolutions in INT8 "
        f"stays within {100 * limit:g} points of CER; allow more with --max-cer-drop"
    )


class _Quantiser:
    """Makes INT8 graphs of one model from one calibration."""

    def __init__(self, graph: "ModelProto", card: Card, calibration: EncodedLines, scratch: Path, target: Target):
        import onnx

        self.card, self.calibration, self.scratch = card, calibration, scratch
        # With all types told, since they cannot be inferred behind an operator that is not ONNX's own.
        self.graph = onnx.shape_inference.infer_shapes(without_pooling(graph))
        if target == "cpu":
            fuse_gelu(self.graph)
        onnx.save(self.graph, scratch / "model.onnx")
        self.layers = _layers(self.graph) | (_gates(self.graph) if target == "cpu" else {})
        self.target = target

    def mixtures(self, probe: EncodedLines) -> Iterator[tuple[str, ...]]:
        """Layers to leave in FP32: none, then ever more of those that disturb the logits most."""
        yield ()
        console.print(f"{FILES[self.target]}: measuring what each of {len(self.layers)} layers disturbs")
        expected = logits(self.graph, probe)
        disturbance = {}
        for layer in self.layers:
            others = [name for name in self.layers if name != layer]
            made = logits(self.make(others, self.target), probe)
            disturbance[layer] = sum(float(np.square(a - b).sum()) for a, b in zip(made, expected, strict=True))
        worst = sorted(disturbance, key=lambda layer: -disturbance[layer])
        count = 1
        while count < len(worst):
            yield tuple(worst[:count])
            count += max(1, count // 2)

    def make(self, kept: Sequence[str], target: Target) -> "ModelProto":
        """The graph for `cpu` or `trt`, with all layers in INT8 but the kept ones."""
        import onnx

        q = quantization()
        symmetric = target == "trt"
        extra = {
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": True,
            "QuantizeBias": not symmetric,
            "OpTypesToExcludeOutputQuantization": EXACT[target],
            "DedicatedQDQPair": True,  # the residual stream beside a quantised layer stays as exact as it is
        }
        out = self.scratch / "made.onnx"
        with _quiet():
            q.quantize_static(
                self.scratch / "model.onnx",
                out,
                _Reader(self.calibration),
                quant_format=q.QuantFormat.QDQ,
                activation_type=q.QuantType.QInt8 if symmetric else q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["Conv", "Gemm", "MatMul", "Sigmoid", "Mul"],
                nodes_to_quantize=[name for layer in self.layers if layer not in kept for name in self.layers[layer]],
                extra_options=extra,
                calibration_cache_path=self.scratch / "calibration.json",
            )
        graph = onnx.load(out)
        stamp(graph, self.card)
        check(graph, FILES[target])
        return graph


def _layers(graph: "ModelProto") -> dict[str, list[str]]:
    """Convolutions and products with weights: the name of a layer to its one node."""
    weights = {weight.name for weight in graph.graph.initializer}
    return {
        node.name: [node.name]
        for node in graph.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights and _touched(node)
    }


def _gates(graph: "ModelProto") -> dict[str, list[str]]:
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
        if node.op_type == "Mul" and _touched(node)
        for value, gate in (node.input, reversed(node.input))
        if value in convolved and gate in opened
    }


def _touched(node: "NodeProto") -> bool:
    return not any(part in node.name for part in UNTOUCHED)


class _Reader:
    """Training lines in the form that ONNX Runtime's calibration takes."""

    def __init__(self, examples: EncodedLines):
        self.batches = batches(examples)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"pixels": batch[1], "widths": batch[2]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice, at every call, to simplify a graph that is simple."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _optimised(graph: "ModelProto", scratch: Path) -> "ModelProto":
    """The graph as ONNX Runtime runs it on this machine."""
    import onnx

    path = scratch / "optimised.onnx"
    session(graph, "the INT8 graph", path)
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
