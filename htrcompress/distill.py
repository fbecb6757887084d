"""Distils a small student from a teacher: `python -m htrcompress.distill --data DIR --teacher T`.

The run folder gets `student.safetensors` and, unless it is switched off, `control.safetensors`: the same
student trained alone for the same steps from the same start, so that the gain is a measured one. The teacher
lies beside them. Without `--teacher` a tiny one is trained first.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import runs
from htrcompress.cli import console, run_command
from htrcompress.config import (
    NONE,
    AugmentConfig,
    AuxConfig,
    DistillConfig,
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
    from htrcompress.card import Card
    from htrcompress.models.base import LineRecognizer
    from htrcompress.training.trainer import FitResult

TINY, TINY_STUDENT = "tiny-teacher", "tiny-student"


@dataclass(frozen=True)
class DistillResult:
    """What `distill` made.

    Attributes:
        run: the run folder.
        models: role to CER on validation, steps and seconds.
    """

    run: Path
    models: dict[str, Any]

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("model", "valid CER %", "steps", "seconds", title=str(self.run))
        for role, row in self.models.items():
            table.add_row(role, f"{100 * row['cer']:.2f}", str(row["steps"]), f"{row['seconds']:.0f}")
        return table


def distill_student(
    data: str = "synthetic",
    teacher: Path | None = None,
    model: str | None = None,
    control: bool = True,
    unlabelled: Path | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    llm: str = NONE,
    train: TrainConfig = TrainConfig(),
    augment: AugmentConfig | None = AugmentConfig(),
    distill: DistillConfig = DistillConfig(),
    aux: AuxConfig = AuxConfig(),
    lm: LlmConfig = LlmConfig(),
    read: ReadConfig = ReadConfig(),
) -> DistillResult:
    """Trains a student with a teacher's help, and the same student without it.

    Args:
        data: a dataset's folder, several with commas between, or `synthetic` for the built-in data.
        teacher: a model file or the run folder that holds it; if not given, a tiny one is trained first.
        model: the student's size; student for a teacher given, tiny-student otherwise.
        control: train the control as well, on the labelled lines alone.
        unlabelled: a folder of line images without text, which the student learns to read as the teacher does.
        out: the run folder; `runs/<time>-distill` if not given.
        resume: a run folder to go on with, under the options that it was started with.
        llm: a causal language model that helps the student in training alone: a name on its hub, a folder or a
            GGUF file. The control does without.
        train: how to train.
        augment: how to vary the training lines; `null` for not at all.
        distill: what the student learns from the teacher.
        aux: CTC at other places than the end, for the control as well.
        lm: how the language model helps.
        read: how to read texts where a dataset's format leaves a choice.

    Raises:
        HtrError: the data, the teacher, the language model, an option or the checkpoint is unusable.
    """
    if unlabelled and not distill.weight:
        raise HtrError("--unlabelled lines teach nothing with --distill.weight 0: leave one of the two out")
    require_name(llm)
    if not resume:  # what is left out there is known from the run
        require_use(aux, llm, lm)
    options: dict[str, Any] = {"data": data, "teacher": teacher, "model": model, "control": control}
    options |= {"unlabelled": unlabelled, "llm": llm, "train": train, "augment": augment, "distill": distill}
    options |= {"aux": aux, "lm": lm, "read": read}
    run, options = runs.start("distill", distill_student, out, resume, options)
    return DistillResult(run, _distill(run, **options))


def _distill(
    run: Path,
    data: str,
    teacher: Path | None,
    model: str | None,
    control: bool,
    unlabelled: Path | None,
    llm: str,
    train: TrainConfig,
    augment: AugmentConfig | None,
    distill: DistillConfig,
    aux: AuxConfig,
    lm: LlmConfig,
    read: ReadConfig,
) -> dict[str, Any]:
    import torch

    from htrcompress import models
    from htrcompress.compression.distillation import DistillationLoss
    from htrcompress.models.base import fuse
    from htrcompress.models.charset_transfer import common_charset, set_charset
    from htrcompress.models.serialization import load_card, load_model
    from htrcompress.training.data import open_images, open_training_data
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

    student = model or ("student" if teacher else TINY_STUDENT)
    height = models.preset(student).height
    path = run / "teacher.safetensors"
    taught = None
    if teacher is not None:
        source = path if path.is_file() else runs.model(teacher, "teacher")  # a run goes on with its own copy
        card = load_card(source)
        _check_fit(card, height, models.STRIDE, source)
        taught = card.characters()
    corpus = open_training_data(
        data, height, train, read, lambda lines: common_charset(taught, lines) if taught else lines
    )
    console.print(corpus.summary())
    images = open_images(unlabelled, height) if unlabelled else None
    torch.manual_seed(train.seed)
    language_model = open_language_model(llm, lm, train.precision, corpus.train.texts)
    if teacher is not None and source != path and not machine.rank():
        write_atomic(path, source.read_bytes())  # not before all is known to be usable

    def fit(
        role: str, preset: str, config: TrainConfig, teach: "LineRecognizer | None" = None, **training: Any
    ) -> "FitResult":
        torch.manual_seed(config.seed)
        network = models.create(preset, corpus.charset.classes)
        card = corpus.card(role, network, {"preset": preset, "seed": config.seed, **training})
        console.print(parameter_summary(role, network))
        language = language_model_loss(network, corpus.charset, aux, language_model if teach else None, lm)
        kd = DistillationLoss(teach, network, distill) if teach else None
        objective = build_objective(network, corpus.charset, aux, distill=kd, language=language)
        lines = corpus.train.joined(images) if images and teach else corpus.train
        target, progress = run / f"{role}.safetensors", ProgressBar(console)
        advice = LANGUAGE_MODEL_MEMORY if language else ()
        result = Trainer(objective, card, lines, corpus.valid, target, config, augment, progress, advice).fit()
        if language:
            console.print(language.costs())
        return result

    results = {}
    if teacher is None:
        results["teacher"] = fit("teacher", TINY, train.filled(TINY), **card_entries(aux))
        source = path
    network, card = load_model(source)
    set_charset(network, card.characters(), corpus.charset, trainable=False)
    fuse(network)
    digest = sha256(source.read_bytes()).hexdigest()[:16]
    origin = {"name": card.name, "data": card.data.get("name"), "file": digest}
    lesson: dict[str, Any] = {"teacher": origin, "distill": vars(distill), **card_entries(aux, llm, lm)}
    if unlabelled and images:
        lesson["unlabelled"] = {"name": unlabelled.resolve().name, "lines": len(images.texts)}
    config = train.filled(student)
    results["student"] = fit("student", student, config, network, **lesson)
    if control:
        alone = replace(config, epochs=None, steps=results["student"].steps)
        results["control"] = fit("control", student, alone, **card_entries(aux))
    return {role: {"cer": r.cer, "steps": r.steps, "seconds": r.seconds, "path": r.path} for role, r in results.items()}


def _check_fit(card: "Card", height: int, stride: int, path: Path) -> None:
    """A student can only follow a teacher that sees the same pixels in the same frames."""
    if (card.height, card.stride) != (height, stride):
        raise HtrError(
            f"the teacher {path} reads lines of height {card.height} with stride {card.stride}, the student of "
            f"height {height} with stride {stride}: choose another --model"
        )


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(distill_student)
