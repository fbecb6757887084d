"""Calibration: the fit, its error, the command, and that the files carry it without another change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import htrcompress
from htrcompress.calibrate import CalibrateOptions, calibrate
from htrcompress.catalogue import DEFAULT
from htrcompress.charset import Charset
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.calibration import _judged as judged
from htrcompress.decoding.calibration import calibration_error, fit_map, reliability
from htrcompress.decoding.confidence import Map
from htrcompress.decoding.language import LanguageOptions
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model
from htrcompress.models.serialization import load_card, load_model

Picture = Callable[..., NDArray[np.uint8]]


def test_a_fit_finds_the_map_that_made_the_data() -> None:
    draw = np.random.default_rng(0)
    odds = draw.normal(3, 4, 20_000)
    right = draw.random(20_000) < Map(0.4, -0.3)(odds)
    found = fit_map(odds, right)
    assert found.slope == pytest.approx(0.4, abs=0.02) and found.offset == pytest.approx(-0.3, abs=0.05)
    assert calibration_error(found(odds), right) < 0.01 < 0.1 < calibration_error(Map()(odds), right)
    assert sum(b.count for b in reliability(found(odds), right)) == 20_000


@pytest.mark.parametrize("right", [True, False])
def test_a_fit_of_a_few_characters_that_are_all_alike_stays_a_map(right: bool) -> None:
    found = fit_map(np.linspace(1, 9, 20), np.full(20, right))
    assert 0 < found.slope < 4 and np.isfinite(found.offset)


def test_what_is_right_is_what_the_cheapest_edit_keeps() -> None:
    charset = Charset(tuple(" abc"))
    line = judged(charset, tuple(charset.encode("ab ca b")), np.zeros(7), "abc ca")
    assert line.words.tolist() == [[0, 2], [3, 5], [6, 7]]
    assert line.words_right.tolist() == [False, True, False]
    assert line.right.tolist() == [True, True, True, True, True, False, False]
    assert judged(charset, (), np.zeros(0), "a").word_odds(Map()).shape == (0,)


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_a_model_carries_it(
    kind: str, lines: str, tiny_model: Path, tiny_onnx: Path, tmp_path: Path, picture: Picture, caplog
) -> None:
    file = Path(shutil.copy(tiny_model if kind == "safetensors" else tiny_onnx, tmp_path / f"a.{kind}"))
    pictures = [picture(width) for width in (300, 61)]
    before = htrcompress.load(file).read(pictures, spans=True)
    assert "not calibrated" in caplog.text
    result = calibrate(CalibrateOptions(file, lines))
    assert result.path == file and result.lines == 6 and result.character_error[1] <= result.character_error[0]
    caplog.clear()
    recognizer = htrcompress.load(file)
    after = recognizer.read(pictures, spans=True)
    assert recognizer.card.calibration == result.calibration and not caplog.text
    assert [reading.text for reading in after] == [reading.text for reading in before]
    assert after[0].confidence != before[0].confidence
    if kind == "safetensors":
        old, new = (load_model(path)[0].state_dict() for path in (tiny_model, file))
        assert all((old[name] == new[name]).all() for name in old) and load_card(file).name == "tiny"


def test_a_language_model_carries_its_own(lines: str, tiny_onnx: Path, tmp_path: Path, picture: Picture) -> None:
    lm = tmp_path / "a.ngram"
    make_language_model(LmOptions([lines], order=3, out=lm))
    result = calibrate(CalibrateOptions(tiny_onnx, lines, lm=LanguageOptions(lm)))
    assert result.path == lm and load_ngram(lm).settings["calibration"] == result.calibration
    recognizer = htrcompress.load(tiny_onnx, lm=lm)
    (reading,) = recognizer.read([picture(300)], spans=True)
    assert reading.confidence is not None and not recognizer.card.calibration
    make_language_model(LmOptions([str(lm)], out=lm, tune=tiny_onnx, data=lines))
    assert "calibration" not in load_ngram(lm).settings  # the weights are others now


def test_what_cannot_carry_it_is_named(lines: str, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\n")
    for odd, named in (
        ({"out": tmp_path / "a.safetensors"}, "a.safetensors"),
        ({"lm": LanguageOptions(words=tmp_path / "names.txt")}, "--lm"),
        ({"lm": LanguageOptions(tmp_path / "a.ngram"), "out": tmp_path / "a.onnx"}, "--out"),
        ({"lm": LanguageOptions(tmp_path / "a.ngram")}, "a.ngram"),
        ({"split": "nowhere"}, "nowhere"),
        ({"beam": BeamOptions(width=3)}, "--beam"),
    ):
        with pytest.raises(HtrError, match=named):
            calibrate(CalibrateOptions(tiny_onnx, lines, **odd))  # type: ignore[arg-type]
    with pytest.raises(HtrError, match="--out"):
        calibrate(CalibrateOptions(DEFAULT, lines))
