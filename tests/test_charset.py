"""Text to labels and back, and charsets that must not exist."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from htrcompress.charset import BLANK, Charset, clean_text
from htrcompress.errors import HtrError


def test_labels_follow_the_sorted_characters() -> None:
    charset = Charset.of(["cab", "b a"])
    assert charset.characters == (" ", "a", "b", "c")
    assert charset.classes == 5
    assert charset.encode("ab c") == [2, 3, 1, 4]
    assert BLANK not in charset.encode("ab c")


def test_characters_are_composed() -> None:
    charset = Charset.of(["e\u0301"])
    assert charset.characters == ("\u00e9",)
    assert charset.encode("e\u0301\u00e9") == [1, 1]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_text_comes_back_as_nfc(text: str) -> None:
    charset = Charset.of([text])
    assume(not charset.changed_order([unicodedata.normalize("NFC", text)]))  # see test_bidi
    labels = charset.encode(text)
    assert charset.encode(charset.decode(labels)) == labels
    assert clean_text(charset.decode(labels)) == clean_text(text)
    assert charset.unknown(text) == []


def test_unknown_characters_are_left_out_and_reported() -> None:
    charset = Charset.of(["ab"])
    assert charset.encode("a?b?") == [1, 2]
    assert charset.unknown("a?b!?") == ["?", "!", "?"]


def test_decode_skips_padding_and_blanks() -> None:
    assert Charset.of(["ab"]).decode([2, 0, 1, -1, -1]) == "ba"
    assert Charset.of(["ab"]).decode([]) == ""


def test_decode_refuses_labels_of_another_model() -> None:
    with pytest.raises(HtrError, match="label 7"):
        Charset.of(["ab"]).decode([1, 7])


@pytest.mark.parametrize(
    "characters", [(), ("a", "a"), ("ab",), ("",), ("e\u0301",), ("\u212b",), ("\ud800",), ("\x1b",)]
)
def test_impossible_charsets_are_refused(characters: tuple[str, ...]) -> None:
    with pytest.raises(HtrError, match="charset"):
        Charset(characters)


@pytest.mark.parametrize(
    ("text", "clean"), [("  a \t b\n", "a b"), ("e\u0301", "\u00e9"), ("\u00a0", ""), ("a\u2003b", "a b"), ("", "")]
)
def test_clean_text(text: str, clean: str) -> None:
    assert clean_text(text) == clean
