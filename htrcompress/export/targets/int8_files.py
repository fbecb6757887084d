"""INT8 ONNX files, one for ONNX Runtime on the CPU and one for TensorRT."""

import tempfile
import time
from pathlib import Path

from htrcompress.card import Card
from htrcompress.export.accuracy_guard import Guard
from htrcompress.export.int8 import FILES, OPTIONS, Quantised, Runtime, quantise
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import MIN_GUARD_LINES, ExportOptions
from htrcompress.export.quantization import quantization
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.base import Job
from htrcompress.runtime.backend import open_backend


class Int8:
    """An INT8 file.

    Args:
        runtime: what the file is for.
    """

    option = "int8"
    proof = "the CER on validation lines that had no part in the choice of layers, at the far end of its interval"

    def __init__(self, runtime: Runtime):
        self.runtime = runtime
        self.name = f"ONNX INT8 for {'the CPU' if runtime == 'cpu' else 'TensorRT'}"
        self.files: tuple[str, ...] = (FILES[runtime].replace(".onnx", ".*"),)

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """See `ExportTarget.check`."""
        quantization()
        lines.dataset(card)

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        if not job.options.onnx and self.runtime == "cpu":
            return []  # no engine is built of it
        started = time.perf_counter()
        guard = job.once("guard", lambda: _guard(job))
        calibration = job.once("calibration", lambda: job.lines.calibration(job.card))
        with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
            done = quantise(job.fp32(), job.network.float_layers(), calibration, guard, self.runtime, Path(scratch))
        job.notes.append(_note(job.role, done))
        return job.keep(done.graph, "int8", time.perf_counter() - started, islands=len(done.kept))


def _guard(job: Job) -> Guard:
    """The guard of both files: the FP32 model reads its lines once."""
    options = job.options
    fewest = MIN_GUARD_LINES if options.min_guard_lines is None else options.min_guard_lines
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        model = open_backend(job.fp32().write(Path(scratch)), OPTIONS)
        return Guard(model, job.lines.valid(job.card), options.limit, fewest)


def _note(role: str, done: Quantised) -> str:
    before, after = (100 * rate for rate in done.vouched.cer)
    return (
        f"{done.graph.name} of {role}: {done.layers} layers in INT8, {len(done.kept)} in FP32, {done.share:.0%} of the "
        f"convolutions; on the {done.vouched.lines} of {done.vouched.available} validation lines that vouch for it, "
        f"CER {before:.2f} before and {after:.2f} after, at most {100 * done.vouched.rise:+.2f}"
    )
