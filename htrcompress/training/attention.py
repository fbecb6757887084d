"""The loss of an attention decoder beside CTC: `--aux.attention 0.5` (Kim et al. 2017, arXiv 1609.06773).

The decoder is given the line's true characters and learns to foretell each next one, and the end, from the frames
(`models/attention.py`). CTC has the weight 1, so a weight of w is a CTC weight of 1 / (1 + w) in the paper's sum.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from htrcompress.charset import BLANK
from htrcompress.data.batching import Batch
from htrcompress.models.attention import AttentionDecoder
from htrcompress.models.layers import column_mask
from htrcompress.training.losses import AuxiliaryLoss, LossTerm, ModelOutput


class AttentionLoss(AuxiliaryLoss):
    """Cross-entropy of each next character, with label smoothing (Szegedy et al. 2016, arXiv 1512.00567).

    Args:
        decoder: learns with the network.
        weight: factor of the loss.
        smoothing: share of the target that is spread over all labels.
        keep: whether the decoder becomes a part of the model's file.
    """

    def __init__(self, decoder: AttentionDecoder, weight: float, smoothing: float, keep: bool):
        super().__init__()
        self.decoder, self.weight, self.smoothing, self.keep = decoder, weight, smoothing, keep

    def forward(self, output: ModelOutput) -> dict[str, LossTerm]:
        labels = padded_labels(output.batch)
        lengths = output.batch.target_lengths
        memory = self.decoder.memory(output.encoding.layers[-1], output.frames)
        logits = self.decoder(memory, output.frames, F.pad(labels, (1, 0), value=BLANK))
        following = F.pad(labels, (0, 1), value=BLANK)  # behind the last character the end, which is label 0 too
        losses = F.cross_entropy(
            logits.float().transpose(1, 2), following, reduction="none", label_smoothing=self.smoothing
        )
        counted = column_mask(lengths + 1, following.shape[1]) & (lengths > 0).unsqueeze(1)
        return {"attention": LossTerm((losses * counted).sum(), counted.sum(), self.weight)}

    def kept_decoder(self) -> AttentionDecoder | None:
        """See `AuxiliaryLoss.kept_decoder`."""
        return self.decoder if self.keep else None


def padded_labels(batch: Batch) -> Tensor:
    """The labels of a batch with a row for each line, int64 (B, U), filled with 0."""
    lengths = batch.target_lengths
    labels = torch.zeros(len(lengths), max(1, int(lengths.max())), dtype=torch.int64, device=lengths.device)
    return labels.masked_scatter(column_mask(lengths, labels.shape[1]), batch.targets)
