"""Training speed, and what each measure adds to it: `python benchmarks/studies/training_speed.py --data DIR`.

The same steps with one measure after the other: batches of near-equal width, BF16, and a process for each core instead
of threads. Every variant trains in a process of its own, with one thread a core, augmentation included; the rounds are
interleaved, and a gain is the median of the ratios within a round.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save, this_machine
from benchmarks.timing import require_positive
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.utils import machine

VARIANTS = {
    "FP32, lines in random order": {"order": "random", "precision": "fp32", "processes": 1},
    "+ batches by width": {"order": "width", "precision": "fp32", "processes": 1},
    "+ BF16": {"order": "width", "precision": "bf16", "processes": 1},
    "+ a process for each core": {"order": "width", "precision": "bf16", "processes": 0},
}
WARM = 5
"""Steps before the clock counts."""


@dataclass(frozen=True)
class Speeds:
    """Training lines a second of every variant, a value a round.

    Attributes:
        command: how this was measured.
        settings: preset, data, batch, steps.
        rows: variant to its speeds and to `gain`, the median ratio to the first.
        machine: processor and cores.
    """

    command: str
    settings: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    kind: str = "training_speed"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("variant", "lines/s (min-max)", "x first", title=f"training {self.settings['model']}")
        for name, row in self.rows.items():
            speeds = row["lines_per_second"]
            spread = f"{statistics.median(speeds):.1f} ({min(speeds):.1f}-{max(speeds):.1f})"
            table.add_row(name, spread, f"{row['gain']:.2f}")
        return table


@dataclass(frozen=True)
class SpeedOptions:
    """Measures training lines a second with and without what makes training fast."""

    data: str = "synthetic"
    """A dataset's folder, or `synthetic`."""
    model: str = "student"
    """The preset to train."""
    batch: int = 16
    """Lines a step, over all processes."""
    steps: int = 30
    """Steps that are timed."""
    rounds: int = 3
    """Rounds in which every variant has its turn."""
    out: Path | None = None
    """A JSON file for the result."""


def measure_training(options: SpeedOptions) -> Speeds:
    """Measures training lines a second with and without what makes training fast.

    Raises:
        HtrError: a variant failed, or a number is below 1.
    """
    require_positive(batch=options.batch, steps=options.steps, rounds=options.rounds)
    speeds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, variant in VARIANTS.items():
            speeds[name].append(training_speed(variant, options.data, options.model, options.batch, options.steps))
    first = speeds[next(iter(VARIANTS))]
    rows = {
        name: {
            **VARIANTS[name],
            "lines_per_second": values,
            "gain": statistics.median(a / b for a, b in zip(values, first, strict=True)),
        }
        for name, values in speeds.items()
    }
    settings = {"data": Path(options.data).name, "model": options.model, "batch": options.batch, "steps": options.steps}
    command = command_line()
    here = this_machine("torch")
    result = Speeds(command, settings, rows, here)
    save(result, options.out)
    return result


def training_speed(variant: dict[str, Any], data: str, model: str, batch: int, steps: int) -> float:
    """Lines a second that one of `VARIANTS` trains at, from its log.

    Raises:
        HtrError: the training failed.
    """
    processes = variant["processes"] or machine.cores()
    threads = {"OMP_NUM_THREADS": str(machine.cores() // processes)}
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [sys.executable, *(launch if processes > 1 else []), __file__, "--worker", variant["order"]]
        command += ["--data", data, "--model", model, "--out", f"{scratch}/run", "--train.batch", str(batch)]
        command += ["--train.steps", str(steps + WARM), "--train.precision", variant["precision"]]
        done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
        if done.returncode:
            raise HtrError(f"training failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        rows = [json.loads(row) for row in Path(scratch, "run", model, "log.jsonl").read_text().splitlines()]
    seen = {row["step"]: row for row in rows if "lr" in row}
    begin, end = seen[WARM], seen[steps + WARM]
    return float((end["lines"] - begin["lines"]) / (end["seconds"] - begin["seconds"]))


def _work(order: str) -> None:
    """One training as `htrcompress.train` runs it, but for the order of the lines and for a log of every step."""
    import random

    from htrcompress.train import train_command
    from htrcompress.training import batches, logging

    logging.LOG_EVERY = 1
    if order == "random":

        def shuffled(widths: list[int], size: int, seed: int, epoch: int) -> list[list[int]]:
            places = random.Random(seed).sample(range(len(widths)), len(widths))
            return [places[at : at + size] for at in range(0, len(places), size)]

        batches.epoch_order = shuffled  # type: ignore[assignment]
    run_command(train_command)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        chosen = sys.argv[2]
        del sys.argv[1:3]
        _work(chosen)
    run_command(measure_training)
