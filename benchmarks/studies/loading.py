"""How fast lines come from files and from packed shards: `python benchmarks/studies/loading.py --data DIR`.

Packs the training lines of a dataset and reads them in batches, as a training does but for augmentation, beside
decoding them from their files, and beside the speed at which a model trains on them. Then packs sets of many made lines
(a few small pictures over and over, each under a name of its own) and opens each in a process of its own: the seconds
until it is open and until its first augmented training batch, and the peak memory of both. The files were just written,
so the system has them in its cache. Imports are timed apart.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import command_line, save, this_machine
from benchmarks.studies.training_speed import VARIANTS, training_speed
from benchmarks.timing import Spread, require_positive
from htrcompress.cli import console, run_command
from htrcompress.data.lazy import Places
from htrcompress.data.lines import Dataset, LazyLines, Line
from htrcompress.data.loading import load_lines
from htrcompress.data.packing import pack
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset, saved_read
from htrcompress.errors import HtrError

WORDS = "a line of text that was made to be read by nobody and stands for very many".split()
PICTURES = 64
MAX_WIDTH = 4096


@dataclass(frozen=True)
class SetRow:
    """One set of made lines.

    Attributes:
        bytes: size of its files.
        pack_seconds: that packing took.
        imports: seconds until the modules are there.
        opened: seconds to open it, a spread over the rounds.
        first_batch: seconds to open it for training and make the first batch.
        opened_mib, first_batch_mib: peak memory of processes that do only that, the largest of the rounds.
    """

    bytes: int
    pack_seconds: float
    imports: Spread
    opened: Spread
    first_batch: Spread
    opened_mib: float
    first_batch_mib: float


@dataclass(frozen=True)
class Loading:
    """What `measure_loading` found.

    Attributes:
        command: how this was measured.
        data: dataset, the hash of its training lines and how many were read.
        settings: height, batch, threads that decode files, and the sizes of made pictures.
        packed, files: lines a second, spreads over the rounds.
        training: lines a second that the model trains at, in the fastest way; None if not measured.
        sets: number of lines to what was found of such a set.
        machine: processor, cores and versions.
    """

    command: str
    data: dict[str, Any]
    settings: dict[str, Any]
    packed: Spread
    files: Spread
    training: float | None
    sets: dict[str, SetRow]
    machine: dict[str, Any]
    kind: str = "loading"

    def __rich__(self) -> str:
        rows = [f"packed {self.packed.median:,.0f} lines/s, from files {self.files.median:,.0f}"]
        if self.training:
            rows[0] += f", {self.packed.median / self.training:.0f} times the training's {self.training:.1f}"
        for lines, row in self.sets.items():
            rows.append(
                f"{int(lines):,} lines: open in {row.opened.median:.2f} s and {row.opened_mib:.0f} MiB, first batch in "
                f"{row.first_batch.median:.2f} s and {row.first_batch_mib:.0f} MiB"
            )
        return "\n".join(rows)


@dataclass(frozen=True)
class LoadingOptions:
    """Measures lines a second from files and packed shards, and how long sets of many lines take to open."""

    data: str
    """A dataset's folder, with images in files."""
    lines: int = 4000
    """Its training lines that are read, at most."""
    sizes: tuple[int, ...] = (100_000, 1_000_000)
    """Lines of the made sets."""
    width: int = 64
    """Width of their pictures in pixels."""
    height: int = 64
    """Height of all lines in pixels, that of the model."""
    batch: int = 16
    """Lines in a batch."""
    threads: int = 2
    """Threads that decode image files, and processes that pack."""
    rounds: int = 3
    """Times that everything is measured."""
    model: str | None = "student"
    """The preset whose training speed is measured; none if `null`."""
    folder: Path | None = None
    """Where packed sets are written for the time; the system's temporary folder if not given."""
    out: Path | None = None
    """A JSON file for the result."""


