"""What a few lines of a new hand are worth: `python benchmarks/studies/finetuning.py MODEL --data DIR`.

A trained model learns 50, 100, 200 and 400 lines of a corpus that it has not seen (`train --init`), and reads the
test split after each; 0 is the model as it is. Beside it stands the same network trained from nothing on as many.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.splits import Split
from benchmarks.timing import require_positive
from htrcompress.cli import run_command, to_json
from htrcompress.config import AugmentConfig, CharsetPolicy, TrainConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.runs import OPTIONS, saved_options
from htrcompress.runtime import load
from htrcompress.train import TrainOptions
from htrcompress.train import train as train_model
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

LINES = (50, 100, 200, 400)
BATCH = 32


@dataclass(frozen=True)
class Curve:
    """CER against the number of lines.

    Attributes:
        command: how this was measured.
        model: the model that was fine-tuned, with the data that it had seen.
        data: the new corpus, and the hash and size of the split that was read.
        points: lines, start (`model` or `nothing`), cer, interval (fractions), seconds of training.
        machine: the processor.
    """

    command: str
    model: dict[str, Any]
    data: dict[str, Any]
    points: list[dict[str, Any]]
    machine: str

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(
            "lines", "start", "CER %", "95 %", "seconds", title=f"{self.model['name']} on {self.data['name']}"
        )
        for point in self.points:
            low, high = point["interval"]
            span = f"{100 * low:.2f} to {100 * high:.2f}"
            table.add_row(
                str(point["lines"]), point["start"], f"{100 * point['cer']:.2f}", span, f"{point['seconds']:.0f}"
            )
        return table


def fine_tune(
    model: Path | None = None,
    data: str = "synthetic",
    preset: str | None = None,
    charset: CharsetPolicy = "union",
    steps: int = 600,
    runs: Path = Path("runs/finetune"),
    out: Path | None = None,
    train: TrainConfig = TrainConfig(),
    augment: AugmentConfig | None = AugmentConfig(),
) -> Curve:
    """Measures the curve on the test split; what the run folders hold of this very curve is not trained again.

    Args:
        model: the trained model file.
        data: the folder of a corpus that it has not seen.
        preset: the size that is trained from nothing; none if not given.
        charset: what becomes of the model's characters.
        steps: optimiser steps of every training.
        runs: where the runs go.
        out: a JSON file for the result.
        train: how to train; the number of lines and of steps is filled in.
        augment: how to vary the training lines.

    Raises:
        HtrError: the model or the data cannot be used.
    """
    if model is None:
        raise HtrError("name the trained model file")
    require_positive(steps=steps)
    dataset = open_dataset(data)
    if len(dataset.split("train")) < LINES[0]:
        raise HtrError(f"{dataset.name} has fewer than {LINES[0]} training lines, where the curve begins")
    split = Split(dataset, "test")
    card = load_card(model)
    points = [_point(split, model, 0, "model", 0.0)]
    for lines in (count for count in LINES if count <= len(dataset.split("train"))):
        config = {**vars(train), "lines": lines, "steps": steps}
        starts: dict[str, dict[str, Any]] = {"model": {"init": model, "charset": charset}}
        if preset:
            starts["nothing"] = {"model": preset}
        for start, options in starts.items():
            run = runs / f"{start}-{lines}"
            options |= {"data": data, "train": TrainConfig(**config), "augment": augment}
            known = (run / OPTIONS).is_file()
            if known:
                _require_same(run, options)
            options["resume" if known else "out"] = run
            done = train_model(TrainOptions(**options))
            points.append(_point(split, done.fit.path, lines, start, done.fit.seconds))
    seen = {"name": card.name, "data": card.data.get("name")}
    corpus = {"name": dataset.name, "split": split.name, "hash": split.hash, "lines": len(split.lines)}
    command = " ".join(["python", "benchmarks/studies/finetuning.py", *sys.argv[1:]])
    result = Curve(command, seen, corpus, points, machine.processor())
    if out:
        write_atomic(out, (to_json(result) + "\n").encode())
    return result


def _require_same(run: Path, options: dict[str, Any]) -> None:
    """Raises HtrError if a run that lies there already was started with other options or from another model."""
    before = saved_options(TrainOptions, run)
    changed = [
        name for name, value in options.items() if name not in ("init", "data") and getattr(before, name) != value
    ]
    copies = list((run / "init").glob("*.safetensors"))
    if copies and copies[0].read_bytes() != options["init"].read_bytes():
        changed.append("init")
    if changed:
        raise HtrError(f"{run} is of other options or another model (--{changed[0]} differs): name another --runs")


def _point(split: Split, path: Path, lines: int, start: str, seconds: float) -> dict[str, Any]:
    score = split.compare(split.read(load(path), BATCH))
    row = {"lines": lines, "start": start, "cer": score.cer, "interval": score.interval()}
    return {**row, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(fine_tune, positional="model")
