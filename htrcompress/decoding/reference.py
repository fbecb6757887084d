"""CTC outside the network: what can be emitted, and greedy decoding, the oracle for every decoder.

`greedy` is plain NumPy and slow on purpose: the decode inside exported graphs, and the one in CUDA, are
tested against it.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import BLANK


def frames_needed(labels: Sequence[int]) -> int:
    """The fewest frames that can emit the labels: one each, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def greedy(
    logits: NDArray[np.floating], frames: NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Best label of every frame, repeats collapsed, blanks dropped. Ties go to the lowest label.

    Args:
        logits: (B, T, C), not normalised.
        frames: valid frames of each row, (B,); what lies beyond them is ignored.

    Returns:
        labels int32 (B, T) padded with -1, lengths int32 (B,), and score float32 (B,): the mean over the
        emitted labels of the log-probability at their first frame, -inf where nothing is emitted.
    """
    batch, steps, _ = logits.shape
    labels = np.full((batch, steps), -1, np.int32)
    lengths = np.zeros(batch, np.int32)
    scores = np.full(batch, -np.inf, np.float32)
    for row in range(batch):
        valid = logits[row, : frames[row]].astype(np.float32)
        best = valid.argmax(1)
        before = np.concatenate(([BLANK], best[:-1]))
        first = np.flatnonzero((best != BLANK) & (best != before))
        if len(first) == 0:
            continue
        picked = valid[first]
        peak = picked.max(1)
        log_probability = -np.log(np.exp(picked - peak[:, None]).sum(1))
        labels[row, : len(first)] = best[first]
        lengths[row] = len(first)
        scores[row] = log_probability.mean()
    return labels, lengths, scores
