"""What a few lines of a new hand are worth: `python benchmarks/studies/finetuning.py MODEL --data DIR`.

A trained model learns 50, 100, 200 and 400 lines of a corpus that it has not seen (`train --init`), and reads the
test split after each; 0 is the model as it is. Beside it stands the same network trained from nothing on as many.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from benchmarks.splits import Split
from benchmarks.timing import require_positive
from htrcompress.cli import run_command
from htrcompress.config import AugmentConfig, CharsetPolicy, TrainConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.run_start import saved_options
from htrcompress.runs import OPTIONS
from htrcompress.runtime import load
from htrcompress.train import TrainOptions
from htrcompress.train import train as train_model
from htrcompress.utils import machine

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
    kind: str = "finetuning"

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


@dataclass(frozen=True)
class FineTuningOptions:
    """Fine-tunes a model on ever more lines of a new corpus, and reads the test split each time."""

    model: Path | None = None
    """The trained model file."""
    data: str = "synthetic"
    """The folder of a corpus that it has not seen."""
    preset: str | None = None
    """A size that is trained from nothing on the same lines; none if not given."""
    charset: CharsetPolicy = "union"
    """How the characters of the model change."""
    steps: int = 600
    """Optimiser steps of every training."""
    runs: Path = Path("runs/finetune")
    """Where the runs are written; those that are there already are not trained again."""
    out: Path | None = None
    """A JSON file for the result."""
    train: TrainConfig = TrainConfig()
    """how to train; the number of lines and of steps is filled in"""
    augment: AugmentConfig | None = AugmentConfig()
    """how to vary the training lines"""

    def __post_init__(self) -> None:
        require_positive(steps=self.steps)
        if self.model is None:
            raise HtrError("name the trained model file")


def fine_tune(options: FineTuningOptions) -> Curve:
    """Measures the curve on the test split.

    Raises:
        HtrError: the model or the data cannot be used, or a run folder holds a run with other options.
    """
    assert options.model is not None
    dataset = open_dataset(options.data)
    if len(dataset.split("train")) < LINES[0]:
        raise HtrError(f"{dataset.name} has fewer than {LINES[0]} training lines, where the curve begins")
    split, card = Split(dataset, "test"), load_card(options.model)
    points = [_point(split, options.model, 0, "model", 0.0)]
    for lines in (count for count in LINES if count <= len(dataset.split("train"))):
        config = replace(options.train, lines=lines, steps=options.steps)
        same: dict[str, Any] = {"data": options.data, "train": config, "augment": options.augment}
        starts = {"model": TrainOptions(init=options.model, charset=options.charset, **same)}
        if options.preset:
            starts["nothing"] = TrainOptions(model=options.preset, **same)
        for start, wanted in starts.items():
            run = options.runs / f"{start}-{lines}"
            if (run / OPTIONS).is_file():
                _require_same(run, wanted)
                done = train_model(TrainOptions(resume=run, data=options.data))
            else:
                done = train_model(replace(wanted, out=run))
            points.append(_point(split, done.fit.path, lines, start, done.fit.seconds))
    seen = {"name": card.name, "data": card.data.get("name")}
    corpus = {"name": dataset.name, "split": split.name, "hash": split.hash, "lines": len(split.lines)}
    command = command_line()
    result = Curve(command, seen, corpus, points, machine.processor())
    save(result, options.out)
    return result


def _require_same(run: Path, wanted: TrainOptions) -> None:
    """Raises HtrError if the run in a folder was started with other options or from another model."""
    before = saved_options(TrainOptions, run)
    names = [name for name in vars(wanted) if name not in ("init", "data", "out", "resume")]
    changed = [name for name in names if getattr(before, name) != getattr(wanted, name)]
    copies = list((run / "init").glob("*.safetensors"))
    if copies and wanted.init and copies[0].read_bytes() != wanted.init.read_bytes():
        changed.append("init")
    if changed:
        raise HtrError(f"{run} is of other options or another model (--{changed[0]} differs): name another --runs")


def _point(split: Split, path: Path, lines: int, start: str, seconds: float) -> dict[str, Any]:
    score = split.compare(split.read(load(path), BATCH))
    row = {"lines": lines, "start": start, "cer": score.cer, "interval": score.interval()}
    return {**row, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    run_command(fine_tune, positional="model")
