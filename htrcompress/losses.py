"""What training minimises: CTC, and what a student learns from a teacher's frames.

An objective is a module that holds the network (so that it can be wrapped for several processes) and
returns *sums with their counts*: the loop divides by the counts of the whole batch over all processes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.charset import BLANK
from htrcompress.config import DistillConfig
from htrcompress.data.batches import Batch
from htrcompress.models.blocks import column_mask

Terms = dict[str, tuple[Tensor, Tensor, float]]
"""Name to (sum, count, weight)."""


def ctc(logits: Tensor, frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """CTC loss (Graves et al. 2006): sum over the lines in nats, and the number of their characters.

    Lines that CTC cannot emit have been counted and left out before training; one that augmentation
    cannot help is an error here, not a silent zero. Lines without labels are unlabelled ones and do not count.
    """
    log_probabilities = logits.float().log_softmax(2).transpose(0, 1)
    losses = F.ctc_loss(log_probabilities, batch.targets, frames, batch.target_lengths, blank=BLANK, reduction="none")
    return losses[batch.target_lengths > 0].sum(), batch.target_lengths.sum()


def spike_frames(teacher: Tensor, frames: Tensor, blanks: int) -> Tensor:
    """Frames on which the teacher emits a character, and `blanks` neighbours on both sides.

    Symmetric selection as in Hilmes et al. (Interspeech 2025, arXiv 2506.01503): blank frames elsewhere
    would outnumber and drown the characters. Logits (B, T, C), frames (B,), to bool (B, T).
    """
    valid = column_mask(frames, teacher.shape[1])
    spikes = ((teacher.argmax(2) != BLANK) & valid).float()
    near = F.max_pool1d(spikes.unsqueeze(1), 2 * blanks + 1, stride=1, padding=blanks).squeeze(1)
    return (near > 0) & valid


def divergence(student: Tensor, teacher: Tensor, selected: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """KL(teacher ‖ student) at a temperature (Hinton et al. 2015) over selected frames: sum in nats, and count.

    Logits (B, T, C), selected bool (B, T). The sum is multiplied by the temperature's square.
    """
    target = (teacher[selected].float() / temperature).log_softmax(1)
    log_probabilities = (student[selected].float() / temperature).log_softmax(1)
    total = F.kl_div(log_probabilities, target, reduction="sum", log_target=True) * temperature**2
    return total, selected.sum()


class CtcObjective(nn.Module):
    """Plain training: `batch -> terms`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Terms:
        logits, frames = self.model(batch.pixels, batch.widths)
        return {"ctc": (*ctc(logits, frames, batch), 1.0)}


class DistillObjective(nn.Module):
    """CTC and the teacher's word: `batch -> terms`. The teacher is frozen and no part of the module's state."""

    def __init__(self, model: nn.Module, teacher: nn.Module, config: DistillConfig):
        super().__init__()
        self.model = model
        self.config = config
        self._teacher = (teacher.eval().requires_grad_(False),)  # a tuple hides it from state and optimiser
        self.project = (
            nn.Linear(model.config.dim, teacher.config.dim) if config.features else None  # type: ignore[arg-type]
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DistillObjective":
        """Takes the teacher along to another device, say."""
        self._teacher[0]._apply(fn)
        return super()._apply(fn, recurse)

    def forward(self, batch: Batch) -> Terms:
        teacher = self._teacher[0]
        features, frames = self.model.features(batch.pixels, batch.widths)  # type: ignore[operator]
        logits = self.model.classify(features)  # type: ignore[operator]
        with torch.no_grad():
            wanted_features, _ = teacher.features(batch.pixels, batch.widths)  # type: ignore[operator]
            wanted = teacher.classify(wanted_features)  # type: ignore[operator]
        terms: Terms = {"ctc": (*ctc(logits, frames, batch), 1.0)}
        if self.config.weight:
            if self.config.frames == "spikes":
                selected = spike_frames(wanted, frames, self.config.blanks)
            else:
                selected = column_mask(frames, wanted.shape[1])
            terms["kd"] = (*divergence(logits, wanted, selected, self.config.temperature), self.config.weight)
        if self.project is not None:
            terms["features"] = (*self._feature_distance(features, wanted_features, frames), self.config.features)
        return terms

    def _feature_distance(self, features: Tensor, wanted: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared difference of normalised features, summed over valid frames, and their number."""
        valid = column_mask(frames, features.shape[1])
        assert self.project is not None
        one = F.layer_norm(self.project(features[valid]).float(), wanted.shape[2:])
        other = F.layer_norm(wanted[valid].float(), wanted.shape[2:])
        return (one - other).square().mean(1).sum(), valid.sum()
