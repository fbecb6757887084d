"""ONNX files in FP32 and FP16."""

import time

from htrcompress.card import Card
from htrcompress.export.activations import largest_activation
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.precision import half_share, islands, require_half
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.base import Job


class Fp32:
    """The model in FP32; every other target is compared with what it reads."""

    name = "ONNX FP32"
    option = "onnx"
    files: tuple[str, ...] = ("model.onnx", "model.plugin.onnx", "model.none.onnx")
    proof = "logits within 0.1 % of PyTorch's, labels equal to the reference decode of them"

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """It needs nothing but onnx, whose absence the trace reports."""

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        started = time.perf_counter()
        graph = job.fp32()
        return job.keep(graph, "fp32", time.perf_counter() - started)


class Fp16:
    """The model in half precision, except for named FP32 islands."""

    name = "ONNX FP16"
    option = "fp16"
    files: tuple[str, ...] = ("model.fp16.*",)
    proof = "99 % of the multiplications in FP16, and no activation on validation lines near the largest FP16 number"

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """See `ExportTarget.check`."""
        if lines.source:
            lines.dataset(card)

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        started = time.perf_counter()
        note, batches = job.lines.for_activations(job.card)
        job.activation = largest_activation(job.network, batches)
        job.notes.append(note)
        graph = job.trace(half=True)
        share = half_share(graph)
        require_half(share, graph.name)
        seconds = time.perf_counter() - started
        return job.keep(graph, "fp16", seconds, half_share=share, islands=len(islands(graph)))
