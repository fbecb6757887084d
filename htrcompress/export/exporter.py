"""What `python -m htrcompress.export` does: every model of a run as ONNX files and TensorRT engines.

`<run>/export/<role>/` then holds `model.onnx`, `model.fp16.onnx`, `model.int8.cpu.onnx` and `model.int8.trt.onnx`,
the engines of these with a `.meta` each, `card.json`, and `labels.txt`: label by label, one character a line after
`<blank>`. With `--decode plugin` or `none` the names say so, as in `model.fp16.plugin.onnx`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htrcompress import runs
from htrcompress.cli import console
from htrcompress.export.config import read_profile, refuse_contradictions
from htrcompress.export.onnx_export import Decode
from htrcompress.export.package import replaced
from htrcompress.export.tensorrt_build import Choice, find_runtime
from htrcompress.export.writer import ExportedFile, Writer
from htrcompress.models.serialization import load_card

MAX_CER_DROP = 0.2
"""Points that INT8 may cost if nothing else is said."""


@dataclass(frozen=True)
class ExportResult:
    """Everything that was written.

    Attributes:
        files: one entry a model file.
        activations: role to the largest number that half precision has to hold; empty without `--fp16`.
        notes: what is worth knowing, such as which lines the activations were measured on.
        refused: why an FP16 or INT8 form was not written; the others were.
    """

    files: tuple[ExportedFile, ...]
    activations: dict[str, float]
    notes: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 where something that was asked for was not written."""
        return 1 if self.refused else 0

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table("model", "file", title="exported")
        for heading in ("MiB", "seconds", "half %", "FP32 islands"):
            table.add_column(heading, justify="right")
        for file in self.files:
            precision = (f"{file.half_share:.1%}", str(file.islands)) if file.precision == "fp16" else ("-", "-")
            size = f"{file.bytes / 2**20:.1f}"
            table.add_row(file.role, file.path.as_posix(), size, f"{file.seconds:.1f}", *precision)
        peaks = [f"largest activation of {role}: {value:.1f}" for role, value in self.activations.items()]
        return Group(table, *peaks, *self.notes, *self.refused)


def export(
    run: Path | None = None,
    onnx: bool = True,
    trt: bool = False,
    fp16: bool = False,
    int8: bool = False,
    logits: bool = False,
    decode: Decode = "graph",
    out: Path | None = None,
    data: str | None = None,
    max_cer_drop: float | None = None,
    profile: str = "",
    runtime: Choice = "auto",
    plugin: Path | None = None,
) -> ExportResult:
    """Writes the models of a run as ONNX files, and as TensorRT engines, with decoding inside.

    Args:
        run: a run folder or a .safetensors file; the newest run if not given.
        onnx: keep the ONNX files; --no-onnx leaves the engines of --trt alone.
        trt: also build an engine of every ONNX file: FP32, FP16 with --fp16, INT8 with --int8.
        fp16: also write an FP16 ONNX file, with the proof that it is one.
        int8: also write INT8 ONNX files, one for ONNX Runtime on the CPU and one for TensorRT.
        logits: add the logits to the outputs.
        decode: graph decodes in standard operators, which run everywhere; plugin leaves it to the TensorRT plugin
            of export/plugin; none gives logits and frames.
        out: where to write; `export/<model>` in the run if not given.
        data: whose training lines calibrate INT8 and whose validation lines guard it, and FP16; what the model was
            trained on if not given.
        max_cer_drop: points that INT8 may cost on validation, at the far end of the paired interval; 0.2 if not given.
        profile: the smallest, typical and largest input of an engine, lines x pixels: 1x1,32x1024,32x4096, which
            ends at the model's own widest line if not given.
        runtime: which TensorRT builds the engine; `auto` takes the first that is installed.
        plugin: the library that `export/plugin` builds, for engines with --decode plugin; needs a GPU.

    Raises:
        HtrError: a model cannot be read or exported, TensorRT or the data is missing, or options contradict each other.
    """
    refuse_contradictions(onnx, trt, fp16, int8, decode, data, max_cer_drop, profile, runtime, plugin)
    run = run or runs.newest()
    root = out or (run if run.is_dir() else run.parent) / "export"
    models = runs.models(run)
    limit = (MAX_CER_DROP if max_cer_drop is None else max_cer_drop) / 100
    writer = Writer(onnx, trt, fp16, int8, logits, decode, data, limit, profile, runtime, plugin)
    for card in map(load_card, models.values()):  # before the first minute is spent
        if trt:
            find_runtime(runtime)
            read_profile(profile, card)
        writer.check(card)
    files: list[ExportedFile] = []
    for role, artefact in models.items():
        target = out if out and run.is_file() else root / role
        with replaced(target) as package:
            console.print(f"exporting {role} to {target}")
            made = writer.write(package, role, artefact)
        files += [replace(file, path=target / file.path.name) for file in made]
    return ExportResult(tuple(files), writer.activations, tuple(writer.notes), tuple(writer.refused))
