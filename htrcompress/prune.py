"""Makes a trained model smaller: `python -m htrcompress.prune --model MODEL --data DIR --flops 0.5`.

A compression pass (`compression.PASSES`) makes the network smaller; then the smaller network is trained with the larger
one as its teacher, as `distill` does it. The result is an ordinary model file with its own sizes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htrcompress import runs
from htrcompress.cli import console, run_command
from htrcompress.config import AugmentConfig, DistillConfig, TrainConfig
from htrcompress.data.readers import ReadConfig
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from htrcompress.compression import Target


@dataclass(frozen=True)
class PruneResult:
    """What `prune` made; the first of each pair is before, the second after.

    Attributes:
        run: the run folder.
        path: the pruned model's file.
        flops: floating-point operations for a line of 512 pixels.
        parameters: trained numbers.
        cer: on validation, fractions: of the model that was pruned, right after pruning, and after training.
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


def prune_model(
    model: Path | None = None,
    data: str | None = None,
    flops: float | None = None,
    params: float | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    train: TrainConfig = TrainConfig(),
    augment: AugmentConfig | None = AugmentConfig(),
    distill: DistillConfig = DistillConfig(),
    read: ReadConfig = ReadConfig(),
) -> PruneResult:
    """Removes channels from a trained model, then trains what is left with the whole model as its teacher.

    Args:
        model: the trained file, or a run folder; the student of the newest run if not given.
        data: a dataset's folder, or `synthetic`; what the model was trained on if not given.
        flops: the share of its multiplications that stays, such as 0.5.
        params: the share of its parameters that stays, instead of --flops.
        out: the run folder; `runs/<time>-prune` if not given.
        resume: a run folder to go on with, under the options that it was started with.
        train: how to train what is left.
        augment: how to vary the training lines; `null` for not at all.
        distill: what it learns from the whole model.
        read: how to read texts where a dataset's format leaves a choice.

    Raises:
        HtrError: the model or the data cannot be used, the target is no share, or the checkpoint is unusable.
    """
    if resume is None and (flops is None) == (params is None):
        raise HtrError("give --flops or --params, one of the two: the share that stays, such as --flops 0.5")
    for name, share in (("flops", flops), ("params", params)):
        if share is not None and not 0 < share < 1:
            raise HtrError(f"--{name} must lie between 0 and 1, and is {share}")
    options: dict[str, Any] = {"model": model, "data": data, "flops": flops, "params": params}
    options |= {"train": train, "augment": augment, "distill": distill, "read": read}
    if resume is None:
        options["model"] = runs.model(model)  # of the run that is the newest now
        _check(options["model"], _target(flops, params))
    run, options = runs.start("prune", prune_model, out, resume, options)
    return _prune(run, **options)


def _check(model: Path, target: "Target") -> None:
    """Raises HtrError where the model cannot reach the target, before a run is started."""
    from htrcompress.compression import pass_for
    from htrcompress.models.serialization import load_model

    network, _ = load_model(model)
    pass_for(network, str(model)).check(network, target)


def _target(flops: float | None, params: float | None) -> "Target":
    from htrcompress.compression import Target

    return Target("flops", flops) if flops is not None else Target("params", params or 0.0)


def _prune(
    run: Path,
    model: Path,
    data: str | None,
    flops: float | None,
    params: float | None,
    train: TrainConfig,
    augment: AugmentConfig | None,
    distill: DistillConfig,
    read: ReadConfig,
) -> PruneResult:
    import torch

    from htrcompress.charset import Charset
    from htrcompress.compression import pass_for
    from htrcompress.compression.batch_losses import TrainingBatchLosses
    from htrcompress.compression.distillation import DistillationLoss
    from htrcompress.data.readers.open import default_data
    from htrcompress.models.charset_transfer import common_charset, set_charset
    from htrcompress.models.serialization import load_model, save_model
    from htrcompress.training.data import open_training_data
    from htrcompress.training.objective import build_objective
    from htrcompress.training.optim import accelerator
    from htrcompress.training.progress import ProgressBar
    from htrcompress.training.trainer import Trainer
    from htrcompress.training.validation import validate

    teacher_file, start_file = run / "teacher.safetensors", run / "init" / "pruned.safetensors"
    whole, card = load_model(teacher_file if teacher_file.is_file() else model)
    if not teacher_file.is_file() and not machine.rank():
        write_atomic(teacher_file, model.read_bytes())
    known = card.characters()

    def choose(charset: Charset) -> Charset:
        return common_charset(known, charset)

    found = open_training_data(data or default_data(card), card.height, train, read, choose)
    console.print(found.summary())
    set_charset(whole, known, found.charset, trainable=False)
    torch.manual_seed(train.seed)
    devices = accelerator(train)
    chosen = pass_for(whole, str(model))
    teacher = chosen.prepare(whole.to(devices.device)).eval()
    if start_file.is_file():  # scores, and with them the sizes, may differ on another machine
        small = load_model(start_file)[0].to(devices.device)
    else:
        small = chosen.apply(teacher, _target(flops, params), TrainingBatchLosses(found.train, train.seed)).eval()
    training = {"pruned": {"name": card.name, "training": card.training}, "seed": train.seed, "distill": vars(distill)}
    own = found.card("pruned", small, training)
    if not machine.rank():
        save_model(start_file, small, own)
    before, cut = (validate(network, found.valid, found.charset).cer for network in (teacher, small))
    console.print(f"valid CER {100 * before:.2f} % before and {100 * cut:.2f} % right after pruning")
    work = chosen.cost(teacher, "flops"), chosen.cost(small, "flops")
    numbers = chosen.cost(teacher, "params"), chosen.cost(small, "params")
    objective = build_objective(small, found.charset, distill=DistillationLoss(teacher, small, distill))
    path = run / "pruned.safetensors"
    config = train.filled("pruned")
    fit = Trainer(objective, own, found.train, found.valid, path, config, augment, ProgressBar(console)).fit()
    return PruneResult(run, path, work, numbers, (before, cut, fit.cer))


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(prune_model)
