"""The logits of a dataset's lines, computed once for what decodes them often: tuning, calibration, studies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.lines import Line
from htrcompress.image import pad, resize_to_height
from htrcompress.runtime.backend import Backend


def logits_of(backend: Backend, lines: Sequence[Line]) -> list[NDArray[np.float32]]:
    """FP32 (T, C) of each line, its own frames alone.

    Raises:
        NoLogits: the file gives none.
        HtrError: a line cannot be read, or is too wide for the model.
    """
    card, size = backend.card, int(min(backend.max_batch, 32))
    images = [resize_to_height(line.pixels(), card.height, card.max_width, line.id) for line in lines]
    order = sorted(range(len(images)), key=lambda i: images[i].shape[1])
    found = [np.zeros((0, 0), np.float32)] * len(images)
    for start in range(0, len(order), size):
        some = order[start : start + size]
        output = backend.run(*pad([images[i] for i in some]), logits=True)
        assert output.logits is not None
        for i, row in zip(some, output.logits, strict=True):
            found[i] = row[: -(-images[i].shape[1] // card.stride)].copy()
    return found
