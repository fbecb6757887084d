"""Makes a trained model smaller: `python -m htrcompress.prune --model MODEL --data DIR --flops 0.5`.

Channels are removed where they matter least for what they cost (`pruning.py`), in several rounds; then the smaller
network learns from the one it came from, as `distill` does it. The result is an ordinary model file with its own sizes.
"""

from collections.abc import Callable, Iterator
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
    from torch import Tensor, nn

    from htrcompress.training.data import TrainingData

ROUNDS = 4
"""Importance is measured anew so often on the way to the target."""
BATCHES = 24
"""Batches that it is measured on, each time."""
BATCH = 16


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
        _refuse(options["model"], flops, params)
    run, options = runs.start("prune", prune_model, out, resume, options)
    return _prune(run, **options)


def _refuse(model: Path, flops: float | None, params: float | None) -> None:
    """Raises HtrError where the model cannot shrink so far, before a run is started."""
    from htrcompress.compression import pruning
    from htrcompress.models.gated import GatedRecognizer
    from htrcompress.models.serialization import load_model

    network, card = load_model(model)
    if not isinstance(network, GatedRecognizer):
        raise HtrError(f"{model} is recurrent, and channels are pruned from convolutional models alone: distil it")
    cost, share = _cost(flops, card.characters().classes), flops or params or 0.0
    left = cost(pruning.least(network.config)) / cost(network.config)
    if left > share:
        raise HtrError(
            f"{model} cannot shrink to {share:.1%}: at least {pruning.FLOOR:.0%} of every layer stays, which leaves "
            f"{left:.1%}; ask for more, or train a smaller --model"
        )


def _cost(flops: float | None, classes: int) -> Callable[[Any], int]:
    """What is to shrink, for a network of given sizes."""
    from htrcompress.compression import pruning

    return pruning.multiplications if flops is not None else lambda config: pruning.parameters(config, classes)


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

    from htrcompress.compression import pruning
    from htrcompress.data.readers.open import default_data
    from htrcompress.models.charset_transfer import common_charset, set_charset
    from htrcompress.models.serialization import load_model
    from htrcompress.training.data import open_training_data
    from htrcompress.training.losses import Distillation, Objective
    from htrcompress.training.optim import accelerator
    from htrcompress.training.trainer import Trainer
    from htrcompress.training.validation import validate

    teacher_file = run / "teacher.safetensors"
    whole, card = load_model(teacher_file if teacher_file.is_file() else model)
    if not teacher_file.is_file() and not machine.rank():
        write_atomic(teacher_file, model.read_bytes())
    known = card.characters()
    corpus = open_training_data(
        data or default_data(card), card.height, train, read, lambda c: common_charset(known, c)
    )
    console.print(corpus.summary())
    set_charset(whole, known, corpus.charset, trainable=False)
    torch.manual_seed(train.seed)
    teacher = pruning.plain(whole)  # type: ignore[arg-type]  # see _refuse
    small = _smaller(teacher, corpus, flops, params, train.seed)

    sizes = [(network.config, corpus.charset.classes) for network in (teacher, small)]
    devices = accelerator(train)
    before, cut = (validate(n, corpus.valid, corpus.charset, devices).cer for n in (teacher.eval(), small.eval()))
    console.print(f"valid CER {100 * before:.2f} % before and {100 * cut:.2f} % right after pruning")
    training = {"pruned": {"name": card.name, "training": card.training}, "seed": train.seed, "distill": vars(distill)}
    own = corpus.card("pruned", small, training)
    objective = Objective(small, distill=Distillation(teacher, small.config.dim, distill))
    path = run / "pruned.safetensors"
    fit = Trainer(objective, own, corpus.train, corpus.valid, path, train.filled("pruned"), augment).fit()
    work = tuple(2 * pruning.multiplications(config) for config, _ in sizes)
    numbers = tuple(pruning.parameters(config, classes) for config, classes in sizes)
    return PruneResult(run, path, work, numbers, (before, cut, fit.cer))  # type: ignore[arg-type]


def _smaller(teacher: Any, corpus: "TrainingData", flops: float | None, params: float | None, seed: int) -> Any:
    """The network at its target size, channel importance measured anew in every round."""
    import torch

    from htrcompress.compression import pruning

    cost, share = _cost(flops, corpus.charset.classes), flops or params or 0.0
    first, network = cost(teacher.config), teacher
    for number in range(1, ROUNDS + 1):
        torch.manual_seed(seed)
        scores = pruning.importance(network, _losses(network, corpus, seed + number))
        target = first * (1 - (1 - share) * number / ROUNDS)
        config = pruning.choose(teacher.config, network.config, scores, cost, target)
        network = pruning.shrink(network, scores, config)
    return network


def _losses(network: "nn.Module", corpus: "TrainingData", seed: int) -> Iterator["Tensor"]:
    """CTC losses of a few training batches."""
    from htrcompress.data.batching import epoch_order
    from htrcompress.training.losses import ctc

    network.eval()
    for indices in epoch_order(corpus.train.widths, BATCH, seed, 0)[:BATCHES]:
        batch = corpus.train.batch(indices)
        logits, frames = network(batch.pixels, batch.widths)
        total, count = ctc(logits, frames, batch)
        yield total / count


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(prune_model)
