"""Trains one network on a dataset: `python -m htrcompress.train --data DIR --model teacher`.

The run folder gets the best model on validation as `teacher.safetensors` (the preset's name), and beside it a folder
with the log, TensorBoard events and the checkpoint that `--resume` continues from. With `--init FILE` a trained model
learns a new hand from a few lines, and keeps its name: steps and learning rate follow from their number.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import run_start
from htrcompress.cli import console, run_command
from htrcompress.config import AugmentConfig, AuxConfig, CharsetPolicy, LlmConfig, TrainConfig, check_llm
from htrcompress.data.readers import ReadConfig
from htrcompress.errors import HtrError
from htrcompress.utils import machine

if TYPE_CHECKING:
    from htrcompress.charset import Charset
    from htrcompress.models import LineRecognizer
    from htrcompress.training.adaptation import Adaptation, Watch
    from htrcompress.training.data import TrainingData
    from htrcompress.training.progress import TrainProgress
    from htrcompress.training.trainer import FitResult

logger = logging.getLogger("htrcompress.train")  # as a command, the module is called __main__


@dataclass(frozen=True)
class TrainOptions:
    """Trains one network and keeps the best on validation."""

    data: str = "synthetic"
    """A dataset's folder, several with commas between, or `synthetic` for the built-in data."""
    model: str | None = None
    """The size: teacher, hybrid, student, student-s, student-xs, tiny-teacher, tiny-hybrid or tiny-student; teacher if
    not given, or the size of --init."""
    init: Path | None = None
    """A trained model file, or the run folder that holds it, to start from instead of random weights. Steps, learning
    rate, batch and early stopping then follow from the number of training lines where --train.* leaves them open."""
    charset: CharsetPolicy | None = None
    """How the characters of --init change: keep them, take the union with those of the data, or replace them by these;
    the union if not given."""
    watch: str | None = None
    """With --init: other datasets, with commas between, whose validation lines are read before and after, so that it is
    seen what the model forgets; it does not learn them."""
    out: Path | None = None
    """The run folder; `runs/<time>-train` if not given."""
    resume: Path | None = None
    """A run folder to continue, with the options that it was started with."""
    llm: str | None = None
    """A causal language model that helps in training only: a folder, a GGUF file, or a name on the Hugging Face hub,
    from which it is then fetched."""
    train: TrainConfig = TrainConfig()
    """how to train"""
    augment: AugmentConfig | None = AugmentConfig()
    """how to vary the training lines; `null` for not at all"""
    aux: AuxConfig = AuxConfig()
    """losses beside CTC at the output"""
    lm: LlmConfig = LlmConfig()
    """how the language model is used"""
    read: ReadConfig = ReadConfig()
    """how to read texts where a dataset's format leaves a choice"""

    def __post_init__(self) -> None:
        if self.init and self.model:
            raise HtrError("give --model or --init, not both: a trained model has its size")
        if self.resume:  # the options that are missing here are those of the run
            return
        if self.charset and not self.init:
            raise HtrError("--charset says how the characters of --init change: give --init as well")
        if self.watch and not self.init:
            raise HtrError("--watch shows what the model of --init forgets: give --init as well")
        self.train.check_init(self.init)
        check_llm(self.llm, self.lm, self.aux)


@dataclass(frozen=True)
class TrainResult:
    """The result of `train`.

    Attributes:
        run: the run folder.
        fit: the model's file and its figures.
        adaptation: with `--init`, the error rates before and after.
    """

    run: Path
    fit: "FitResult"
    adaptation: "Adaptation | None" = None

    def __rich__(self) -> Any:
        from rich.console import Group

        cer = "" if self.fit.cer is None else f"CER {100 * self.fit.cer:.2f} % on validation "
        sentence = f"{self.fit.path}: {cer}after {self.fit.steps} steps"
        return Group(sentence, self.adaptation) if self.adaptation else sentence


@dataclass(frozen=True)
class _Start:
    """A network before training, the data and settings for it, and what its card says about where it comes from.

    With `--init`, also what is read before and after, and the rates before.
    """

    name: str
    config: TrainConfig
    network: "LineRecognizer"
    data: "TrainingData"
    origin: dict[str, Any]
    watch: "Watch | None" = None
    before: "list[float] | None" = None


