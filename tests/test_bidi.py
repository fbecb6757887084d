"""The order of the page and the order of reading, and that a model learns the same shapes in either direction."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from htrcompress.bidi import direction_of, logical_order, visual_order
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.errors import HtrError

HEBREW, ARABIC = "\u05e9\u05dc\u05d5\u05dd", "\u0633\u0644\u0627\u0645"


@pytest.mark.parametrize(
    ("text", "page"),
    [
        (HEBREW, HEBREW[::-1]),
        (f"{HEBREW} {ARABIC}", f"{ARABIC[::-1]} {HEBREW[::-1]}"),
        (f"{HEBREW} 1871", f"1871 {HEBREW[::-1]}"),
        (f"{HEBREW}.", f".{HEBREW[::-1]}"),
        (f"({HEBREW})", f"({HEBREW[::-1]})"),
        (f"{HEBREW} abc {ARABIC}", f"{ARABIC[::-1]} abc {HEBREW[::-1]}"),
        ("\u05e9\u05b8\u05dc", "\u05dc\u05e9\u05b8"),  # a vowel sign stays behind its letter
        ("\u0645\u06cc\u200c\u062e", "\u062e\u06cc\u200c\u0645"),  # and so does a joiner
        ("12.", ".12"),
    ],
)
def test_lines_from_right_to_left(text: str, page: str) -> None:
    assert visual_order(text, "rtl") == page
    assert logical_order(page, "rtl") == text


def test_words_from_right_to_left_in_a_line_from_left_to_right() -> None:
    text = f"the word {HEBREW} means (peace)"
    page = visual_order(text, "ltr")
    assert page.startswith("the word ") and HEBREW[::-1] in page
    assert logical_order(page, "ltr") == text


@given(st.text("abc XYZ 0123.,:;()-'!?", max_size=30))
def test_texts_from_left_to_right_stay(text: str) -> None:
    assert visual_order(text, "ltr") == text == logical_order(text, "ltr")


@given(st.lists(st.sampled_from([HEBREW, ARABIC, "\u05e9\u05b8\u05dc", "12", "1,871", "(3)"]), min_size=1, max_size=6))
def test_texts_of_one_direction_come_back(words: list[str]) -> None:
    text = " ".join([HEBREW, *words])
    assert logical_order(visual_order(text, "rtl"), "rtl") == text


def test_the_direction_is_that_of_most_letters() -> None:
    assert direction_of(["abc", HEBREW]) == "rtl" and direction_of(["abcde", HEBREW]) == "ltr"
    assert direction_of(["12"]) == "ltr"


@pytest.mark.parametrize(("script", "text"), [("Mongolian", "\u1824\u1836"), ("Phags-pa", "\ua840\ua841")])
def test_scripts_from_top_to_bottom_are_refused_by_name(script: str, text: str) -> None:
    with pytest.raises(HtrError, match=script):
        Charset.of([text])


def test_labels_are_in_the_order_of_the_page() -> None:
    charset = Charset.of([f"{HEBREW} 12"])
    assert charset.direction == "rtl"
    labels = charset.encode(f"{HEBREW} 12")
    assert "".join(charset.characters[label - 1] for label in labels) == f"12 {HEBREW[::-1]}"
    assert charset.decode(labels) == f"{HEBREW} 12"
    assert charset.unknown(HEBREW) == [] and charset.changed_order([f"{HEBREW} 12"]) == 0
    assert charset.changed_order([f"{HEBREW} 12 abc"]) in (0, 1)


def test_the_other_of_two_brackets_is_known() -> None:
    charset = Charset.of([f"{HEBREW} ("])
    assert charset.unknown(f"{HEBREW} (") == []


def test_the_direction_is_on_the_card_and_older_cards_have_none() -> None:
    card = Card("m", {}, tuple(sorted(set(HEBREW))), 32, 4, 99, direction="rtl")
    assert Card.from_json(card.to_json(), "m").characters().direction == "rtl"
    older = Card("m", {}, ("a",), 32, 4, 99).to_json().replace('"direction": "ltr", ', "")
    assert "direction" not in older and Card.from_json(older, "m").direction == "ltr"
    with pytest.raises(HtrError, match="m"):
        Card.from_json(card.to_json().replace('"rtl"', '"up"'), "m")


def write_shapes(root: Path, letters: str, mirrored: bool) -> Path:
    """Lines of made-up shapes, one for each letter, which stand from left to right or from right to left."""
    rng = random.Random(0)
    shapes = {c: np.random.default_rng(i).integers(0, 2, (6, 3)).astype(np.uint8) for i, c in enumerate(letters)}
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(2, 5))) for _ in range(60)]
    root.mkdir()
    for split, count in (("train", 200), ("valid", 24)):
        rows = []
        for number in range(count):
            text = " ".join(rng.choice(words) for _ in range(2))
            blank = np.zeros((6, 3), np.uint8)
            cells = [np.pad(shapes.get(c, blank), ((1, 1), (1, 1))) for c in (text[::-1] if mirrored else text)]
            line = np.kron(np.concatenate(cells, 1), np.ones((4, 4), np.uint8))
            Image.fromarray((230 - 200 * line).astype(np.uint8)).save(root / f"{split}{number}.png")
            rows.append(f"{split}{number}.png\t{text}\n")
        (root / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return root


@pytest.mark.slow
def test_the_same_shapes_are_learned_in_either_direction(tmp_path: Path) -> None:
    from htrcompress.config import TrainConfig
    from htrcompress.models.serialization import load_card
    from htrcompress.train import TrainOptions, train

    config = TrainConfig(steps=250, batch=16, valid_every=250, warmup=20, precision="fp32")
    for name, letters, mirrored in (
        ("ltr", "abcdefgh", False),
        ("rtl", "\u05d0\u05d1\u05d2\u05d3\u05d4\u05d5\u05d6\u05d7", True),
    ):
        data = write_shapes(tmp_path / name, letters, mirrored)
        result = train(
            TrainOptions(data=str(data), model="tiny-student", out=tmp_path / f"run-{name}", train=config, augment=None)
        )
        assert load_card(result.fit.path).direction == name
        assert result.fit.cer < 0.05, name
