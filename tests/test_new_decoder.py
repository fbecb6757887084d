"""A new decoder is one class and one row in `DECODERS`: this one gives several readings of a line."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import htrcompress
from htrcompress import HtrError
from htrcompress.card import Card
from htrcompress.decoding import reference
from htrcompress.decoding.base import Hypothesis
from htrcompress.decoding.registry import DECODERS, DecoderOptions


class Shortened:
    """The greedy reading, and the same with fewer and fewer of its characters."""

    def __init__(self, card: Card, options: DecoderOptions):
        self.card = card

    def decode(
        self, logits: NDArray[np.float32], frames: NDArray[np.integer], n_best: int = 1
    ) -> list[list[Hypothesis]]:
        assert logits.shape[2] == len(self.card.charset) + 1
        rows = zip(*reference.greedy(logits, frames), strict=True)
        texts = [(tuple(labels[:length].tolist()), float(score)) for labels, length, score in rows]
        return [[Hypothesis(text[:-cut] if cut else text, score - cut) for cut in range(3)] for text, score in texts]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, "shortened", Shortened)


def test_n_best_readings_come_through_the_recognizer(tiny_model: Path, picture) -> None:
    lines = [picture(width) for width in (300, 61, 120)]
    greedy = htrcompress.load(tiny_model).read(lines)
    recognizer = htrcompress.load(tiny_model, decoder="shortened")
    found = recognizer.read(lines, n_best=2)
    assert [reading.text for reading in found] == [reading.text for reading in greedy]
    np.testing.assert_allclose([r.score for r in found], [r.score for r in greedy], atol=1e-5)
    for reading in found:
        (other,) = reading.alternatives
        assert other.text == reading.text[:-1] and other.score < reading.score
    assert all(reading.alternatives == () for reading in recognizer.read(lines))
    assert all(reading.alternatives == () for reading in htrcompress.load(tiny_model).read(lines, n_best=5))


def test_a_decoder_that_the_file_cannot_serve_is_named(tiny_onnx_without_logits: Path) -> None:
    with pytest.raises(HtrError, match=r"'shortened'.*gives no logits"):
        htrcompress.load(tiny_onnx_without_logits, decoder="shortened")


def test_an_unknown_decoder_is_named(tiny_model: Path) -> None:
    with pytest.raises(HtrError, match="'guess'"):
        htrcompress.load(tiny_model, decoder="guess")


@pytest.fixture
def tiny_onnx_without_logits(tiny_onnx: Path, tmp_path: Path) -> Path:
    """As earlier exports are."""
    import onnx

    model = onnx.load(tiny_onnx)
    for output in [output for output in model.graph.output if output.name == "logits"]:
        model.graph.output.remove(output)
    onnx.save(model, tmp_path / "old.onnx")
    return tmp_path / "old.onnx"
