"""What training minimises: CTC, and the interface of the auxiliary losses that are added to it.

All losses share one forward pass of the network (`ModelOutput`) and return sums with their counts (`LossTerm`): the
trainer divides by the counts of the whole batch over all processes. A new auxiliary loss is one file with a subclass of
`AuxiliaryLoss` and one row in `objective.AUXILIARY_LOSSES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.charset import BLANK
from htrcompress.data.batching import Batch
from htrcompress.models.attention import AttentionDecoder
from htrcompress.models.base import Encoding
from htrcompress.models.layers import LayerNorm


@dataclass(frozen=True)
class LossTerm:
    """One loss on a batch.

    Attributes:
        total: the loss summed over what it counts, an FP32 scalar with a gradient.
        count: how many characters, frames or tokens the sum is over, a scalar.
        weight: factor of `total / count` in the sum that is minimised.
    """

    total: Tensor
    count: Tensor
    weight: float


@dataclass(frozen=True)
class StepLines:
    """The lines of an optimiser step, which several processes may share.

    A loss that reads only some of the lines draws them from `labelled` with `seed`. The processes then draw as one
    process would, without asking one another.

    Attributes:
        seed: changes with every step, and is the same in all processes.
        labelled: for every line of the step, whether it has a transcription.
        rows: places of the batch's own lines among them.
    """

    seed: int
    labelled: Sequence[bool]
    rows: Sequence[int]

    @classmethod
    def of(cls, batch: Batch) -> "StepLines":
        """A batch that is a whole step."""
        labelled = (batch.target_lengths > 0).tolist()
        return cls(0, labelled, range(len(labelled)))


@dataclass(frozen=True)
class ModelOutput:
    """The forward pass of the network over a batch.

    Attributes:
        batch: the lines.
        encoding: the layers of the sequence part, and the frames.
        logits: FP32 (B, T, classes).
        step: the lines of the optimiser step that the batch is a part of.
    """

    batch: Batch
    encoding: Encoding
    logits: Tensor
    step: StepLines

    @property
    def frames(self) -> Tensor:
        """Valid frames of each row, int64 (B,)."""
        return self.encoding.frames


class AuxiliaryLoss(nn.Module, ABC):
    """A loss beside CTC that only training needs. Its own parameters learn with the network and are in checkpoints."""

    @abstractmethod
    def forward(self, output: ModelOutput) -> dict[str, LossTerm]:
        """Terms by the names under which they are logged.

        Every parameter must take part in every batch, with zero weight if need be: several processes wait for the
        gradients of all.
        """

    def save(self, folder: Path) -> None:
        """Writes what has been learned here and shall outlive the training to the folder of the log."""
        return

    def kept_decoder(self) -> AttentionDecoder | None:
        """A decoder that becomes a part of the model's file; None, as by default, where nothing does."""
        return None

    def fingerprint(self) -> dict[str, Any]:
        """What is in no checkpoint and yet must be the same when a stopped training is resumed."""
        return {}


def ctc_loss(logits: Tensor, frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """CTC loss (Graves et al. 2006): sum over the lines in nats, and the number of their characters.

    Lines that CTC cannot emit are removed before training, so one that appears here gives infinity, not a silent zero.
    Lines without labels do not count.

    Args:
        logits: (B, T, C).
        frames: valid frames of each row, int64 (B,).
        batch: the lines with their labels.
    """
    log_probabilities = logits.float().log_softmax(2).transpose(0, 1)
    losses = F.ctc_loss(log_probabilities, batch.targets, frames, batch.target_lengths, blank=BLANK, reduction="none")
    return losses[batch.target_lengths > 0].sum(), batch.target_lengths.sum()


class IntermediateCtc(AuxiliaryLoss):
    """CTC behind intermediate layers (Lee & Watanabe 2021, arXiv 2102.03216), each with its own small output layer.

    Args:
        dims: width of every layer of an `Encoding`.
        layers: indices of the layers to look at.
        classes: number of outputs, the blank included.
        weight: factor of the loss.
    """

    def __init__(self, dims: Sequence[int], layers: Sequence[int], classes: int, weight: float):
        super().__init__()
        self.layers, self.weight = tuple(layers), weight
        self.heads = nn.ModuleList(nn.Sequential(LayerNorm(dims[i]), nn.Linear(dims[i], classes)) for i in layers)

    def forward(self, output: ModelOutput) -> dict[str, LossTerm]:
        total, count = output.logits.new_zeros(()), output.batch.target_lengths.new_zeros(())
        for head, layer in zip(self.heads, self.layers, strict=True):
            value, characters = ctc_loss(head(output.encoding.layers[layer]), output.frames, output.batch)
            total, count = total + value, count + characters
        return {"intermediate": LossTerm(total, count, self.weight)}
