"""Knowledge distillation: a student learns the frames of a teacher (`python -m htrcompress.distill`).

Teacher and student must have the same stride, line height and order of labels, so that frames and classes correspond.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.charset import BLANK
from htrcompress.config import DistillConfig
from htrcompress.models.base import LineRecognizer
from htrcompress.models.layers import column_mask
from htrcompress.training.frozen import FrozenHolder
from htrcompress.training.losses import AuxiliaryLoss, LossTerm, ModelOutput


class DistillationLoss(FrozenHolder, AuxiliaryLoss):
    """Divergence from the teacher's frames, and distance from its last features where the options say so.

    The teacher computes in the arithmetic of the training: in FP32 its forward pass alone took half of a step that
    trains the student in BF16 on a CPU.

    Args:
        teacher: the trained network; it does not learn.
        student: the network that learns.
        config: how the student learns.
    """

    def __init__(self, teacher: LineRecognizer, student: LineRecognizer, config: DistillConfig):
        super().__init__(teacher)
        self.config = config
        dims = student.layer_dims[-1], teacher.layer_dims[-1]
        self.project = nn.Linear(*dims) if config.features else None

    def forward(self, output: ModelOutput) -> dict[str, LossTerm]:
        with torch.no_grad():
            features = self.module.encode(output.batch.pixels, output.batch.widths).layers[-1]
            logits = self.module.classify(features)
        terms = {}
        if self.config.weight:
            if self.config.frames == "spikes":
                selected = spike_frames(logits, output.frames, self.config.blanks)
            else:
                selected = column_mask(output.frames, logits.shape[1])
            terms["kd"] = LossTerm(
                *divergence(output.logits, logits, selected, self.config.temperature), self.config.weight
            )
        if self.project is not None:
            valid = column_mask(output.frames, logits.shape[1])
            projected = self.project(output.encoding.layers[-1][valid])
            terms["features"] = LossTerm(
                feature_distance(projected, features[valid]), valid.sum(), self.config.features
            )
        return terms


def spike_frames(logits: Tensor, frames: Tensor, blanks: int) -> Tensor:
    """Frames on which the teacher emits a character, and `blanks` neighbours on both sides.

    Symmetric selection as in Hilmes et al. (Interspeech 2025, arXiv 2506.01503): the many blank frames elsewhere would
    outweigh the characters.

    Args:
        logits: of the teacher, (B, T, C).
        frames: valid frames of each row, int64 (B,).
        blanks: neighbours on each side.

    Returns:
        bool (B, T).
    """
    valid = column_mask(frames, logits.shape[1])
    spikes = ((logits.argmax(2) != BLANK) & valid).float()
    near = F.max_pool1d(spikes.unsqueeze(1), 2 * blanks + 1, stride=1, padding=blanks).squeeze(1)
    return (near > 0) & valid


def divergence(student: Tensor, teacher: Tensor, selected: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """KL(teacher ‖ student) at a temperature (Hinton et al. 2015) over selected frames: sum in nats, and count.

    Args:
        student: logits (B, T, C).
        teacher: logits (B, T, C).
        selected: bool (B, T).
        temperature: softens both distributions; the sum is multiplied by its square.
    """
    target = (teacher[selected].float() / temperature).log_softmax(1)
    log_probabilities = (student[selected].float() / temperature).log_softmax(1)
    total = F.kl_div(log_probabilities, target, reduction="sum", log_target=True) * temperature**2
    return total, selected.sum()


def feature_distance(projected: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of normalised features, summed over frames. Both (N, D)."""
    one = F.layer_norm(projected.float(), projected.shape[1:])
    other = F.layer_norm(wanted.float(), wanted.shape[1:])
    return (one - other).square().mean(1).sum()
