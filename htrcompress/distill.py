"""Distils a small student from a teacher: `python -m htrcompress.distill --data DIR --teacher T`.

The run folder gets `student.safetensors`, a copy of the teacher and, unless it is switched off, `control.safetensors`:
the same student trained without the teacher, for the same steps from the same start, so that the teacher's help can
be measured. Without `--teacher` a tiny one is trained first.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import run_start, runs
from htrcompress.cli import console, run_command
from htrcompress.config import AugmentConfig, AuxConfig, DistillConfig, LlmConfig, TrainConfig, check_llm
from htrcompress.data.readers import ReadConfig
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from htrcompress.charset import Charset
    from htrcompress.data.prepare import EncodedLines
    from htrcompress.models import LineRecognizer
    from htrcompress.training.data import TrainingData
    from htrcompress.training.progress import TrainProgress
    from htrcompress.training.trainer import FitResult

logger = logging.getLogger("htrcompress.distill")  # as a command, the module is called __main__
TINY_TEACHER, TINY_STUDENT = "tiny-teacher", "tiny-student"


@dataclass(frozen=True)
class DistillOptions:
    """Trains a student with a teacher's help, and the same student without it."""

    data: str = "synthetic"
    """A dataset's folder, several with commas between, or `synthetic` for the built-in data."""
    teacher: Path | None = None
    """A model file or the run folder that holds it; if not given, a tiny one is trained first."""
    model: str | None = None
    """The student's size; student where a teacher is given, else tiny-student."""
    init: Path | None = None
    """A model file or run folder whose weights the student and the control start from, in the place of --model."""
    control: bool = True
    """Train the control as well, on the labelled lines alone."""
    unlabelled: Path | None = None
    """A folder of line images without text, which the student learns to read as the teacher does."""
    out: Path | None = None
    """The run folder; `runs/<time>-distill` if not given."""
    resume: Path | None = None
    """A run folder to continue, with the options that it was started with."""
    llm: str | None = None
    """A causal language model that helps the student, not the control, in training only: a folder, a GGUF file, or a
    name on the Hugging Face hub, from which it is then fetched."""
    train: TrainConfig = TrainConfig()
    """how to train"""
    augment: AugmentConfig | None = AugmentConfig()
    """how to vary the training lines; `null` for not at all"""
    distill: DistillConfig = DistillConfig()
    """what the student learns from the teacher"""
    aux: AuxConfig = AuxConfig()
    """losses beside CTC at the output, for the control as well"""
    lm: LlmConfig = LlmConfig()
    """how the language model is used"""
    read: ReadConfig = ReadConfig()
    """how to read texts where a dataset's format leaves a choice"""

    def __post_init__(self) -> None:
        if self.unlabelled and not self.distill.weight:
            raise HtrError("--unlabelled lines teach nothing with --distill.weight 0: leave one of the two out")
        if self.init and self.model:
            raise HtrError("give --model or --init, not both: a trained model has its size")
        if self.init and not self.teacher:
            raise HtrError("--init starts the student of a trained teacher: give --teacher as well")
        if not self.resume:  # the options that are missing here are those of the run
            self.train.check_init(self.init)
            check_llm(self.llm, self.lm, self.aux)

    @property
    def preset(self) -> str:
        """The student's size, where it does not start from a model of `init`."""
        if self.model is not None:
            return self.model
        return TINY_STUDENT if self.teacher is None else "student"


@dataclass(frozen=True)
class DistillResult:
    """The result of `distill`.

    Attributes:
        run: the run folder.
        models: role to CER on validation (a fraction), steps, seconds and path.
    """

    run: Path
    models: dict[str, Any]

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("model", "valid CER %", "steps", "seconds", title=str(self.run))
        for role, row in self.models.items():
            table.add_row(role, f"{100 * row['cer']:.2f}", str(row["steps"]), f"{row['seconds']:.0f}")
        return table


def distill(
    options: DistillOptions, given: frozenset[str] = frozenset(), progress: "TrainProgress | None" = None
) -> DistillResult:
    """Trains a student with a teacher's help, and the same student without it.

    Args:
        options: see `DistillOptions`.
        given: names of the options that the user typed, for `--resume`.
        progress: is called at every step and validation.

    Raises:
        HtrError: the data, the teacher, the language model, an option or the checkpoint is unusable.
    """
    run, options = run_start.start("distill", options, given)
    kept = run / "teacher.safetensors"  # a resumed run has its own copy
    source = (kept if kept.is_file() else runs.model(options.teacher, "teacher")) if options.teacher else None
    init = run_start.init_file(run, options.init)
    session = _open(run, options, source, init, progress)
    fits: dict[str, FitResult] = {}
    if source is None:
        fits["teacher"] = session.train_teacher()
    elif source != kept and not machine.rank():  # only now is everything known to be usable
        if init:
            run_start.keep_init(run, init)
        write_atomic(kept, source.read_bytes())  # last, since a resumed run that finds it copies nothing any more
    fits["student"] = session.train_student(source or kept)
    if options.control:
        fits["control"] = session.train_control(fits["student"].steps)
    rows = {role: {"cer": f.cer, "steps": f.steps, "seconds": f.seconds, "path": f.path} for role, f in fits.items()}
    return DistillResult(run, rows)


