"""What training minimises: CTC, at the end and behind intermediate layers, and what a teacher's frames teach.

An objective is a module that holds the network (so that it can be wrapped for several processes) and its lessons,
which share one pass of the network. All return *sums with their counts*: the loop divides by the counts of the whole
batch over all processes. `llm.py` has the lesson of a language model, `lessons.py` puts an objective together.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.charset import BLANK
from htrcompress.config import AuxConfig, DistillConfig
from htrcompress.data.batching import Batch
from htrcompress.models.base import LineRecognizer
from htrcompress.models.layers import LayerNorm, column_mask

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


@dataclass(frozen=True)
class Pass:
    """What one pass of the network over a batch gave.

    Attributes:
        batch: the lines.
        layers: what every layer of the sequence part gave, (B, T, D) each.
        frames: int64 (B,).
        logits: FP32 (B, T, C).
    """

    batch: Batch
    layers: list[Tensor]
    frames: Tensor
    logits: Tensor


class Objective(nn.Module):
    """CTC and other lessons: `batch -> terms`.

    Args:
        model: a network of this package; the only part that becomes an artefact.
        shortcut: weight of CTC at the network's shortcut, if it has one.
        lessons: by name, modules that make `Terms` of a `Pass`; what they learn themselves is part of the state.
    """

    def __init__(self, model: LineRecognizer, shortcut: float = AuxConfig.shortcut, **lessons: nn.Module):
        super().__init__()
        self.model = model
        self.shortcut = shortcut
        self.lessons = nn.ModuleDict(lessons)

    def forward(self, batch: Batch) -> Terms:
        encoding = self.model.encode(batch.pixels, batch.widths)
        layers, frames = encoding.layers, encoding.frames
        logits = self.model.classify(layers[-1])
        terms: Terms = {"ctc": (*ctc(logits, frames, batch), 1.0)}
        early = self.model.shortcut_logits(encoding)
        if early is not None:
            terms["shortcut"] = (*ctc(early, frames, batch), self.shortcut)
        for lesson in self.lessons.values():
            terms |= lesson(Pass(batch, layers, frames, logits))
        return terms

    def save(self, folder: Path) -> None:
        """Writes what lessons have learnt and want to keep beside the model."""
        for lesson in self.lessons.values():
            if hasattr(lesson, "save"):
                lesson.save(folder)  # type: ignore[operator]

    def identity(self) -> dict[str, Any]:
        """What lessons hold that is in no checkpoint and must be the same for a run to go on, by the lesson's name."""
        return {name: lesson.identity() for name, lesson in self.lessons.items() if hasattr(lesson, "identity")}  # type: ignore[operator]

    def shrinkable(self) -> str:
        """Options of the lessons that memory depends on, to go on a sentence with."""
        return "".join(getattr(lesson, "shrinkable", "") for lesson in self.lessons.values())


class WithFrozen(nn.Module):
    """Holds a frozen network that is no part of its state and of no optimiser, yet goes where it goes."""

    def __init__(self, frozen: nn.Module):
        super().__init__()
        self._frozen = (frozen.eval().requires_grad_(False),)  # a tuple hides it

    def __deepcopy__(self, memo: dict[int, Any]) -> "WithFrozen":
        """A copy of what learns, beside the same frozen network."""
        memo[id(self.frozen)] = self.frozen
        copied = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__dict__, memo))
        return copied

    @property
    def frozen(self) -> Any:
        """The frozen network."""
        return self._frozen[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "WithFrozen":
        """Takes it along to another device, say."""
        self.frozen._apply(fn)
        return super()._apply(fn, recurse)


class Distillation(WithFrozen):
    """The teacher's word. The teacher's frames are the student's, its labels too."""

    def __init__(self, teacher: LineRecognizer, dim: int, config: DistillConfig):
        super().__init__(teacher)
        self.config = config
        self.project = nn.Linear(dim, self.frozen.layer_dims[-1]) if config.features else None

    def forward(self, seen: Pass) -> Terms:
        frames, terms = seen.frames, Terms()
        with torch.no_grad():
            layers = self.frozen.encode(seen.batch.pixels, seen.batch.widths).layers
            wanted = self.frozen.classify(layers[-1])
        if self.config.weight:
            if self.config.frames == "spikes":
                selected = spike_frames(wanted, frames, self.config.blanks)
            else:
                selected = column_mask(frames, wanted.shape[1])
            terms["kd"] = (*divergence(seen.logits, wanted, selected, self.config.temperature), self.config.weight)
        if self.project is not None:
            distance = self._feature_distance(seen.layers[-1], layers[-1], frames)
            terms["features"] = (*distance, self.config.features)
        return terms

    def _feature_distance(self, features: Tensor, wanted: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared difference of normalised features, summed over valid frames, and their number."""
        valid = column_mask(frames, features.shape[1])
        assert self.project is not None
        one = F.layer_norm(self.project(features[valid]).float(), wanted.shape[2:])
        other = F.layer_norm(wanted[valid].float(), wanted.shape[2:])
        return (one - other).square().mean(1).sum(), valid.sum()


class IntermediateCtc(nn.Module):
    """CTC behind intermediate layers (Lee & Watanabe 2021, arXiv 2102.03216), each with a small head of its own."""

    def __init__(self, dims: Sequence[int], layers: Sequence[int], classes: int, weight: float):
        super().__init__()
        self.layers, self.weight = tuple(layers), weight
        self.heads = nn.ModuleList(nn.Sequential(LayerNorm(dims[i]), nn.Linear(dims[i], classes)) for i in layers)

    def forward(self, seen: Pass) -> Terms:
        pairs = zip(self.heads, self.layers, strict=True)
        losses = [ctc(head(seen.layers[i]), seen.frames, seen.batch) for head, i in pairs]
        return {"intermediate": (sum(v for v, _ in losses), sum(n for _, n in losses), self.weight)}  # type: ignore[dict-item]
