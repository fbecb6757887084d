"""The lines that exports are proven on: training lines to calibrate, validation lines to measure."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from htrcompress.card import Card
from htrcompress.data.batching import by_width
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.data.readers.synthetic import SYNTHETIC
from htrcompress.data.readers.trained_on import open_as_trained
from htrcompress.errors import HtrError
from htrcompress.image import pad, resize_to_height

logger = logging.getLogger(__name__)
CALIBRATION = 128
"""Training lines that the ranges of INT8 are taken from, spread over the split."""
ACTIVATIONS = 64
"""Validation lines that activations are measured on."""


class ProofLines:
    """The lines for one model.

    Args:
        source: what --data says; None for what the model was trained on.
        own_data: finds what a model was trained on, and raises HtrError if that is not here.
        opened: datasets that are open already, to share between models.
    """

    def __init__(self, source: str | None, own_data: Callable[[Card], str], opened: dict[str, Dataset]):
        self.source, self._own_data, self._opened = source, own_data, opened

    def dataset(self, card: Card) -> Dataset:
        """The dataset for a model.

        Raises:
            HtrError: it is not here.
        """
        source = self._own_data(card) if self.source is None else self.source
        key = f"{source} {read_config(card)} {card.data.get('splits')}"
        if key not in self._opened:
            self._opened[key] = open_as_trained(source, card)
        self._opened[key].require_height(card.height)
        return self._opened[key]

    def calibration(self, card: Card) -> EncodedLines:
        """Training lines, spread over the split."""
        train = self.dataset(card).split("train")
        count = min(CALIBRATION, len(train))
        return _usable([train[i * len(train) // count] for i in range(count)], card)

    def valid(self, card: Card) -> EncodedLines:
        """All validation lines, but for those whose images cannot be used."""
        return _usable(self.dataset(card).split("valid"), card)

    def for_activations(self, card: Card) -> tuple[str, list[tuple[Tensor, Tensor]]]:
        """A note on which lines these are, and batches of pixels uint8 (B, 1, H, W) and widths int32 (B,).

        They are validation lines of what the model was trained on, or training lines where it has no others, or lines
        of the built-in data if that is not here.
        """
        try:
            dataset = self.dataset(card)
        except HtrError:
            if self.source:
                raise
            dataset = open_dataset(SYNTHETIC)
        kind = "validation" if dataset.splits.get("valid") else "training"
        lines = dataset.split("valid" if kind == "validation" else "train")[:ACTIVATIONS]
        note = f"activations measured on {len(lines)} {kind} lines of {dataset.name}"
        if not self.source and dataset.name != card.data.get("name", dataset.name):
            note += f", since {card.data['name']} is not here"
        images = []
        for line in lines:
            with contextlib.suppress(HtrError):  # an unreadable or overlong line never reaches the exported model
                images.append(resize_to_height(line.pixels(), card.height, card.max_width))
        return note, list(_batches(images))


def _usable(lines: Sequence[Line], card: Card) -> EncodedLines:
    """Lines without those whose images cannot be used, as training may have left them out.

    Raises:
        HtrError: none can be used.
    """
    encoded = encode_lines(lines, card.characters(), card.height, card.max_width, max_unreadable=1.0)
    if len(encoded) < len(lines):
        logger.warning("%d of %d images cannot be used and are left out", len(lines) - len(encoded), len(lines))
    return encoded


def _batches(images: list) -> Iterator[tuple[Tensor, Tensor]]:
    for group in by_width([image.shape[1] for image in images], 8):
        pixels, widths = pad([images[i] for i in group])
        yield torch.from_numpy(pixels), torch.from_numpy(widths)
