"""TensorRT engines of every graph that was exported for a GPU."""

from htrcompress.card import Card
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.package import LIBRARY
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.base import Job
from htrcompress.export.tensorrt_build import build_engine, find_runtime


class Engines:
    """One engine for each graph, in the precision of the graph."""

    name = "TensorRT engines"
    option = "trt"
    files: tuple[str, ...] = ("model.engine*", "model.*.engine*", LIBRARY)
    proof = "the precision of every layer as TensorRT parses it; `verify` executes them where a GPU is"

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """See `ExportTarget.check`."""
        find_runtime(options.runtime)
        options.profile_for(card)

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        options, fp32 = job.options, job.fp32()
        profile = options.profile_for(job.card)
        files = []
        for graph in (fp32, *(graph for graph in job.graphs.values() if graph is not fp32)):
            if ".cpu." in graph.name:
                continue
            path = (job.folder / graph.name).with_suffix(".engine")
            made = build_engine(graph, path, profile=profile, runtime=options.runtime, plugin=options.plugin)
            proof = made.half_share, len(made.islands)
            files.append(ExportedFile(job.role, path, made.precision, made.bytes, made.seconds, *proof))
        return files
