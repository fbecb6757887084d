"""Spans and confidences through `read`: what they cover, in any batch and runtime, and what they need."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_new_decoder import tiny_onnx_without_logits  # noqa: F401

import htrcompress
from htrcompress import HtrError
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.cli import to_json
from htrcompress.decoding.confidence import Calibration, Map, Odds, product
from htrcompress.runtime.spans import make_spans
from htrcompress.transcribe import TranscribeOptions, transcribe

Picture = Callable[..., NDArray[np.uint8]]
CHARSET = Charset(tuple(" abc"))
EXAMPLES = Path(__file__).parent.parent / "examples"


def _peaks(*places: tuple[int, int], frames: int) -> NDArray[np.float32]:
    """Logits that write labels at some frames and blanks elsewhere."""
    logits = np.zeros((1, frames, CHARSET.classes), np.float32)
    logits[0, :, 0] = 4.0
    for frame, label in places:
        logits[0, frame, label] = 9.0
    return logits


def test_characters_meet_halfway_and_words_stand_between_spaces() -> None:
    labels = (2, 3, 1, 4)  # "ab c"
    logits = _peaks((2, 2), (4, 3), (6, 1), (9, 4), frames=12)
    (sure,) = Odds(Card("test", {}, CHARSET.characters, 32, 4, 100)).of(logits, np.array([12]), [labels])
    found = make_spans(CHARSET, labels, sure, Calibration(), width=120.0, frame=10.0)
    assert [span.text for span in found.characters] == ["a", "b", " ", "c"]
    assert [(span.start, span.end) for span in found.characters] == [(15, 35), (35, 55), (55, 80), (80, 110)]
    assert [(word.text, word.start, word.end) for word in found.words] == [("ab", 15, 55), ("c", 80, 110)]
    assert all(0.9 < span.confidence <= 1 for span in (*found.characters, *found.words))
    assert found.words[0].confidence < min(span.confidence for span in found.characters[:2])
    careful = make_spans(CHARSET, labels, sure, Calibration(Map(0.2, -0.5), Map(0.5, 0.0)), 120.0, 10.0)
    assert careful.confidence < 0.8 < found.confidence
    assert (
        make_spans(
            CHARSET,
            (),
            Odds(Card("t", {}, CHARSET.characters, 32, 4, 9)).of(logits, np.array([12]), [()])[0],
            Calibration(),
            120.0,
            10.0,
        ).confidence
        == 0
    )


def test_a_broken_network_is_sure_of_nothing_and_its_neighbours_are_unharmed() -> None:
    logits = np.concatenate([_peaks((2, 2), (4, 3), frames=8)] * 2)
    logits[0, 3, 1], logits[1, 7] = np.nan, np.nan  # the second one beyond its frames
    broken, whole = Odds(Card("test", {}, CHARSET.characters, 32, 4, 100)).of(logits, np.array([8, 6]), [(2, 3)] * 2)
    assert (Map()(broken.odds) < 1e-9).all() and (Map()(whole.odds) > 0.9).all()


def test_a_doubtful_character_is_doubtful_alone() -> None:
    logits = _peaks((2, 2), (4, 3), frames=8)
    logits[0, 4, 4] = 8.9
    (sure,) = Odds(Card("test", {}, CHARSET.characters, 32, 4, 100)).of(logits, np.array([8]), [(2, 3)])
    assert sure.odds[0] > 4 and 0 < sure.odds[1] < 0.5
    assert product(np.array([0.5, 0.5])) == pytest.approx(np.log(1 / 3))


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_spans_cover_the_picture_and_change_no_text(
    decoder: str, tiny_model: Path, tiny_onnx: Path, picture: Picture
) -> None:
    pictures = [picture(width, 64 if width > 150 else 16, seed=3) for width in (300, 61, 120, 200)]
    by_runtime = []
    for model in (tiny_model, tiny_onnx):
        recognizer = htrcompress.load(model, decoder=decoder)
        plain, found = recognizer.read(pictures), recognizer.read(pictures, spans=True)
        assert [reading.text for reading in found] == [reading.text for reading in plain]
        assert all(reading.confidence is None and not reading.words for reading in plain)
        for image, reading in zip(pictures, found, strict=True):
            assert "".join(span.text for span in reading.characters) == reading.text
            assert [word.text for word in reading.words] == reading.text.split()
            edges = [edge for span in reading.characters for edge in (span.start, span.end)]
            assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= image.shape[1]
            assert edges[-1] > 0.7 * image.shape[1]
            assert reading.confidence == pytest.approx(np.mean([s.confidence for s in reading.characters]), abs=1e-3)
        many = [picture(20 + 7 * number, seed=number) for number in range(70)]
        together = recognizer.read(many, spans=True)
        for image, reading in zip(many[::9], together[::9], strict=True):
            (alone,) = recognizer.read([image], spans=True)
            assert alone.text == reading.text and alone.confidence == pytest.approx(reading.confidence, abs=2e-3)
        by_runtime.append([reading.confidence for reading in found])
        again = pickle.loads(pickle.dumps(recognizer)).read(pictures, spans=True)  # noqa: S301
        assert [reading.text for reading in again] == [reading.text for reading in found]
    np.testing.assert_allclose(*by_runtime, atol=2e-3)


def test_a_file_without_logits_gives_no_spans(tiny_onnx_without_logits: Path, picture: Picture) -> None:  # noqa: F811
    with pytest.raises(HtrError, match="gives no logits"):
        htrcompress.load(tiny_onnx_without_logits).read([picture(60)], spans=True)


def test_transcribe_puts_them_into_its_json(tiny_onnx: Path, picture: Picture, tmp_path: Path) -> None:
    Image.fromarray(picture(200, 40)).save(tmp_path / "a.png")
    options = TranscribeOptions([tmp_path / "a.png"], str(tiny_onnx), decoder="beam", n_best=3, spans=True)
    (image,) = json.loads(to_json(transcribe(options)))["images"]
    assert len(image["alternatives"]) == 2 and set(image["alternatives"][0]) == {"text", "score"}
    assert "".join(span["text"] for span in image["characters"]) == image["text"]
    assert set(image["words"][0]) == {"text", "start", "end", "confidence"} and 0 < image["confidence"] < 1
    (image,) = json.loads(to_json(transcribe(replace(options, n_best=1, spans=False))))["images"]
    assert image["confidence"] is None and not image["words"] and not image["alternatives"]


def test_a_calibration_travels_as_text_and_a_damaged_one_is_named() -> None:
    calibration = Calibration(Map(0.5, -0.25), Map(1.5, 0.125))
    assert Calibration.from_text(calibration.to_text(), "here") == calibration
    for text in ("", "1 2 3", "a b c d", "nan 0 1 0", "-1 0 1 0"):
        with pytest.raises(HtrError, match="here"):
            Calibration.from_text(text, "here")
    card = Card("test", {}, tuple("ab"), 32, 4, 100, calibration=calibration.to_text())
    assert Card.from_metadata(card.to_metadata(), "here") == card
    assert card.to_metadata()["htrcompress.calibration"] == "0.5 -0.25 1.5 0.125"
    assert "calibration" not in replace(card, calibration="").to_json()
    assert replace(card, calibration="").digest() == card.digest()
    assert card.is_of(replace(card, calibration="")) and not card.is_of(replace(card, name="other"))


@pytest.mark.parametrize("name", ["latin-s", "copiste_fr"])
def test_models_that_ship_are_calibrated(name: str, caplog) -> None:
    recognizer = htrcompress.load(name, threads=1)
    (reading,) = recognizer.read([EXAMPLES / "roses.png"], spans=True)
    assert Calibration.from_text(recognizer.card.calibration, name) != Calibration()
    assert reading.text and reading.confidence and not caplog.text
