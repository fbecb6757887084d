"""Build times and sizes of TensorRT-RTX engines of every preset: `python benchmarks/engines/builds.py`.

Random weights, 80 classes, FP32 and FP16, for SM 86, 89 and 120 in one file. No GPU is needed, and none executes them.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save, this_machine
from htrcompress.cli import console, run_command
from htrcompress.export.options import Profile
from htrcompress.export.tensorrt_build import EngineInfo
from htrcompress.models.presets import PRESETS

CLASSES = 80
PROFILE = Profile((1, 32, 32), (1, 1024, 4096))


@dataclass(frozen=True)
class Builds:
    """Engines of every preset.

    Attributes:
        command: how they were built.
        profile: lines and widths in pixels that they take: smallest, typical, largest.
        capabilities: the GPU generations that each of them is for.
        version: of TensorRT-RTX.
        engines: preset and precision of each, seconds to build it, its bytes, and those of its ONNX file.
        machine: processor and cores.
    """

    command: str
    profile: dict[str, Any]
    capabilities: tuple[str, ...]
    version: str
    engines: list[dict[str, Any]]
    machine: dict[str, Any]
    kind: str = "builds"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("preset", "precision", "seconds", "engine MiB", "ONNX MiB")
        for row in self.engines:
            sizes = [f"{row[size] / 2**20:.1f}" for size in ("bytes", "onnx_bytes")]
            table.add_row(row["preset"], row["precision"], f"{row['seconds']:.1f}", *sizes)
        return table


@dataclass(frozen=True)
class BuildsOptions:
    """Builds an FP32 and an FP16 engine of presets and notes the time and the size."""

    presets: str = ",".join(PRESETS)
    """Their names, separated by commas; all if not given."""
    out: Path | None = None
    """A JSON file for the result."""


def measure_builds(options: BuildsOptions) -> Builds:
    """Builds an FP32 and an FP16 engine of presets and notes the time and the size.

    Raises:
        HtrError: TensorRT-RTX is not installed, a preset has no such name, or an engine cannot be built.
    """
    engines = []
    for preset in options.presets.split(","):
        for half in (False, True):
            with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
                console.print(f"building {preset} in {'FP16' if half else 'FP32'}")
                engine = build_preset(preset, half, Path(scratch))
                sizes = {"bytes": engine.bytes, "onnx_bytes": (Path(scratch) / "model.onnx").stat().st_size}
                engines.append({"preset": preset, "precision": engine.precision, "seconds": engine.seconds, **sizes})
    command = command_line()
    here = this_machine()
    profile = {"batch": PROFILE.batch, "width": PROFILE.width}
    result = Builds(command, profile, engine.capabilities, engine.version, engines, here)
    save(result, options.out)
    return result


def build_preset(name: str, half: bool, folder: Path) -> EngineInfo:
    """Exports a preset with random weights to `model.onnx` and builds `model.engine` of it, both in the folder."""
    import torch

    from htrcompress import models
    from htrcompress.card import Card
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.export.tensorrt_build import build_engine

    height = models.preset(name).height
    torch.manual_seed(0)
    model = models.create(name, CLASSES)
    charset = tuple(map(chr, range(33, 32 + CLASSES)))
    card = Card(name, models.architecture(model), charset, height, models.STRIDE, PROFILE.width[-1])
    path = folder / "model.onnx"
    graph = export_onnx(model, card, path, half=half)
    return build_engine(graph, path.with_suffix(".engine"), profile=PROFILE, runtime="tensorrt-rtx")


if __name__ == "__main__":
    run_command(measure_builds)
