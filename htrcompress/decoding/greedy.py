"""Greedy CTC decoding in PyTorch, with operators that every runtime has; this is what exports carry inside.

Equal to `htrcompress.decoding.reference.greedy`, the NumPy oracle, for any batch and length. No scan, scatter or
data-dependent shape: the emitted frames are brought to the front by a TopK over distinct integer keys.
"""

import torch
from torch import Tensor

from htrcompress.charset import BLANK


def greedy(logits: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Best label of every frame, repeats collapsed, blanks dropped. Ties go to the lowest label.

    Args:
        logits: (B, T, C) floating point, not normalised.
        frames: valid frames of each row, (B,) integers; what lies beyond them is ignored, whatever it is.

    Returns:
        labels int32 (B, T) padded with -1, lengths int32 (B,), and score float32 (B,): the mean over the
        emitted labels of the log-probability at their first frame, -inf where nothing is emitted.
    """
    logits = logits.float()
    steps, classes = logits.shape[1:]
    peak = logits.amax(2, keepdim=True)
    best = _lowest_label(logits == peak, classes)
    positions = torch.arange(steps, dtype=torch.int32, device=logits.device)
    before = torch.cat((torch.full_like(best[:, :1], BLANK), best), 1)[:, :steps]
    first = (best != BLANK) & (best != before) & (positions < frames.int().unsqueeze(1))

    lengths = first.int().sum(1, dtype=torch.int32)
    order = torch.topk(torch.where(first, -positions, -positions - steps), steps, dim=1).indices
    emitted = torch.gather(best, 1, order)
    labels = torch.where(positions < lengths.unsqueeze(1), emitted, -1)

    # `where`, not a product: beyond the frames there may be NaN
    log_probability = torch.where(first, -(logits - peak).exp().sum(2).log(), 0.0)
    score = log_probability.sum(1) / lengths.clamp(min=1).float()
    return labels, lengths, torch.where(lengths > 0, score, -torch.inf)


def _lowest_label(peaks: Tensor, classes: int) -> Tensor:
    """The first true entry of (B, T, C) bool, as int32 (B, T).

    Spelt out because no runtime but ONNX Runtime promises the order of ties in ArgMax, and half-precision
    logits do tie. A row of NaN has no true entry and gives the last label, which is still in the charset.
    """
    numbers = torch.arange(classes, dtype=torch.int32, device=peaks.device)
    return torch.where(peaks, numbers, classes - 1).amin(2).int()
