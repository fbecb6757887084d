"""INT8 by static post-training quantisation: a file that reads like the model, or no file.

Weights get one scale for each channel and activations one for each tensor, from training lines. A guard
(`accuracy_guard.py`) reads validation lines; while the CER rises by more than `limit` at the far end of its paired
interval, the layers that disturb the logits most go back to FP32. Two files are written, each with its own guard, since
no file suits both runtimes:

* `model.int8.cpu.onnx`: unsigned activations and integer bias, which ONNX Runtime fuses; gates are quantised together
  with their convolutions, because each step out of INT8 and back costs ONNX Runtime as much as a convolution.
* `model.int8.trt.onnx`: symmetric, with float bias, because TensorRT's parser refuses an integer one.

Only the inputs of quantised layers are rounded: the residual stream, masks, softmax, positions, decode and the
network's `float_layers` stay in floating point.

On processors without VNNI, ONNX Runtime's kernels for U8S8 may saturate: `htrcompress.export.verify` shows whether they
do.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import Refused
from htrcompress.export.accuracy_guard import Guard, Vouched, logits
from htrcompress.export.graph import Graph, make_graph
from htrcompress.export.graph_passes import fuse_gelu, without_pooling
from htrcompress.export.precision import integer_share
from htrcompress.export.quantization import CalibrationLines, gates, optimized, quantization, quiet, weighted_layers
from htrcompress.runtime.backend import Backend, Open, open_backend

if TYPE_CHECKING:
    from onnx import NodeProto

logger = logging.getLogger(__name__)

Runtime = Literal["cpu", "trt"]
FILES: dict[Runtime, str] = {"cpu": "model.int8.cpu.onnx", "trt": "model.int8.trt.onnx"}
REQUIRED_SHARE = 0.9
"""Share of the convolutions' multiplications that must be integer ones in the graph that ONNX Runtime runs."""
PROBE = 32
"""Lines that each layer's disturbance of the logits is measured on."""
EXACT: dict[Runtime, list[str]] = {"cpu": ["Gemm", "MatMul"], "trt": ["Conv", "Gemm", "MatMul"]}
"""Operators whose results are not rounded, since an FP32 or FP16 operator follows."""
OPTIONS = Open(device="cpu", logits=True)


@dataclass(frozen=True)
class Quantised:
    """An INT8 graph that the guard vouches for.

    Attributes:
        graph: the graph, of which nothing is written yet.
        layers: number of quantised layers, gates among them.
        kept: names of the layers that stay FP32 for accuracy.
        share: of the convolutions' multiplications in ONNX Runtime's optimised graph that are integer ones.
        vouched: what the guard found.
    """

    graph: Graph
    layers: int
    kept: tuple[str, ...]
    share: float
    vouched: Vouched


@dataclass(frozen=True)
class _Candidate:
    kept: tuple[str, ...]
    share: float
    graph: Graph


def quantise(
    graph: Graph, float_layers: Sequence[str], calibration: EncodedLines, guard: Guard, runtime: Runtime, scratch: Path
) -> Quantised:
    """One INT8 graph of an FP32 graph.

    Args:
        graph: the FP32 graph.
        float_layers: names of modules that stay in floating point (`LineRecognizer.float_layers`).
        calibration: training lines.
        guard: validation lines, and how the FP32 graph reads them.
        runtime: what the graph is for, one of `FILES`.
        scratch: an existing folder for temporary files, for this call alone.

    Raises:
        Refused: no mixture of layers stays within the guard's limit with 90 % of the convolutions in INT8.
        HtrError: onnxruntime is missing or too old.
    """
    quantiser = _Quantiser(graph, float_layers, calibration, scratch, runtime)
    selected = guard.select(quantiser.candidates())
    if selected is None:
        raise Refused(
            f"{FILES[runtime]} is not written: no mixture with {REQUIRED_SHARE:.0%} of the convolutions in INT8 stays "
            f"within {100 * guard.limit:g} points of CER; allow more with --max-cer-drop"
        )
    found, vouched = selected
    return Quantised(found.graph, len(quantiser.layers) - len(found.kept), found.kept, found.share, vouched)


