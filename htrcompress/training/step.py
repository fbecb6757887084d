"""One optimiser step: its seeds, its losses over all processes, and whether they were finite.

Nothing here waits for the device unless its docstring says so.
"""

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor

from htrcompress.training.losses import LossTerm


def step_seed(seed: int, step: int) -> int:
    """Seed of a step, the same in all processes."""
    return seed * 1_000_003 + step


def process_seed(seed: int, rank: int, processes: int) -> int:
    """Seed of a step in one process, for what must differ between them: dropout and augmentation."""
    return seed * processes + rank


class StepLosses:
    """The losses of a step over all processes, still on the device.

    Args:
        names: of the terms.
        means: FP32 (len(names),), each term over its count.
        loss: their weighted sum.
        stop: how many processes were asked to stop.
    """

    def __init__(self, names: list[str], means: Tensor, loss: Tensor, stop: Tensor):
        self.names, self.means, self.loss, self.stop = names, means, loss, stop

    def values(self) -> dict[str, float]:
        """Numbers for the log: `loss`, and every term by its name. Waits for the device."""
        loss, *means = torch.cat((self.loss.unsqueeze(0), self.means)).tolist()
        return {"loss": loss, **dict(zip(self.names, means, strict=True))}

    def stop_requested(self) -> bool:
        """Whether any process was asked to stop. Waits for the device."""
        return bool(self.stop > 0)


def reduce_terms(
    terms: Mapping[str, LossTerm], accelerator: Accelerator, idle: bool, stop: bool
) -> tuple[Tensor, StepLosses]:
    """The loss to minimise, and the losses over all processes, with one exchange between these.

    Args:
        terms: of this process.
        accelerator: knows the processes.
        idle: whether this process has no line of the step; its terms then count nothing.
        stop: whether this process was asked to stop.

    Returns:
        this process's part of the loss, each term over its count in all processes; and the losses for the log.
    """
    share = 0.0 if idle else 1.0
    counts = torch.stack([term.count.detach().float() for term in terms.values()]) * share
    totals = torch.stack([term.total.detach().float() for term in terms.values()]) * share
    everywhere = accelerator.reduce(torch.cat((counts, totals, counts.new_tensor([float(stop)]))), "sum")
    counts, totals = everywhere[: len(terms)].clamp(min=1), everywhere[len(terms) : -1]
    means = totals / counts
    weights = [term.weight for term in terms.values()]
    parts = [term.total * (share * term.weight) / count for term, count in zip(terms.values(), counts, strict=True)]
    loss = torch.stack(parts).sum()
    return loss, StepLosses(list(terms), means, (means * means.new_tensor(weights)).sum(), everywhere[-1])


class FiniteCheck:
    """Remembers the first step whose loss or gradient norm was not finite, on the device.

    Args:
        device: where losses and gradients are.
    """

    def __init__(self, device: torch.device):
        self.bad = torch.full((2,), -1, device=device)  # first step with a bad loss, and with bad gradients

    def note(self, step: int, loss: Tensor, norm: Tensor | None) -> None:
        """Looks at the loss of a step and, unless a gradient scaler looks after it, at the norm of its gradients."""
        finite = torch.stack([loss.isfinite(), (loss if norm is None else norm).isfinite()])
        self.bad = torch.where((self.bad < 0) & ~finite, step, self.bad)

    def first_bad(self) -> tuple[str, int] | None:
        """`loss` or `gradients`, and the first step at which they were not finite. Waits for the device."""
        found = [(step, what) for step, what in zip(self.bad.tolist(), ("loss", "gradients"), strict=True) if step >= 0]
        if not found:
            return None
        step, what = min(found, key=lambda pair: pair[0])
        return what, step
