"""A new back end is one class and one row in `BACKENDS`: this one reads a text file, and `load` reads lines with it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import htrcompress
from htrcompress.card import Card
from htrcompress.runtime.backend import BACKENDS, UNLIMITED, Open, Output


class WidthBackend:
    """Reads every line as one letter for each 100 pixels."""

    name, device, arithmetic = "widths", "cpu", "FP32"
    max_batch, max_width, num_streams = 4, UNLIMITED, 1

    def __init__(self, path: Path, options: Open):
        letters = path.read_text().split()
        self.card = Card("widths", {}, tuple(letters), height=10, stride=1, max_width=1000)

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> Output:
        labels = np.where(np.arange(10) < widths[:, None] // 100, 1 + np.arange(10) % 2, -1)
        return Output(labels.astype(np.int32), widths // 100, np.full(len(widths), -0.5, np.float32))

    def stream(self) -> "WidthBackend":
        return self

    def close(self) -> None:
        self.card = None


def test_a_new_back_end_is_one_class_and_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, ".widths", WidthBackend)
    (tmp_path / "model.widths").write_text("a b")
    with htrcompress.load(tmp_path / "model.widths") as recognizer:
        readings = recognizer.read([np.zeros((10, width), np.uint8) for width in (300, 10, 500, 200, 100)])
    assert [reading.text for reading in readings] == ["aba", "", "ababa", "ab", "a"]
