"""`ExportTarget`: one kind of file that an export writes. `Job`: the model on its way through the targets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from htrcompress.card import Card
from htrcompress.export.graph import Graph
from htrcompress.export.lines import ProofLines
from htrcompress.export.onnx_export import make_onnx
from htrcompress.export.options import ExportOptions
from htrcompress.export.results import ExportedFile
from htrcompress.models.attention import AttentionDecoder
from htrcompress.models.base import LineRecognizer

Value = TypeVar("Value")


@dataclass
class Job:
    """One model on its way through the targets.

    Attributes:
        role: see `ExportedFile`.
        network: in PyTorch, FP32.
        card: its card, without the attention decoder.
        decoder: the attention decoder that its file keeps, if any.
        folder: where to write.
        options: those of the command.
        lines: training and validation lines for proofs.
        graphs: the exported graphs so far, by file name; whether their files are kept is for `options.onnx` to say.
        notes: sentences for the result.
        activation: the largest number that half precision has to hold, once it is measured.
    """

    role: str
    network: LineRecognizer
    card: Card
    folder: Path
    options: ExportOptions
    lines: ProofLines
    decoder: AttentionDecoder | None = None
    graphs: dict[str, Graph] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    activation: float | None = None
    _made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """What `make` returns, which is computed for the first target that asks and then kept."""
        if name not in self._made:
            self._made[name] = make()
        return cast(Value, self._made[name])

    def fp32(self) -> Graph:
        """The FP32 graph, from which INT8 and the FP32 engine are made too."""
        return self.once("fp32", lambda: self.trace(half=False))

    def trace(self, half: bool) -> Graph:
        """The model as a graph, added to `graphs`; each precision is to be traced once."""
        decode = "" if self.options.decode == "graph" else f".{self.options.decode}"
        name = f"model{'.fp16' * half}{decode}.onnx"
        graph = make_onnx(self.network, self.card, name, half=half, decode=self.options.decode)
        self.graphs[name] = graph
        return graph

    def keep(self, graph: Graph, precision: str, seconds: float, **proof: Any) -> list[ExportedFile]:
        """Writes a graph's file, unless ONNX files are not wanted; the entries for the result."""
        self.graphs[graph.name] = graph
        if not self.options.onnx:
            return []
        path = graph.write(self.folder)
        return [ExportedFile(self.role, path, precision, len(graph.data), round(seconds, 2), **proof)]


class ExportTarget(Protocol):
    """One kind of file that an export writes.

    Attributes:
        name: for messages, and for --also where the target has no option of its own.
        option: the field of `ExportOptions` that switches it on; empty for --also.
        files: patterns of the names of what it may write into the export folder. A later export may replace these, and
            removes them if it refuses to write the target.
        proof: how it is proven that what is written reads like the model.
    """

    name: str
    option: str
    files: tuple[str, ...]
    proof: str

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """Looks for what the target needs, before any time is spent.

        Raises:
            HtrError: a package, data or a device is missing, or options do not fit the model.
        """

    def write(self, job: Job) -> list[ExportedFile]:
        """Writes the target into the job's folder.

        Raises:
            Refused: what would be written does not read like the model; other targets are still written.
            HtrError: it cannot be written.
        """