def measure_loading(options: LoadingOptions) -> Loading:
    """Measures lines a second from files and packed shards, and how long sets of many lines take to open.

    Raises:
        HtrError: the data cannot be read, a number is below 1, or a process failed.
    """
    require_positive(lines=options.lines, batch=options.batch, threads=options.threads, rounds=options.rounds)
    require_positive(width=options.width, height=options.height, **{f"sizes {n}": n for n in options.sizes})
    dataset = open_dataset(options.data).limited("train", options.lines, 0)
    with tempfile.TemporaryDirectory(prefix="htrcompress-", dir=options.folder) as scratch:
        small = Path(scratch) / "small"
        pack(dataset, small, options.height, saved_read(ReadConfig()), processes=options.threads)
        files = [_from_files(dataset.split("train"), options) for _ in range(options.rounds)]
        packed = [_from_shards(small, options) for _ in range(options.rounds)]
        training = None
        if options.model:
            fastest = list(VARIANTS.values())[-1]
            training = training_speed(fastest, str(small), options.model, options.batch, 20)
        sets = {str(size): _made_set(size, Path(scratch) / f"set-{size}", options) for size in options.sizes}
    lines = len(dataset.split("train"))
    result = Loading(
        command_line(),
        {"name": dataset.name, "hash": dataset.identity("train"), "lines": lines},
        {name: getattr(options, name) for name in ("height", "batch", "threads", "width", "rounds", "model")},
        Spread.of([lines / seconds for seconds in packed]),
        Spread.of([lines / seconds for seconds in files]),
        training,
        sets,
        this_machine("htrcompress", "numpy", "pillow", "pyarrow", "torch"),
    )
    save(result, options.out)
    return result


def _from_files(lines: Sequence[Line], options: LoadingOptions) -> float:
    """Seconds to decode and scale all lines."""
    start = time.perf_counter()
    load_lines(lines, options.height, MAX_WIDTH, options.threads)
    return time.perf_counter() - start


def _from_shards(folder: Path, options: LoadingOptions) -> float:
    """Seconds to read all training lines of a packed set in batches, in the order of a training."""
    import torch

    from htrcompress.config import TrainConfig
    from htrcompress.training.batches import TrainingBatches
    from htrcompress.training.data import open_training_data

    config = TrainConfig(max_too_narrow=1.0)
    lines = open_training_data(str(folder), options.height, config, ReadConfig(), hold_back=True).train
    batches = TrainingBatches(lines, options.batch, 0, None, 4, 0, 1)
    start = time.perf_counter()
    for step in range(batches.per_epoch):
        batches.batch(step, torch.device("cpu"))
    return time.perf_counter() - start


class MadeLines(LazyLines):
    """Lines that nothing is kept of: a few pictures over and over, with texts of a few words."""

    def __init__(self, places: Places, width: int, height: int):
        super().__init__(self._line, places)
        self.width, self.height = width, height
        self.pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, height, width), np.uint8)

    def _line(self, place: int) -> Line:
        text = " ".join(WORDS[(place // step) % len(WORDS)] for step in (1, len(WORDS)))
        return Line(f"made/{place:07d}.png", text, "train", lambda: self.pictures[place % PICTURES], str(place % 50))


def _made_set(size: int, folder: Path, options: LoadingOptions) -> SetRow:
    """Packs a set of made lines and opens it in processes of their own."""
    splits = {
        "train": MadeLines(range(size), options.width, options.height),
        "valid": MadeLines(range(size, size + 100), options.width, options.height),
    }
    with console.status(f"packing {size:,} lines"):
        made = pack(
            Dataset("made", "made", splits),
            folder,
            options.height,
            saved_read(ReadConfig()),
            processes=options.threads,
        )
    found: dict[str, list[dict[str, float]]] = {"open": [], "batch": []}
    for _ in range(options.rounds):
        for task, rows in found.items():
            rows.append(_in_a_process(task, folder, options))
    opened, batch = found["open"], found["batch"]
    return SetRow(
        made.bytes,
        made.seconds,
        Spread.of([row["imports"] for row in opened]),
        Spread.of([row["seconds"] for row in opened]),
        Spread.of([row["seconds"] for row in batch]),
        max(row["mib"] for row in opened),
        max(row["mib"] for row in batch),
    )


def _in_a_process(task: str, folder: Path, options: LoadingOptions) -> dict[str, float]:
    """What one process reports of a task."""
    command = [sys.executable, __file__, "--worker", task, str(folder), str(options.height), str(options.batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HtrError(f"a set could not be opened: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _work(task: str, folder: str, height: str, batch: str) -> None:
    """One process: opens a packed set, for training if asked for, and prints seconds and memory."""
    start = time.perf_counter()
    from benchmarks.memory import peak

    if task == "batch":
        import torch

        from htrcompress.config import AugmentConfig, TrainConfig
        from htrcompress.training.batches import TrainingBatches
        from htrcompress.training.data import open_training_data

        torch.set_num_threads(1)
    begin = time.perf_counter()
    if task == "open":
        open_dataset(folder)
    else:
        lines = open_training_data(folder, int(height), TrainConfig(max_too_narrow=1.0), ReadConfig()).train
        TrainingBatches(lines, int(batch), 0, AugmentConfig(), 4, 0, 1).batch(0, torch.device("cpu"))
    end = time.perf_counter()
    print(json.dumps({"imports": begin - start, "seconds": end - begin, "mib": peak() or 0.0}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _work(*sys.argv[2:])
    else:
        run_command(measure_loading)
