"""Trains one network on a dataset: `python -m htrcompress.train --data DIR --model teacher`.

The run folder gets the best model on validation as `teacher.safetensors` (the preset's name), and beside
it a folder with the log, TensorBoard events and the checkpoint that `--resume` goes on from. With `--init FILE`
a trained model learns a new hand from a few hundred lines, and keeps its name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import runs
from htrcompress.cli import console, run_command
from htrcompress.config import (
    NONE,
    AugmentConfig,
    AuxConfig,
    Choice,
    LlmConfig,
    TrainConfig,
    require_name,
    require_use,
)
from htrcompress.data.readers import ReadConfig
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from htrcompress.training.trainer import FitResult


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
    model: str | None = None,
    init: Path | None = None,
    charset: Choice | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    llm: str = NONE,
    train: TrainConfig = TrainConfig(),
    augment: AugmentConfig | None = AugmentConfig(),
    aux: AuxConfig = AuxConfig(),
    lm: LlmConfig = LlmConfig(),
    read: ReadConfig = ReadConfig(),
) -> TrainResult:
    """Trains one network and keeps the best on validation.

    Args:
        data: a dataset's folder, several with commas between, or `synthetic` for the built-in data.
        model: the size: teacher, hybrid, student, student-s, student-xs, tiny-teacher, tiny-hybrid or tiny-student;
            teacher if not given, or the size of --init.
        init: a trained model file, or the run folder that holds it, to start from instead of random weights.
        charset: what becomes of the characters of --init: keep them, take the union with those of the data, or
            replace them by these; must be given where the data has others.
        out: the run folder; `runs/<time>-train` if not given.
        resume: a run folder to go on with, under the options that it was started with.
        llm: a causal language model that helps in training alone: a name on its hub, a folder or a GGUF file.
        train: how to train.
        augment: how to vary the training lines; `null` for not at all.
        aux: CTC at other places than the end.
        lm: how the language model helps.
        read: how to read texts where a dataset's format leaves a choice.

    Raises:
        HtrError: the data, the language model, an option or the checkpoint is unusable.
    """
    if init and model:
        raise HtrError("give --model or --init, not both: a trained model has its size")
    if charset and not (init or resume):
        raise HtrError("--charset says what becomes of the characters of --init: give that as well")
    require_name(llm)
    if not resume:  # what is left out there is known from the run
        require_use(aux, llm, lm)
    options: dict[str, Any] = {"data": data, "model": model, "init": init, "charset": charset, "llm": llm}
    options |= {"train": train, "augment": augment, "aux": aux, "lm": lm, "read": read}
    run, options = runs.start("train", train_network, out, resume, options)
    return TrainResult(run, _fit(run, **options))


def _fit(
    run: Path,
    data: str,
    model: str | None,
    init: Path | None,
    charset: Choice | None,
    llm: str,
    train: TrainConfig,
    augment: AugmentConfig | None,
    aux: AuxConfig,
    lm: LlmConfig,
    read: ReadConfig,
) -> "FitResult":
    import torch

    from htrcompress import models
    from htrcompress.models.charset_transfer import choose_charset, set_charset
    from htrcompress.models.serialization import load_model
    from htrcompress.training.data import open_training_data
    from htrcompress.training.objective import (
        LANGUAGE_MODEL_MEMORY,
        build_objective,
        card_entries,
        language_model_loss,
        open_language_model,
        parameter_summary,
    )
    from htrcompress.training.progress import ProgressBar
    from htrcompress.training.trainer import Trainer

    torch.manual_seed(train.seed)
    training: dict[str, Any] = {"seed": train.seed, **card_entries(aux, llm, lm)}
    if init:
        kept = list((run / "init").glob("*.safetensors"))  # a run goes on with its own copy
        source = kept[0] if kept else runs.model(init)
        network, start = load_model(source)
        name, known = source.stem, start.characters()
        corpus = open_training_data(data, start.height, train, read, lambda c: choose_charset(known, c, charset))
        set_charset(network, known, corpus.charset, trainable=True)
        training["init"] = {"name": start.name, "data": start.data.get("name"), "training": start.training}
    else:
        name = model or "teacher"
        corpus = open_training_data(data, models.preset(name).height, train, read)
        network = models.create(name, corpus.charset.classes)
    console.print(corpus.summary())
    console.print(parameter_summary(name, network))
    card = corpus.card(name, network, training)
    path = run / f"{name}.safetensors"
    language_model = open_language_model(llm, lm, train.precision, corpus.train.texts)
    language = language_model_loss(network, corpus.charset, aux, language_model, lm)
    objective = build_objective(network, corpus.charset, aux, language=language)
    if init and not kept and not machine.rank():  # not before all is known to be usable
        write_atomic(run / "init" / source.name, source.read_bytes())
    advice = LANGUAGE_MODEL_MEMORY if language else ()
    progress = ProgressBar(console)
    fit = Trainer(
        objective, card, corpus.train, corpus.valid, path, train.filled(name), augment, progress, advice
    ).fit()
    if language:
        console.print(language.costs())
    return fit


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(train_network)
