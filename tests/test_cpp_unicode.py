"""What `export/cpp` knows of characters is what Python knows: classes, normal form C, the order of the page."""

import random
import sys
import unicodedata
from pathlib import Path

import pytest
from cpp_builds import Parts
from test_cpp import document

from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.words import is_letter
from tools import unicode_tables

CLASSES = ("L", "R", "AL", "EN", "ES", "ET", "AN", "CS", "NSM", "BN", "WS", "ON")
HEBREW, ARABIC = "אבגדהוזשלום", "ابتثسلامو"
LETTERS = f"{HEBREW}{ARABIC}abcé 0123٠١٢٣.,:;+-/%$()[]<>«»!?'\"ָِّ֑־׃،؟ \u200c"


def card(characters: str, direction: str) -> Card:
    return Card("test", {}, tuple(sorted(set(characters))), 32, 4, 1000, direction=direction)  # type: ignore[arg-type]


def test_every_character_is_of_the_classes_that_python_gives_it(parts: Parts) -> None:
    step = 1 << 15
    found = parts("kinds", *((first, first + step - 1) for first in range(0, sys.maxunicode + 1, step)))
    entries = [entry for line in found for entry in line.removeprefix("ok ").split()]
    assert len(entries) == sys.maxunicode + 1
    images = unicode_tables.MIRRORED
    for character in unicode_tables.ASSIGNED:
        number = CLASSES.index(unicode_tables.bidi_class(character))
        letter, space = "L" if is_letter(character) else "-", "S" if character.isspace() else "-"
        image = images.get(character, character) if unicodedata.mirrored(character) else character
        assert entries[ord(character)] == f"{number}{letter}{space}{ord(image)}", f"{ord(character):x}"


def test_the_tables_are_what_their_program_writes() -> None:
    written = unicode_tables.TARGET.read_text(encoding="utf-8")
    if f"Unicode {unicodedata.unidata_version}," not in written:
        pytest.skip(f"the tables are of another Unicode than {unicodedata.unidata_version}, this Python's")
    assert written == unicode_tables.source()


def test_normal_form_c_is_that_of_python(parts: Parts) -> None:
    draw = random.Random(0)
    plain = [c for c in unicode_tables.ASSIGNED if not unicodedata.name(c, "").startswith(unicode_tables.LEFT_OUT)]
    texts = [c for c in plain if unicodedata.decomposition(c) and ord(c) > 0x9F]
    texts += [unicodedata.normalize("NFD", c) for c in texts]
    marks = [c for c in plain if unicodedata.combining(c)]
    for _ in range(3000):
        letters = draw.choices("aeiouyAEOU12 가각각", k=draw.randint(1, 3))
        texts.append("".join(letter + "".join(draw.choices(marks, k=draw.randint(0, 3))) for letter in letters))
    texts = [text for text in texts if text.strip() and "\0" not in text]
    for start in range(0, len(texts), 2000):
        some = texts[start : start + 2000]
        assert parts("nfc", *([text] for text in some)) == [f"ok {unicodedata.normalize('NFC', t)}" for t in some]


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_texts_are_put_in_the_order_of_the_page_and_back_as_in_python(
    parts: Parts, tmp_path: Path, direction: str
) -> None:
    draw, model = random.Random(1), card(LETTERS, direction)
    charset = model.characters()
    (tmp_path / "a.meta").write_text(document(model), encoding="utf-8")
    pools = [LETTERS, HEBREW + " ", f"{ARABIC}  0123٣٢,.", f"abc  {HEBREW}12(", f"{HEBREW}ָ֑12.,%-()", "12٣,/+$-. א"]
    texts = ["".join(draw.choices(pools[n % len(pools)], k=draw.randint(1, 14))) for n in range(500)]
    given = [(tmp_path / "a.meta", text) for text in texts]
    assert parts("page", *given) == [f"ok {charset.on_page(text)}" for text in texts]
    assert parts("text", *given) == [f"ok {charset.decode(_labels(charset, text))}" for text in texts]


def _labels(charset: Charset, text: str) -> list[int]:
    """Of a text as it stands on the page."""
    return [charset.characters.index(c) + 1 if c in charset.characters else 0 for c in text]


def test_a_model_from_left_to_right_reads_words_of_the_other_direction(parts: Parts, tmp_path: Path) -> None:
    for characters, page in (("abc é", "ab é"), (f"abc {HEBREW}", f"ab {HEBREW[:3]}")):
        model = card(characters, "ltr")
        (tmp_path / "a.meta").write_text(document(model), encoding="utf-8")
        expected = model.characters().decode(_labels(model.characters(), page))
        assert parts("text", (tmp_path / "a.meta", page)) == [f"ok {expected}"]
        assert (expected == page) == ("é" in page)


def test_a_card_says_its_direction_and_another_word_is_refused(parts: Parts, tmp_path: Path) -> None:
    good = document(card(HEBREW, "rtl"))
    assert "htrcompress.direction=rtl\n" in good and ".direction" not in document(card(HEBREW, "ltr"))
    (tmp_path / "a.meta").write_text(good.replace("direction=rtl", "direction=up"), encoding="utf-8")
    [line] = parts("meta", [tmp_path / "a.meta"])
    assert line.startswith("error: ") and "direction" in line
