"""The character error rate of a network on validation lines, in FP32 whatever the training's arithmetic is."""

import torch

from htrcompress import metrics
from htrcompress.charset import Charset
from htrcompress.data.batching import WIDTH_STEP, by_width
from htrcompress.data.prepare import EncodedLines
from htrcompress.decoding import greedy
from htrcompress.image import pad
from htrcompress.models.base import LineRecognizer
from htrcompress.training.optim import full_precision


def validate(model: LineRecognizer, lines: EncodedLines, charset: Charset, batch: int = 32) -> metrics.Score:
    """Reads the lines greedily on the device of the network and compares them with their texts.

    Args:
        model: in evaluation mode.
        lines: with their texts.
        charset: of the network's labels.
        batch: how many lines to read at a time.
    """
    device = next(model.parameters()).device
    readings = [""] * len(lines.texts)
    with torch.inference_mode(), full_precision(device):
        for indices in by_width(lines.widths, batch):
            pixels, widths = pad([lines.images[i] for i in indices], WIDTH_STEP)
            logits, frames = model(torch.from_numpy(pixels).to(device), torch.from_numpy(widths).to(device))
            labels, lengths, _ = greedy.greedy(logits, frames)
            for i, row, length in zip(indices, labels.tolist(), lengths.tolist(), strict=True):
                readings[i] = charset.decode(row[:length])
    return metrics.score(lines.texts, readings)
