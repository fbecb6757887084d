"""Makes a trained model smaller: `python -m htrcompress.prune --model MODEL --data DIR --flops 0.5`.

A compression pass (`compression.PASSES`) makes the network smaller; then the smaller network is trained with the larger
one as its teacher, as `distill` does it. The result is an ordinary model file with its own sizes and the characters of
the larger model, which learns others with `train --init` before it is pruned.
"""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import run_start, runs
from htrcompress.cli import console, run_command
from htrcompress.config import AugmentConfig, DistillConfig, TrainConfig
from htrcompress.data.readers import ReadConfig
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from htrcompress.card import Card
    from htrcompress.compression import CompressionPass, Target
    from htrcompress.models import LineRecognizer
    from htrcompress.training.data import TrainingData
    from htrcompress.training.progress import TrainProgress

logger = logging.getLogger("htrcompress.prune")  # as a command, the module is called __main__


@dataclass(frozen=True)
class PruneOptions:
    """Makes a trained model smaller, then trains the smaller one with the larger one as its teacher."""

    model: Path | None = None
    """The trained file, or a run folder; the student of the newest run if not given."""
    data: str | None = None
    """A dataset's folder, or `synthetic`; the data that the model was trained on if not given."""
    flops: float | None = None
    """The share of its multiplications that stays, such as 0.5."""
    params: float | None = None
    """The share of its parameters that stays, instead of --flops."""
    out: Path | None = None
    """The run folder; `runs/<time>-prune` if not given."""
    resume: Path | None = None
    """A run folder to continue, with the options that it was started with."""
    train: TrainConfig = TrainConfig()
    """how to train the smaller network"""
    augment: AugmentConfig | None = AugmentConfig()
    """how to vary the training lines; `null` for not at all"""
    distill: DistillConfig = DistillConfig()
    """what the smaller network learns from the larger one"""
    read: ReadConfig = ReadConfig()
    """how to read texts where a dataset's format leaves a choice"""

    def __post_init__(self) -> None:
        if self.resume is None and (self.flops is None) == (self.params is None):
            raise HtrError("give --flops or --params, one of the two: the share that stays, such as --flops 0.5")
        if self.train.keep and self.resume is None:
            raise HtrError("--train.keep is for trainings with --init, which a pruned network has not: leave it out")
        for name, share in (("flops", self.flops), ("params", self.params)):
            if share is not None and not 0 < share < 1:
                raise HtrError(f"--{name} must be between 0 and 1, and is {share}")

    @property
    def target(self) -> "Target":
        """How small the network has to become."""
        from htrcompress.compression import Target

        return Target("params", self.params or 0.0) if self.flops is None else Target("flops", self.flops)


@dataclass(frozen=True)
class PruneResult:
    """The result of `prune`; the first of each pair is before, the second after.

    Attributes:
        run: the run folder.
        path: the smaller model's file.
        flops: floating-point operations for a line of 512 pixels.
        parameters: number of trained parameters.
        cer: on validation, fractions: of the larger model, right after the pass, and after training.
    """

    run: Path
    path: Path
    flops: tuple[int, int]
    parameters: tuple[int, int]
    cer: tuple[float, float, float]

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("", "GFLOP a line of 512 px", "parameters", "valid CER %", title=str(self.path))
        before, cut, after = (f"{100 * value:.2f}" for value in self.cer)
        for place, (name, cer) in enumerate((("before", before), ("pruned", f"{cut}, trained {after}"))):
            table.add_row(name, f"{self.flops[place] / 1e9:.3f}", f"{self.parameters[place] / 1e6:.2f} M", cer)
        return table


