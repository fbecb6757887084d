"""The command that makes language models, and reading with one through `load`."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import htrcompress
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.decoding.tuning import tune
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model

Picture = Callable[..., NDArray[np.uint8]]
TEXT = "the cat sat on the mat\nand the dog sat on the log\n" * 20


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "text.txt"


def test_a_dataset_gives_texts_and_lines_to_tune_on(lines: str, tiny_model: Path, tmp_path: Path) -> None:
    options = LmOptions([lines], order=3, out=tmp_path / "lines.ngram", arpa=True, licence="CC0-1.0", tune=tiny_model)
    result = make_language_model(options)
    assert result.perplexity is not None and 1 < result.perplexity < 100
    assert result.tuned is not None and result.tuned.lines == 6 and result.tuned.cer <= result.tuned.greedy + 0.05
    settings = load_ngram(result.path).settings
    assert float(settings["weight"]) == result.tuned.weight and settings["licence"] == "CC0-1.0"
    again = make_language_model(LmOptions([str(tmp_path / "lines.arpa")], out=tmp_path / "again.ngram", data=lines))
    assert again.perplexity == pytest.approx(result.perplexity, rel=1e-4)
    tuned = make_language_model(LmOptions([str(result.path)], out=result.path, tune=tiny_model, data=lines))
    assert tuned.tuned == result.tuned


def test_a_model_reads_with_it(text: Path, tiny_model: Path, tiny_onnx: Path, picture: Picture) -> None:
    out = text.with_name("text.ngram")
    make_language_model(LmOptions([str(text)], order=4, out=out))
    pictures = [picture(width) for width in (300, 61, 120, 200)]
    found = [htrcompress.load(model, lm=out).read(pictures, n_best=3) for model in (tiny_model, tiny_onnx)]
    assert [reading.text for reading in found[0]] == [reading.text for reading in found[1]]
    assert any(reading.alternatives for reading in found[0])
    greedy = [reading.text for reading in htrcompress.load(tiny_onnx).read(pictures)]
    strong = htrcompress.load(tiny_onnx, lm=LanguageOptions(out, weight=3.0))
    assert [reading.text for reading in strong.read(pictures)] != greedy  # noise, read as the language has it
    many = [picture(20 + 7 * number, seed=number) for number in range(90)]  # more than the decoder gets at once
    assert strong.read(many, 3) == strong.read(many)
    assert [strong.read([one])[0].text for one in many] == [reading.text for reading in strong.read(many)]
    copied = pickle.loads(pickle.dumps(strong))  # noqa: S301
    assert [reading.text for reading in copied.read(pictures)] == [reading.text for reading in strong.read(pictures)]


def test_a_tuned_weight_is_used_unless_another_is_given(text: Path, tiny_model: Path) -> None:
    out = text.with_name("text.ngram")
    make_language_model(LmOptions([str(text)], order=2, out=out))
    save_ngram(out, replace(load_ngram(out), settings={"weight": "0.25", "bonus": "1.5"}))
    language = htrcompress.load(tiny_model, lm=out).decoder.language
    assert (language.scorers[0].weight, language.bonus) == (0.25, 1.5)
    language = htrcompress.load(tiny_model, lm=LanguageOptions(out, weight=2.0)).decoder.language
    assert (language.scorers[0].weight, language.bonus) == (2.0, 1.5)
    save_ngram(out, replace(load_ngram(out), settings={"weight": "nan"}))
    with pytest.raises(HtrError, match=r"weight.*text\.ngram"):
        htrcompress.load(tiny_model, lm=out)


def test_a_language_model_is_for_the_beam_search(text: Path, tiny_model: Path) -> None:
    with pytest.raises(HtrError, match="--lm"):
        htrcompress.load(tiny_model, decoder="greedy", lm=text)
    with pytest.raises(HtrError, match=r"text\.txt"):
        htrcompress.load(tiny_model, lm=text)
    with pytest.raises(HtrError, match=r"nowhere\.ngram"):
        htrcompress.load(tiny_model, lm="nowhere.ngram")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"order": 0}, "--order"),
        ({"order": 20}, "--order"),
        ({"out": None}, "--out"),
        ({"out": Path("x.bin")}, "--out"),
        ({"texts": []}, "text"),
        ({"texts": ["nowhere"]}, "nowhere"),
        ({"texts": ["a.arpa", "b.txt"]}, "arpa"),
        ({"texts": ["a.ngram"], "arpa": True}, "--arpa"),
        ({"licence": "CC0\nweight=9"}, "--licence"),
        ({"tune": Path("model.onnx")}, "--data"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_one_sentence(text: Path, options: dict[str, object], named: str) -> None:
    given = {"texts": [str(text)], "out": text.with_name("out.ngram")} | options
    with pytest.raises(HtrError, match=named):
        make_language_model(LmOptions(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\xfa"])
def test_texts_that_are_empty_or_not_utf_8_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.txt").write_bytes(content)
    with pytest.raises(HtrError):
        make_language_model(LmOptions([str(tmp_path / "odd.txt")], out=tmp_path / "odd.ngram"))
    assert not (tmp_path / "odd.ngram").exists()


def test_a_file_whose_name_is_not_utf_8_is_named_as_far_as_it_can_be(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.txt")
    Path(name).write_text("a line of text\n")
    made = make_language_model(LmOptions([name], order=2, out=tmp_path / "a.ngram"))
    assert load_ngram(made.path).settings["from"] == "cafU+DCE9U+000A.txt"


def test_an_arpa_file_that_is_read_is_not_replaced(text: Path) -> None:
    arpa = make_language_model(LmOptions([str(text)], order=2, out=text.with_name("a.ngram"), arpa=True))
    with pytest.raises(HtrError, match="--arpa"):
        make_language_model(LmOptions([str(arpa.path.with_suffix(".arpa"))], out=arpa.path, arpa=True))


def test_a_dataset_without_validation_lines_is_learnt_all_the_same(tmp_path: Path) -> None:
    data, out = str(tmp_path / "lines"), tmp_path / "a.ngram"
    Path(data).mkdir()
    Image.new("L", (40, 32)).save(f"{data}/a.png")
    Path(data, "train.tsv").write_text("a.png\ta line of text\n")
    assert make_language_model(LmOptions([data], order=2, out=out)).perplexity is None
    with pytest.raises(HtrError, match="valid"):
        make_language_model(LmOptions([data], order=2, out=out, data=data))


def test_where_every_number_reads_as_well_the_defaults_stay(text: Path) -> None:
    lm = load_ngram(make_language_model(LmOptions([str(text)], order=2, out=text.with_name("a.ngram"))).path)
    charset = Charset.of(["a b"])
    logits = np.full((6, charset.classes), -20, np.float32)
    logits[range(6), [*(x for label in charset.encode("a b") for x in (label, 0))]] = 20
    tuned = tune(Card("x", {}, charset.characters, 32, 4, 100), lm, [logits], ["a b"], BeamOptions())
    assert (tuned.cer, tuned.bonus) == (0, 0) and tuned.weight == pytest.approx(0.5, abs=0.1)


def test_a_text_from_right_to_left_is_modelled_as_it_stands_on_the_page(tmp_path: Path) -> None:
    lines = ["שלום עולם", "שלום לכם", "עולם (שלום) טוב"] * 20
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    path = make_language_model(LmOptions([str(tmp_path / "texts.txt")], order=4, out=tmp_path / "a.ngram")).path
    model = load_ngram(path)
    assert model.charset.direction == "rtl"
    assert model.perplexity(lines) < 2 < model.perplexity([line[::-1] for line in lines])
    charset = Charset.of(lines)
    labels = charset.encode("שלום לכם")
    logits = np.full((1, 2 * len(labels), charset.classes), -8.0, np.float32)
    logits[:, 1::2, 0] = 8
    logits[0, 2 * np.arange(len(labels)), labels] = 2
    other = next(label for label in range(1, charset.classes) if label not in labels)
    logits[0, 6, other] = 2.1  # the picture is a little more for another letter
    card = Card("right to left", {}, charset.characters, 32, 4, 1000, direction="rtl")
    decoder = BeamDecoder(card, open_language(LanguageOptions(path), charset))
    [[found]] = decoder.decode(logits, np.array([logits.shape[1]]))
    assert charset.decode(found.labels) == "שלום לכם"
    with pytest.raises(HtrError, match="direction"):
        BeamDecoder(replace(card, direction="ltr"), open_language(LanguageOptions(path), charset))
