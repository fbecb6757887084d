"""Lists of words: what the automaton scores, what it changes in a search, and lists that make no sense."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from test_ngram import _model, _texts

import htrcompress
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.kneser_ney import END
from htrcompress.decoding.language import Language, LanguageOptions, Scorer
from htrcompress.decoding.ngram import Rows
from htrcompress.decoding.words import compile_words, lines_of, read_words
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model

CHARSET = Charset(tuple(" '-abc"))


def _scores(words: dict[str, float], text: str) -> list[float]:
    """What has been scored after each character and after the end of the line."""
    automaton = compile_words(words, CHARSET)
    rows, state, total, found = Rows(automaton, range(len(CHARSET.characters) + 3)), automaton.begin, 0.0, []
    for symbol in [*automaton.symbols(text).tolist(), END]:
        values, following = rows.look_up(np.array([state]))
        total, state = total + float(values[0, symbol]), int(following[0, symbol])
        found.append(total)
    return found


def test_a_word_scores_while_it_is_spelled_and_only_if_it_ends() -> None:
    assert _scores({"abc": 1.0}, "abc a abca") == [1, 2, 3, 3, 4, 3, 4, 5, 6, 3, 3]
    assert _scores({"abc": 1.0}, "xabc abc"[1:]) == [1, 2, 3, 3, 4, 5, 6, 6]
    assert _scores({"abc": 2.0, "ab": 1.0}, "ab") == [2, 4, 2]  # the number of the longer one was hoped for
    assert _scores({"abc": 1.0}, "cabc") == [0] * 5
    assert _scores({"abc": 1.0}, "abc-b") == [1, 2, 3, 3, 3, 3]


def test_an_entry_of_several_words_goes_on_across_spaces() -> None:
    words = {"ab c": 1.0, "c b": 1.0}
    assert _scores(words, "ab c")[-1] == 4
    assert _scores(words, "ab a")[-1] == 0
    assert _scores(words, "ab c b")[-1] == 7  # one ends where the other begins
    assert _scores({"ab c": 1.0, "c": 1.0}, "ab ca c")[-1] == 1
    assert _scores({"a'b": 1.0}, "a'b a' b")[-1] == 3


@pytest.mark.parametrize("seed", range(4))
def test_a_line_scores_the_letters_of_its_listed_words(seed: int) -> None:
    draw = random.Random(seed)
    words = {"".join(draw.choices("abc", k=draw.randint(1, 4))): float(draw.randint(1, 3)) for _ in range(8)}
    text = "".join(draw.choices(" '-abcabc", k=60))
    expected = sum(len(word) * words.get(word, 0.0) for word in re.split(r"[ '\-]", text))
    assert _scores(words, text)[-1] == pytest.approx(expected)


@pytest.mark.parametrize("with_lm", [False, True])
def test_a_listed_word_wins_where_the_picture_is_doubtful(with_lm: bool) -> None:
    _, lm = _model(_texts(50), 4)
    charset = lm.charset
    logits = np.zeros((1, 7, charset.classes), np.float32)
    for frame, pair in enumerate(["ch", "", "ao", "", "tg", "", ""]):
        logits[0, frame, charset.encode(pair) or [0]] = [6, 5.5][: len(pair)] or [9]
    card, frames = Card("test", {"family": "gated"}, charset.characters, 32, 4, 1000), np.array([7])
    scorers = (Scorer(lm, 0.2),) if with_lm else ()

    def read(bonus: float) -> str:
        language = Language((*scorers, Scorer(compile_words({"hog": 1.0}, charset), bonus)))
        return charset.decode(BeamDecoder(card, language).decode(logits, frames)[0][0].labels)

    assert (read(0.0), read(2.0)) == ("cat", "hog")


def test_a_list_is_an_option_of_reading(tiny_model: Path, tmp_path: Path, picture) -> None:
    (tmp_path / "names.txt").write_text("hooker\ndarwin\t2\n\n", encoding="utf-8")
    assert read_words(tmp_path / "names.txt") == {"hooker": 1.0, "darwin": 2.0}
    recognizer = htrcompress.load(tiny_model, lm=LanguageOptions(words=tmp_path / "names.txt", words_bonus=4.0))
    pictures = [picture(width) for width in (300, 61, 120, 200)]
    together = [reading.text for reading in recognizer.read(pictures)]
    assert [recognizer.read([one])[0].text for one in pictures] == together
    assert together != [reading.text for reading in htrcompress.load(tiny_model, decoder="beam").read(pictures)]


def test_the_bonus_is_tuned_with_the_language_model(lines: str, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("hooker\n", encoding="utf-8")
    options = LmOptions([lines], order=2, out=tmp_path / "a.ngram", tune=tiny_model, words=tmp_path / "names.txt")
    tuned = make_language_model(options).tuned
    assert tuned is not None and tuned.words_bonus is not None
    language = htrcompress.load(tiny_model, lm=LanguageOptions(options.out, words=options.words)).decoder.language
    assert language.scorers[1].weight == tuned.words_bonus
    with pytest.raises(HtrError, match="--tune"):
        LmOptions([lines], out=tmp_path / "a.ngram", words=tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no words"),
        (b"a\tx\n", "line 1"),
        (b"a\nb\t-1\n", "line 2"),
        (b"a\t1e308\nb\t1e308\n", "line 1"),
        (b"a\n" + 201 * b"b", "line 2"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_lists_that_make_no_sense_are_one_sentence(content: bytes, named: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(HtrError, match=rf"names\.txt.*{named}"):
        read_words(tmp_path / "names.txt")


def test_a_list_of_any_size_is_compiled_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htrcompress.decoding.words.MOST_STATES", 6)
    assert compile_words({"abc": 1.0, "abb": 1.0}, CHARSET).states == 6
    with pytest.raises(HtrError, match="beginnings"):
        compile_words({"abc": 1.0, "bbb": 1.0}, CHARSET)


def test_words_of_other_characters_are_left_out() -> None:
    with pytest.raises(HtrError, match="no word of the list"):
        compile_words({"xyz": 1.0}, CHARSET)
    with pytest.raises(HtrError, match=r"--lm\.words_bonus"):
        LanguageOptions(words_bonus=1.0)


def test_a_list_with_frequencies_makes_a_language_model(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("the\t900000\ncat\t70000\nsat\t3\n", encoding="utf-8")
    assert lines_of({"a": 3.0, "b": 1.0})[0].count("a") in range(3, 9)
    result = make_language_model(LmOptions([str(tmp_path / "words.txt")], order=4, out=tmp_path / "words.ngram"))
    assert result.characters == 7  # with the space