def prune(
    options: PruneOptions, given: frozenset[str] = frozenset(), progress: "TrainProgress | None" = None
) -> PruneResult:
    """Makes a trained model smaller, then trains the smaller one with the larger one as its teacher.

    Args:
        options: see `PruneOptions`.
        given: names of the options that the user typed, for `--resume`.
        progress: is called at every step and validation.

    Raises:
        HtrError: the model or the data cannot be used, the target cannot be reached, or the checkpoint is unusable.
    """
    if options.resume is None:
        options = _resolved(options)
    run, options = run_start.start("prune", options, given)
    import torch

    from htrcompress.compression import pass_for
    from htrcompress.compression.distillation import DistillationLoss
    from htrcompress.training.objective import build_objective
    from htrcompress.training.optim import accelerator
    from htrcompress.training.trainer import Trainer
    from htrcompress.training.validation import validate

    whole, card, data = _open(run, options)
    torch.manual_seed(options.train.seed)
    chosen, device = pass_for(whole, str(options.model)), accelerator(options.train).device
    teacher = chosen.prepare(whole.to(device)).eval()
    small = _smaller(run, options, chosen, teacher, data).to(device)
    entries = {"pruned": {"name": card.name, "training": card.training}, "seed": options.train.seed}
    own = data.card("pruned", small, {**entries, "distill": asdict(options.distill)})
    _keep_start(run, small, own)
    before, cut = (validate(network, data.valid, data.charset).cer for network in (teacher, small))
    logger.info("valid CER %.2f %% before and %.2f %% right after pruning", 100 * before, 100 * cut)
    flops = chosen.cost(teacher, "flops"), chosen.cost(small, "flops")
    parameters = chosen.cost(teacher, "params"), chosen.cost(small, "params")
    fit = Trainer(
        build_objective(small, data.charset, distill=DistillationLoss(teacher, small, options.distill)),
        own,
        data.train,
        data.valid,
        run / "pruned.safetensors",
        options.train.for_preset(None),
        options.augment,
        progress,
    ).fit()
    assert fit.cer is not None  # there are validation lines
    return PruneResult(run, fit.path, flops, parameters, (before, cut, fit.cer))


def _resolved(options: PruneOptions) -> PruneOptions:
    """The options with the model and the data found that they leave open.

    Raises:
        HtrError: the model cannot be read or cannot reach the target, or its data is not here.
    """
    from htrcompress.compression import pass_for
    from htrcompress.models.serialization import load_model

    file = runs.model(options.model)
    network, card = load_model(file)
    pass_for(network, str(file)).check(network, options.target)
    data = runs.own_data(file, card) if options.data is None else options.data
    return replace(options, model=file, data=data)


def _open(run: Path, options: PruneOptions) -> "tuple[LineRecognizer, Card, TrainingData]":
    """The larger network, its card and the data; the run keeps a copy of the model, which it uses when resumed."""
    from htrcompress.models.serialization import load_model
    from htrcompress.training.data import open_training_data

    assert options.model is not None and options.data is not None
    kept = run / "teacher.safetensors"
    source = kept if kept.is_file() else options.model
    network, card = load_model(source)
    charset = card.characters()
    data = open_training_data(options.data, card.height, options.train, options.read, lambda _: charset)
    logger.info("%s", data.summary())
    if source != kept and not machine.rank():  # only now is everything known to be usable
        write_atomic(kept, source.read_bytes())
    return network, card, data


def _start_file(run: Path) -> Path:
    return run / "init" / "pruned.safetensors"


def _smaller(
    run: Path, options: PruneOptions, chosen: "CompressionPass", teacher: "LineRecognizer", data: "TrainingData"
) -> "LineRecognizer":
    """The network at its target size; a resumed run has it in a file, since another machine may choose other sizes."""
    from htrcompress.compression.batch_losses import TrainingBatchLosses
    from htrcompress.models.serialization import load_model

    if _start_file(run).is_file():
        return load_model(_start_file(run))[0].eval()
    losses = TrainingBatchLosses(data.train, options.train.seed)
    return chosen.apply(teacher, options.target, losses).eval()


def _keep_start(run: Path, network: "LineRecognizer", card: "Card") -> None:
    from htrcompress.models.serialization import save_model

    if not machine.rank() and not _start_file(run).is_file():
        save_model(_start_file(run), network, card)


def prune_command(options: PruneOptions, given: frozenset[str]) -> PruneResult:
    """`prune` with a progress bar."""
    from htrcompress.training.progress import ProgressBar

    return prune(options, given, ProgressBar(console))


if __name__ == "__main__":
    run_command(prune_command)
