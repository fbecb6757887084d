"""What CTC says about the beginning of a text, whatever follows: the probability of a prefix.

A decoder that writes character by character asks this of every hypothesis (Watanabe et al. 2017, "Hybrid CTC/attention
architecture for end-to-end speech recognition"). For each prefix the class keeps the probability, after each frame, of
all alignments that have just emitted it, by whether they end in its last character or in a blank. All extensions of a
prefix are scored by one matrix product; only those that are kept are followed through the frames. Probabilities are
float64, scaled for each prefix. Frames beyond a line's own count as certain blanks, and all sums over frames are over a
line's own, so that a line's values do not depend on the lines beside it.
"""

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import BLANK
from htrcompress.decoding.prefixes import probabilities

Numbers = NDArray[np.float64]


class CtcPrefixes:
    """Prefixes of the texts of B lines, K of each; at the start one of each, the empty one.

    Args:
        logits: (B, T, C), not normalised; class 0 is the blank.
        frames: (B,), valid frames of each row.
    """

    def __init__(self, logits: NDArray[np.float32], frames: NDArray[np.integer]):
        lines, steps, _ = logits.shape
        self.frames = frames
        self.probability: Numbers = np.zeros(logits.shape)
        for row, count in enumerate(frames):
            self.probability[row, :count] = probabilities(logits[row, :count])
        beyond = np.arange(steps) >= frames[:, None]
        self.probability[beyond, BLANK] = 1
        self.blanks = np.ascontiguousarray(self.probability[:, :, BLANK].T[:, :, None])
        # (T + 1, B, K): after so many frames
        self.blank: Numbers = np.ones((steps + 1, lines, 1))
        np.cumprod(self.blanks, 0, out=self.blank[1:])
        self.label: Numbers = np.zeros_like(self.blank)
        self.scale: Numbers = np.zeros((lines, 1))
        self.last: NDArray[np.int64] = np.zeros((lines, 1), np.int64)

    def extensions(self) -> Numbers:
        """Log-probabilities of every prefix with one more label, and in column 0 of the prefix as the whole text.

        (B, K, C); -inf where CTC cannot emit it.
        """
        total = self.blank + self.label
        found = np.empty((*self.last.shape, self.probability.shape[2]))
        for row, count in enumerate(self.frames.tolist()):
            probability, last = self.probability[row, :count], self.last[row]
            found[row] = np.ascontiguousarray(total[:count, row].T) @ probability
            # the same character again needs a blank between
            again = (self.blank[:count, row] * probability[:, last]).sum(0)
            found[row, np.arange(len(last)), last] = again
            found[row, :, BLANK] = total[count, row]
        with np.errstate(divide="ignore"):
            return np.log(found) + self.scale[:, :, None]

    def extend(self, parents: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        """Replaces the prefixes by extensions of them: (B, K') places of prefixes, and the labels behind these."""
        row = np.arange(len(parents))[:, None]
        before_blank, before_label = self.blank[:, row, parents], self.label[:, row, parents]
        enters = before_blank + np.where(labels == self.last[row, parents], 0, before_label)
        emitted = np.moveaxis(self.probability[row, :, labels], 2, 0)  # (T, B, K')
        blank, label = np.zeros_like(before_blank), np.zeros_like(before_blank)
        for frame in range(len(emitted)):
            np.add(label[frame], enters[frame], out=label[frame + 1])
            label[frame + 1] *= emitted[frame]
            np.add(blank[frame], label[frame], out=blank[frame + 1])
            blank[frame + 1] *= self.blanks[frame]
        largest = (blank + label).max(0)
        scale = np.where(largest > 0, largest, 1)
        self.blank, self.label = blank / scale, label / scale
        self.scale = self.scale[row, parents] + np.log(scale)
        self.last = labels
