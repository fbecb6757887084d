"""All that needs an RTX card, in one go: `make rtx`, which installs what fits the card and starts this file.

For every model: ONNX files, and engines in FP32 and FP16 (INT8 where its guard allows it) that decode in standard
operators, in the CUDA kernel, or not at all; every engine executed and compared with PyTorch on the same lines; the
steps of each timed at batch 1 and 32; the benchmark of `run.py`. Then `benchmarks/results/rtx-<gpu>.json` is written,
from which `tools/figures.py` makes a table of `docs/benchmarks.md`.

    python benchmarks/engines/rtx.py --models models --data DIR

Every step is recorded as done, or with the reason why it failed or was left out, and the others go on. Without a GPU
all is done that needs none, and the end names the step that does. The kernel needs nvcc and cmake, and the engines that
decode with it TENSORRT_ROOT as well, a folder with TensorRT's headers.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from benchmarks.artefacts import find
from benchmarks.engines.gpu import find_gpu
from benchmarks.engines.result import ModelResult, RtxResult, Step, tables
from benchmarks.engines.timing import build_kernel, time_engine, time_kernel
from benchmarks.results import command_line, this_machine
from benchmarks.rows import Benchmark
from benchmarks.run import BenchmarkOptions, measure_all
from benchmarks.splits import Split
from htrcompress import runs
from htrcompress.card import Card
from htrcompress.cli import console, run_command, to_json
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import SYNTHETIC, open_dataset, read_config
from htrcompress.errors import HtrError, Unavailable
from htrcompress.export.commands import export, verify
from htrcompress.export.options import ExportOptions, VerifyOptions
from htrcompress.export.package import LIBRARY
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

RESULTS = Path(__file__).parent.parent / "results"
BATCHES = (1, 32)
TIMED, ROUNDS = 64, 3
"""Lines and rounds of the benchmark."""
PACKAGES = ("htrcompress", "torch", "onnxruntime", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu12-libs", "cuda-python")

Found = TypeVar("Found")


@dataclass(frozen=True)
class RtxOptions:
    """Builds, executes, compares and times the engines of trained models on the RTX card of this machine."""

    models: Path = Path("models")
    """A .safetensors file, or a folder of them."""
    data: str | None = None
    """The lines to read; by default what each model was trained on, or the built-in lines where that is not here."""
    lines: int = 64
    """How many lines every form reads, alone and in batches of all sizes."""
    out: Path = Path("runs/rtx")
    """Folder for the exports."""


def rtx(options: RtxOptions) -> RtxResult:
    """Takes every step that it can, and records what failed.

    Raises:
        HtrError: there are no models, or the result cannot be written.
    """
    models, data, lines, out = options.models, options.data, options.lines, options.out
    files = sorted(models.glob("*.safetensors")) if models.is_dir() else [models]
    if not files or not files[0].is_file():
        raise HtrError(f"--models {models}: no .safetensors file there")
    steps = _Steps()
    gpu = steps.run("find the GPU", find_gpu)
    built = steps.run(
        "compile the decode kernel", lambda: build_kernel(out / "plugin", gpu.capability if gpu else "75")
    )
    kernel = steps.run("time the decode kernel", lambda: time_kernel(built)) if built and gpu else None
    plugin = _plugin(built) if gpu else None
    if not plugin:
        steps.leave(
            "build engines with the plugin", "they need a GPU, nvcc, cmake and TENSORRT_ROOT, and one is missing"
        )
    made = [_model(file, data, lines, out, plugin, steps) for file in files]
    described = this_machine(*PACKAGES)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    command = command_line()
    result = RtxResult(command, date, described, gpu, steps.taken, kernel or [], made, out / "rtx.json")
    if gpu and result.executed:
        result = replace(result, path=RESULTS / f"{gpu.slug}.json")
    write_atomic(result.path, f"{to_json(result)}\n".encode())
    console.print(tables(result))
    if not console.stderr:  # with --json, run_command prints it
        print(to_json(result), flush=True)
    return result


class _Steps:
    """Takes steps one after the other, and keeps what failed for the record."""

    def __init__(self) -> None:
        self.taken: list[Step] = []

    def run(self, name: str, work: Callable[[], Found]) -> Found | None:
        """What the work gives; None where it fails."""
        started, found, state, reason = time.perf_counter(), None, "done", ""
        console.print(f"{name} ...")
        try:
            found = work()
        except Unavailable as error:
            state, reason = "left out", str(error)
        except HtrError as error:
            state, reason = "failed", str(error)
        except Exception as error:  # one step that fails must not cost the others their results
            state, reason = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.taken.append(Step(name, state, round(time.perf_counter() - started, 1), reason))  # type: ignore[arg-type]
        return found

    def leave(self, name: str, reason: str) -> None:
        """Records a step that is not taken."""
        self.taken.append(Step(name, "left out", 0.0, reason))


def _model(file: Path, data: str | None, lines: int, out: Path, plugin: Path | None, steps: _Steps) -> ModelResult:
    """All steps with one model."""
    from htrcompress.models.serialization import load_card

    name = file.stem
    run = out / name
    opened = steps.run(f"open the lines of {name}", lambda: _lines(file, load_card(file), data))
    if opened is None:
        return ModelResult(name, "")
    card, source, dataset = opened
    split = Split(dataset, "test")
    found = ModelResult(name, f"{source}/{split.name}")
    run.mkdir(parents=True, exist_ok=True)
    model = Path(shutil.copy(file, run))
    folder = run / "export" / name
    shutil.rmtree(folder, ignore_errors=True)  # engines of an earlier call are not timed as those of this one
    _build(model, card, source, dataset.name, plugin, steps)
    steps.run(f"verify {name}", lambda: _verify(folder, source, split.name, lines, found))
    steps.run(f"time engines of {name}", lambda: _time(folder, card, split, found))
    found.benchmark = steps.run(f"benchmark {name}", lambda: _benchmark(run, dataset, split))
    return found


def _build(model: Path, card: Card, source: str, here: str, plugin: Path | None, steps: _Steps) -> None:
    """ONNX files and engines; INT8 where the lines are such as the model was trained on, and its guard allows it."""
    name, known = model.stem, card.data.get("name")
    made = steps.run(
        f"build engines of {name}",
        lambda: export(ExportOptions(model, trt=True, fp16=True, int8=known == here, data=source)),
    )
    if known != here:
        steps.leave(f"build INT8 engines of {name}", f"they need lines of {known}: name them with --data")
    for reason in made.refused if made else ():
        steps.leave(f"build engines of {name} in every precision", reason)
    steps.run(
        f"build engines of {name} without decode",
        lambda: export(ExportOptions(model, trt=True, fp16=True, decode="none")),
    )
    if plugin:
        steps.run(
            f"build engines of {name} with the plugin",
            lambda: export(ExportOptions(model, trt=True, fp16=True, decode="plugin", plugin=plugin)),
        )


def _lines(file: Path, card: Card, data: str | None) -> tuple[Card, str, Dataset]:
    """What a model reads, and how that is named after `--data`; the built-in lines where its own are not here."""
    try:
        source = data or runs.own_data(file, card)
    except HtrError:
        source = SYNTHETIC
    dataset = open_dataset(source, read_config(card))
    dataset.split("test")
    return card, source, dataset


def _verify(folder: Path, source: str, split: str, lines: int, found: ModelResult) -> None:
    found.checks = list(verify(VerifyOptions(folder, source, split, lines=lines)).checks)
    wrong = [check for check in found.checks if not check.passed]
    if wrong:
        raise HtrError("; ".join(f"{check.form}: {check.note}" for check in wrong))
    unread = [check.note for check in found.checks if ".engine" in check.form and not check.arithmetic]
    if unread:
        raise Unavailable(f"of {len(unread)} engines, the first: {unread[0]}")


def _benchmark(run: Path, dataset: Dataset, split: Split) -> Benchmark:
    threads = machine.cores()
    options = BenchmarkOptions(batch=max(BATCHES), threads=threads, lines=TIMED, rounds=ROUNDS)
    return measure_all(find(run, threads), dataset, [split], options)


def _time(folder: Path, card: Card, split: Split, found: ModelResult) -> None:
    """Times every engine, and works out what of it is the decode."""
    from htrcompress.image import pad

    images = [image for image in split.scaled(card) if image is not None]
    images.sort(key=lambda image: image.shape[1])
    engines = sorted(folder.glob("*.engine"))
    if not engines:
        raise Unavailable("no engine was built")
    rows = []
    for batch in BATCHES:
        places = [(2 * i + 1) * len(images) // (2 * batch) for i in range(batch)]  # of few lines, some twice
        pixels, widths = pad([images[place] for place in places])
        rows += [time_engine(path, pixels, widths) for path in engines]
    raw = {(row.precision, row.batch): row.execute_ms for row in rows if row.decode == "none"}
    for row in rows:
        without = raw.get((row.precision, row.batch)) if row.decode != "none" else None
        share = 1 - without / row.execute_ms if without else None
        found.engines.append(replace(row, decode_share=share))


def _plugin(built: Path | None) -> Path | None:
    """The plugin's library, where TensorRT's headers were there to build it."""
    return built / LIBRARY if built and os.environ.get("TENSORRT_ROOT") else None


if __name__ == "__main__":
    run_command(rtx)
