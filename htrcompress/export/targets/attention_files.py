"""The two ONNX files of a model that keeps its attention decoder: `export --attention`."""

import time

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export.attention_export import make_attention
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.base import Job
from htrcompress.runtime.backend import STEP

ATTENTION = "model.attention.onnx"


class Attention:
    """The model with what its attention decoder reads, and the step of the decoder."""

    name = "ONNX attention decoder"
    option = "attention"
    files: tuple[str, ...] = (ATTENTION, ATTENTION.removesuffix(".onnx") + STEP)
    proof = "logits, memory and the steps' log-probabilities within 0.1 % of PyTorch's; `verify` compares the texts"

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """See `ExportTarget.check`."""
        if not card.attention:
            raise HtrError(
                f"--attention: {card.name} keeps no attention decoder; train with --aux.attention and "
                "--aux.decoder.keep true"
            )

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        started = time.perf_counter()
        assert job.decoder is not None
        encoder, step = make_attention(job.network, job.decoder, job.card, (self.files[0], self.files[1]))
        paths = [graph.write(job.folder) for graph in (encoder, step)]
        seconds = round(time.perf_counter() - started, 2)
        return [ExportedFile(job.role, path, "fp32", path.stat().st_size, seconds) for path in paths]
