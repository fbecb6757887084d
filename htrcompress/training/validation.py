"""How well a network reads lines while it learns."""

import torch
from accelerate import Accelerator
from torch import nn

from htrcompress import metrics
from htrcompress.charset import Charset
from htrcompress.data.batching import WIDTH_STEP, by_width, pad
from htrcompress.data.prepare import EncodedLines
from htrcompress.decoding import greedy


def validate(
    model: nn.Module, examples: EncodedLines, charset: Charset, accelerator: Accelerator, most: int = 32
) -> metrics.Score:
    """Reads the lines greedily, at most so many at a time, and compares them with their texts."""
    readings = [""] * len(examples.texts)
    with torch.inference_mode():
        for indices in by_width(examples.widths, most):
            pixels, widths = pad([examples.images[i] for i in indices], WIDTH_STEP)
            with accelerator.autocast():
                logits, frames = model(
                    torch.from_numpy(pixels).to(accelerator.device), torch.from_numpy(widths).to(accelerator.device)
                )
            labels, lengths, _ = greedy.greedy(logits, frames)
            for i, row, length in zip(indices, labels.tolist(), lengths.tolist(), strict=True):
                readings[i] = charset.decode(row[:length])
    return metrics.score(examples.texts, readings)
