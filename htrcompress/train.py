"""Trains one network on a dataset: `python -m htrcompress.train --data DIR --model teacher`.

The run folder gets the best model on validation as `teacher.safetensors` (the preset's name), and beside
it a folder with the log, TensorBoard events and the checkpoint that `--resume` goes on from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import machine, runs
from htrcompress.cli import console, run_command
from htrcompress.config import AugmentConfig, TrainConfig

if TYPE_CHECKING:
    from htrcompress.loop import FitResult


@dataclass(frozen=True)
class TrainResult:
    """What `train` made.

    Attributes:
        run: the run folder.
        fit: the model's file and its figures.
    """

    run: Path
    fit: "FitResult"

    def __rich__(self) -> str:
        return f"{self.fit.path}: CER {100 * self.fit.cer:.2f} % on validation after {self.fit.steps} steps"


def train_network(
    data: str = "synthetic",
    model: str = "teacher",
    out: Path | None = None,
    resume: Path | None = None,
    train: TrainConfig = TrainConfig(),
    augment: AugmentConfig | None = AugmentConfig(),
) -> TrainResult:
    """Trains one network and keeps the best on validation.

    Args:
        data: a dataset's folder, or `synthetic` for the built-in data.
        model: the size: teacher, student, student-s, student-xs, tiny-teacher or tiny-student.
        out: the run folder; `runs/<time>-train` if not given.
        resume: a run folder to go on with, under the options that it was started with.
        train: how to train.
        augment: how to vary the training lines; `null` for not at all.

    Raises:
        HtrError: the data, an option or the checkpoint is unusable.
    """
    options: dict[str, Any] = {"data": data, "model": model, "train": train, "augment": augment}
    run, options = runs.start("train", train_network, out, resume, options)
    return TrainResult(run, _fit(run, **options))


def _fit(run: Path, data: str, model: str, train: TrainConfig, augment: AugmentConfig | None) -> "FitResult":
    import torch

    from htrcompress import models
    from htrcompress.corpus import open_corpus
    from htrcompress.loop import Trainer
    from htrcompress.losses import CtcObjective

    corpus = open_corpus(data, models.preset(model).height, train.infeasible)
    console.print(corpus.summary())
    torch.manual_seed(train.seed)
    network = models.create(model, corpus.charset.classes)
    card = corpus.card(model, network, {"seed": train.seed})
    path = run / f"{model}.safetensors"
    return Trainer(CtcObjective(network), card, corpus.train, corpus.valid, path, train.filled(model), augment).fit()


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(train_network)