def train(
    options: TrainOptions, given: frozenset[str] = frozenset(), progress: "TrainProgress | None" = None
) -> TrainResult:
    """Trains one network and keeps the best on validation.

    Args:
        options: see `TrainOptions`.
        given: names of the options that the user typed, for `--resume`.
        progress: is called at every step and validation.

    Raises:
        HtrError: the data, the language model, an option or the checkpoint is unusable.
    """
    run, options = run_start.start("train", options, given)
    import torch

    from htrcompress.training.objective import (
        LANGUAGE_MODEL_MEMORY,
        build_objective,
        card_entries,
        language_model_loss,
        open_language_model,
        parameter_summary,
    )
    from htrcompress.training.trainer import Trainer

    torch.manual_seed(options.train.seed)
    source = run_start.init_file(run, options.init)
    start = _trained(source, options) if source else _untrained(options)
    network, data = start.network, start.data
    logger.info("%s", data.summary())
    logger.info("%s", parameter_summary(start.name, network))
    language_model = open_language_model(options.llm, options.lm, options.train.precision, data.train.texts)
    language = language_model_loss(network, data.charset, options.aux, language_model, options.lm)
    entries = {"seed": options.train.seed, **card_entries(options.aux, options.llm, options.lm), **start.origin}
    trainer = Trainer(
        build_objective(network, data.charset, options.aux, language=language),
        data.card(start.name, network, entries),
        data.train,
        data.valid,
        run / f"{start.name}.safetensors",
        start.config,
        options.augment,
        progress,
        LANGUAGE_MODEL_MEMORY if language else (),
    )
    if source and not machine.rank():  # only now is everything known to be usable
        run_start.keep_init(run, source)
    fit = trainer.fit()
    if language:
        logger.info("%s", language.costs())
    return TrainResult(run, fit, _adaptation(start, fit.path))


def _untrained(options: TrainOptions) -> _Start:
    """A network of a preset with random weights."""
    from htrcompress import models
    from htrcompress.training.data import open_training_data

    name = "teacher" if options.model is None else options.model
    data = open_training_data(options.data, models.preset(name).height, options.train, options.read)
    network = models.create(name, data.charset.classes)
    return _Start(name, options.train.for_preset(name), network, data, {})


def _trained(source: Path, options: TrainOptions) -> _Start:
    """A trained network with its output layer changed for the characters of new data, and settings for these."""
    from htrcompress.models import preset_of
    from htrcompress.models.charset_transfer import choose_charset, set_charset
    from htrcompress.models.serialization import load_model
    from htrcompress.training.adaptation import Watch, require_enough, settings
    from htrcompress.training.data import open_training_data

    network, card = load_model(source)
    known = card.characters()

    def choose(found: Any) -> Any:
        return choose_charset(known, found, options.charset)

    data = open_training_data(options.data, card.height, options.train, options.read, choose, hold_back=True)
    require_enough(len(data.train), data.dataset.name)
    _tell_new_characters(known, data)
    preset = preset_of(network)
    config = settings(options.train, len(data.train), preset).for_preset(preset)
    watch = Watch(data, options.watch, options.read, options.train.max_unreadable)
    before = watch.rates(network, known)
    set_charset(network, known, data.charset, trainable=True)
    origin = {"init": {"name": card.name, "data": card.data.get("name"), "training": card.training}}
    return _Start(source.stem, config, network, data, origin, watch, before)


def _tell_new_characters(known: "Charset", data: "TrainingData") -> None:
    """Names the characters that a trained model will learn, with how often the lines hold them."""
    counts = Counter(c for text in data.train.texts for c in text if c in data.charset.characters)
    new = " ".join(f"{c!r} ({n})" for c, n in counts.most_common() if c not in known.characters)
    if new:
        logger.info("new to the model, and learnt from these lines (--charset keep leaves them out): %s", new)


def _adaptation(start: _Start, path: Path) -> "Adaptation | None":
    """What came of an adaptation; None for a training from nothing."""
    from htrcompress.models.serialization import load_model

    if start.watch is None or start.before is None:
        return None
    network, card = load_model(path)
    return start.watch.adaptation(start.before, start.watch.rates(network, card.characters()))


def train_command(options: TrainOptions, given: frozenset[str]) -> TrainResult:
    """`train` with a progress bar."""
    from htrcompress.training.progress import ProgressBar

    return train(options, given, ProgressBar(console))


if __name__ == "__main__":
    run_command(train_command)
