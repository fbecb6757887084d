"""`model_repository/<name>/`: the FP32 ONNX file as Triton Inference Server serves it.

Batching is left to the client, since Triton joins only requests of one width.
"""

import time

from htrcompress.card import Card
from htrcompress.export.graph import Graph
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.package import REPOSITORY, labels_text
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.base import Job
from htrcompress.utils.io import write_atomic

TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 6: "TYPE_INT32"}
"""Triton's names of the ONNX element types of inputs and outputs."""


class TritonRepository:
    """`config.pbtxt`, the labels and the model, in Triton's layout."""

    name = "Triton repository"
    option = "onnx"
    files: tuple[str, ...] = (REPOSITORY,)
    proof = "the served file is the FP32 file to the byte, which `verify` checks"

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """It needs nothing."""

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        if job.options.decode != "graph":
            return []  # Triton's ONNX Runtime has no node for the plugin, and clients expect labels
        started, graph = time.perf_counter(), job.fp32()
        repository = job.folder / REPOSITORY / job.role
        write_atomic(repository / "config.pbtxt", _config(graph, job.role).encode())
        write_atomic(repository / "labels.txt", labels_text(job.card))
        write_atomic(repository / "1" / "model.onnx", graph.data)
        size = sum(file.stat().st_size for file in repository.rglob("*") if file.is_file())
        seconds = round(time.perf_counter() - started, 2)
        return [ExportedFile(job.role, repository, "fp32", size, seconds)]


def _config(graph: Graph, name: str) -> str:
    inner = graph.proto.graph
    values = [(value, "input") for value in inner.input] + [(value, "output") for value in inner.output]
    lines = [f"# {len(graph.card.charset)} characters, lines of height {graph.card.height}; labels in labels.txt"]
    lines += [f"name: {_quoted(name)}", 'backend: "onnxruntime"', "max_batch_size: 0"]
    for value, kind in values:
        tensor = value.type.tensor_type
        sizes = ", ".join(str(axis.dim_value or -1) for axis in tensor.shape.dim)
        lines.append(f'{kind} {{ name: "{value.name}" data_type: {TYPES[tensor.elem_type]} dims: [ {sizes} ] }}')
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    """A string in the syntax of protobuf's text format."""
    plain = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in plain) + '"'