def _open(
    run: Path, options: DistillOptions, teacher: Path | None, init: Path | None, progress: "TrainProgress | None"
) -> "_Session":
    """Opens all that the trainings of a run share.

    Raises:
        HtrError: something is unusable, or the teacher and the student read lines of other sizes.
    """
    from htrcompress import models
    from htrcompress.models.charset_transfer import common_charset
    from htrcompress.models.serialization import load_card
    from htrcompress.training.data import open_images, open_training_data
    from htrcompress.training.objective import open_language_model

    student = load_card(init) if init else None
    height = student.height if student else models.preset(options.preset).height
    card = load_card(teacher) if teacher else None
    if card and (card.height, card.stride) != (height, models.STRIDE):
        raise HtrError(
            f"the teacher {teacher} reads lines of height {card.height} with stride {card.stride}, the student of "
            f"height {height} with stride {models.STRIDE}: choose another --model or --init"
        )

    def choose(found: "Charset") -> "Charset":
        return common_charset(card.characters(), found) if card else found

    data = open_training_data(options.data, height, options.train, options.read, choose)
    logger.info("%s", data.summary())
    unreadable = options.train.max_unreadable
    images = open_images(options.unlabelled, height, unreadable) if options.unlabelled else None
    language_model = open_language_model(options.llm, options.lm, options.train.precision, data.train.texts)
    return _Session(run, options, init, data, images, language_model, progress)


@dataclass(frozen=True)
class _Session:
    """The trainings of one run: they share the options, the data and the language model.

    Attributes:
        run: the run folder.
        options: of the run.
        init: the model that the student and the control start from; a preset with random weights if None.
        data: training and validation lines.
        images: lines without labels, for the student alone.
        language_model: helps the student alone.
        progress: is called at every step and validation.
    """

    run: Path
    options: DistillOptions
    init: Path | None
    data: "TrainingData"
    images: "EncodedLines | None"
    language_model: Any
    progress: "TrainProgress | None"

    def train_teacher(self) -> "FitResult":
        """Trains a tiny teacher, for runs without `--teacher`."""
        return self._fit("teacher", TINY_TEACHER, self.options.train)

    def train_student(self, teacher: Path) -> "FitResult":
        """Trains the student with the help of a teacher and, if there is one, of the language model."""
        from htrcompress.models.base import fuse
        from htrcompress.models.charset_transfer import set_charset
        from htrcompress.models.serialization import load_model

        network, card = load_model(teacher)
        set_charset(network, card.characters(), self.data.charset, trainable=False)
        fuse(network)
        digest = sha256(teacher.read_bytes()).hexdigest()[:16]
        entries: dict[str, Any] = {"teacher": {"name": card.name, "data": card.data.get("name"), "file": digest}}
        entries["distill"] = asdict(self.options.distill)
        if self.images and self.options.unlabelled:
            folder = self.options.unlabelled.resolve().name
            entries["unlabelled"] = {"name": folder, "lines": len(self.images.texts)}
        return self._fit("student", self.options.preset, self.options.train, network, entries)

    def train_control(self, steps: int) -> "FitResult":
        """Trains the student alone, for as many steps as with the teacher."""
        return self._fit("control", self.options.preset, replace(self.options.train, epochs=None, steps=steps))

    def _network(self, role: str, preset: str) -> "tuple[LineRecognizer, dict[str, Any]]":
        """A network before training, and what its card says about where it comes from."""
        from htrcompress import models
        from htrcompress.models.charset_transfer import set_charset
        from htrcompress.models.serialization import load_model

        if self.init is None or role == "teacher":
            return models.create(preset, self.data.charset.classes), {"preset": preset}
        network, card = load_model(self.init)
        set_charset(network, card.characters(), self.data.charset, trainable=True)
        return network, {"init": {"name": card.name, "data": card.data.get("name"), "training": card.training}}

    def _fit(
        self,
        role: str,
        preset: str,
        config: TrainConfig,
        teacher: "LineRecognizer | None" = None,
        entries: Mapping[str, Any] = {},
    ) -> "FitResult":
        """Trains one network; with a teacher, with all that helps the student."""
        import torch

        from htrcompress.compression.distillation import DistillationLoss
        from htrcompress.models import preset_of
        from htrcompress.training.objective import (
            LANGUAGE_MODEL_MEMORY,
            build_objective,
            card_entries,
            language_model_loss,
            parameter_summary,
        )
        from htrcompress.training.trainer import Trainer

        options, data = self.options, self.data
        torch.manual_seed(config.seed)
        network, origin = self._network(role, preset)
        config = config.for_preset(preset_of(network))
        logger.info("%s", parameter_summary(role, network))
        language_model, images = (self.language_model, self.images) if teacher else (None, None)
        language = language_model_loss(network, data.charset, options.aux, language_model, options.lm)
        divergence = DistillationLoss(teacher, network, options.distill) if teacher else None
        helped = card_entries(options.aux, options.llm, options.lm) if teacher else card_entries(options.aux)
        card = data.card(role, network, {**origin, "seed": config.seed, **entries, **helped})
        fit = Trainer(
            build_objective(network, data.charset, options.aux, distill=divergence, language=language),
            card,
            data.train.joined(images) if images else data.train,
            data.valid,
            self.run / f"{role}.safetensors",
            config,
            options.augment,
            self.progress,
            LANGUAGE_MODEL_MEMORY if language else (),
        ).fit()
        if language:
            logger.info("%s", language.costs())
        return fit


def distill_command(options: DistillOptions, given: frozenset[str]) -> DistillResult:
    """`distill` with a progress bar."""
    from htrcompress.training.progress import ProgressBar

    return distill(options, given, ProgressBar(console))


if __name__ == "__main__":
    run_command(distill_command)