class _Quantiser:
    """Makes INT8 graphs of one FP32 graph from one calibration."""

    def __init__(
        self, graph: Graph, float_layers: Sequence[str], calibration: EncodedLines, scratch: Path, runtime: Runtime
    ):
        import onnx

        self.source, self.calibration, self.scratch, self.runtime = graph, calibration, scratch, runtime
        # Types are inferred before the GELUs are fused: behind an operator that is not ONNX's own they cannot be.
        self.proto = onnx.shape_inference.infer_shapes(without_pooling(graph.proto))
        if runtime == "cpu":
            fuse_gelu(self.proto)
        onnx.save(self.proto, scratch / "source.onnx")

        def quantisable(node: "NodeProto") -> bool:
            module = node.name.rpartition("/")[0].removeprefix("network.")
            return not any(module == layer or module.startswith(f"{layer}.") for layer in float_layers)

        self.layers = weighted_layers(self.proto, quantisable)
        if runtime == "cpu":
            self.layers |= gates(self.proto, quantisable)

    def candidates(self) -> Iterator[tuple[_Candidate, Backend]]:
        """Graphs with ever more layers in FP32, while enough of the convolutions stay in INT8."""
        for kept in self._mixtures():
            for_cpu = self.make(kept, "cpu")
            share = integer_share(self.source, optimized(for_cpu.data, for_cpu.name, self.scratch))
            if share < REQUIRED_SHARE:
                return
            made = for_cpu if self.runtime == "cpu" else self.make(kept, self.runtime)
            yield _Candidate(kept, share, made), self._open(made)

    def _mixtures(self) -> Iterator[tuple[str, ...]]:
        """Layers to leave in FP32: none, then ever more of those that disturb the logits most."""
        yield ()
        logger.info(
            "%s: measuring how much each of %d layers disturbs the logits", FILES[self.runtime], len(self.layers)
        )
        probe = self.calibration.subset(range(min(PROBE, len(self.calibration.texts))))
        expected = logits(self._open(self.source), probe)
        disturbance = {}
        for layer in self.layers:
            others = [name for name in self.layers if name != layer]
            made = logits(self._open(self.make(others, self.runtime)), probe)
            disturbance[layer] = sum(float(np.square(a - b).sum()) for a, b in zip(made, expected, strict=True))
        worst = sorted(disturbance, key=lambda layer: -disturbance[layer])
        count = 1
        while count < len(worst):
            yield tuple(worst[:count])
            count += max(1, count // 2)

    def _open(self, graph: Graph) -> Backend:
        return open_backend(graph.write(self.scratch), OPTIONS)

    def make(self, kept: Sequence[str], runtime: Runtime) -> Graph:
        """The graph for `cpu` or `trt`, with all layers in INT8 except the kept ones."""
        import onnx

        q = quantization()
        symmetric = runtime == "trt"
        extra = {
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": True,
            "QuantizeBias": not symmetric,
            "OpTypesToExcludeOutputQuantization": EXACT[runtime],
            "DedicatedQDQPair": True,  # else the residual stream beside a quantised layer would be rounded too
        }
        out = self.scratch / "made.onnx"
        with quiet():
            q.quantize_static(
                self.scratch / "source.onnx",
                out,
                CalibrationLines(self.calibration),
                quant_format=q.QuantFormat.QDQ,
                activation_type=q.QuantType.QInt8 if symmetric else q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["Conv", "Gemm", "MatMul", "Sigmoid", "Mul"],
                nodes_to_quantize=[name for layer in self.layers if layer not in kept for name in self.layers[layer]],
                extra_options=extra,
                calibration_cache_path=self.scratch / "calibration.json",
            )
        return make_graph(FILES[runtime], onnx.load(out), self.source.card)
