"""ARPA files as KenLM, SRILM and others write them: read with what they leave out, or refused in a sentence."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pytest

from htrcompress.card import Card
from htrcompress.decoding.arpa import read_arpa
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import Language, Scorer
from htrcompress.decoding.ngram import NGram, compile_orders
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model

UNIGRAMS = [
    ("-2", "<unk>", ""),
    ("0", "<s>", "-0.3"),
    ("-1", "</s>", ""),
    ("-0.5", "a", "-0.2"),
    ("-0.6", "b", "-0.1"),
    ("-0.7", "<space>", "-0.2"),
]
BIGRAMS = [("-0.1", "<s> a", ""), ("-0.2", "a b", ""), ("-0.3", "b <space>", ""), ("-0.4", "b </s>", "")]


def arpa(unigrams: list[tuple[str, str, str]] = UNIGRAMS, bigrams: list[tuple[str, str, str]] = BIGRAMS) -> str:
    """An ARPA file as KenLM writes it."""
    parts = [f"\\data\\\nngram 1={len(unigrams)}\nngram 2={len(bigrams)}\n"]
    for n, rows in enumerate((unigrams, bigrams), 1):
        parts.append(f"\n\\{n}-grams:\n" + "".join("\t".join(row).rstrip("\t") + "\n" for row in rows))
    return "".join([*parts, "\n\\end\\\n"])


def read(path: Path, text: str | bytes) -> NGram:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return compile_orders(*read_arpa(path))


def test_spaces_are_written_in_many_ways(tmp_path: Path) -> None:
    expected = read(tmp_path / "a.arpa", arpa()).perplexity(["ab b"])
    for space in ("<SPACE>", "<sp>", "|", "_", "\u2581", "\u2423"):
        model = read(tmp_path / "b.arpa", arpa().replace("<space>", space))
        assert model.charset.characters == (" ", "a", "b") and model.perplexity(["ab b"]) == expected
    both = [*UNIGRAMS, ("-1", "|", ""), ("-1", "_", "")]
    assert read(tmp_path / "c.arpa", arpa(both)).charset.characters == (" ", "_", "a", "b", "|")


def test_line_ends_marks_and_white_space_do_not_matter(tmp_path: Path) -> None:
    expected = read(tmp_path / "a.arpa", arpa()).perplexity(["ab b"])
    forms = [arpa().replace("\n", "\r\n"), "\ufeff" + arpa(), arpa().replace("\t", " "), arpa().replace("\t", "  ")]
    forms += [arpa().replace("ngram 1=", "ngram 1 = "), "made by hand\n\n" + arpa(), arpa().replace("\n", " \n")]
    forms += [arpa().split("ngram 1")[0] + arpa().split("ngram 2=4")[1], arpa().replace("\\end\\\n", "")]
    for number, form in enumerate(forms):
        assert read(tmp_path / f"{number}.arpa", form).perplexity(["ab b"]) == pytest.approx(expected), number


def test_a_compressed_file_becomes_a_language_model(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "language_model.arpa.gz", "wb") as file:
        file.write(arpa().encode())
    make_language_model(LmOptions([str(tmp_path / "language_model.arpa.gz")], out=tmp_path / "a.ngram"))
    assert load_ngram(tmp_path / "a.ngram").charset.characters == (" ", "a", "b")


@pytest.mark.parametrize("missing", ["<unk>", "</s>"])
@pytest.mark.parametrize("how", ["left out", "-99"])
def test_what_has_no_probability_gets_that_of_the_rarest_character(
    tmp_path: Path, missing: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = [(p if word != missing else "-99", word, b) for p, word, b in UNIGRAMS if how == "-99" or word != missing]
    bigrams = [row for row in BIGRAMS if missing not in row[1]]
    with caplog.at_level(logging.WARNING):
        model = read(tmp_path / "a.arpa", arpa(given, bigrams))
    assert missing in caplog.text
    expected = read(tmp_path / "b.arpa", arpa([("-0.7" if w == missing else p, w, b) for p, w, b in UNIGRAMS], bigrams))
    for texts in (["ab"], ["aéb"], ["b"]):
        assert model.perplexity(texts) == pytest.approx(expected.perplexity(texts), rel=1e-5)


def test_a_character_that_the_model_lacks_can_still_be_read(tmp_path: Path) -> None:
    model = read(tmp_path / "a.arpa", arpa(UNIGRAMS[1:]))
    card = Card("test", {}, (" ", "a", "b", "é"), 32, 4, 1000)
    logits = np.full((1, 5, 5), -9.0, np.float32)
    logits[0, range(5), [2, 0, 4, 0, 3]] = 5.0  # aéb
    [[found]] = BeamDecoder(card, Language((Scorer(model, 1.0),))).decode(logits, np.array([5]))
    assert card.characters().decode(found.labels) == "aéb"


def test_letters_with_marks_are_compared_in_normal_form(tmp_path: Path) -> None:
    decomposed = arpa([*UNIGRAMS, ("-1", "e\u0301", "")])
    assert "é" in read(tmp_path / "a.arpa", decomposed).charset.characters
    with pytest.raises(HtrError, match=r"b\.arpa"):
        read(tmp_path / "b.arpa", arpa([*UNIGRAMS, ("-1", "e\u0301", ""), ("-1", "\u00e9", "")]))


@pytest.mark.parametrize(
    "content",
    [
        arpa().split("-0.2\ta b")[0],
        arpa().split("\\2-grams")[0],
        arpa().replace("ngram 2=4", "ngram 2=5"),
        arpa([*UNIGRAMS, ("-1", "the", "")]),
        arpa([*UNIGRAMS, ("-1", "a", "")]),
        arpa(UNIGRAMS[:3], []),
        arpa(bigrams=[*BIGRAMS, ("-0.1", "a c", "")]),
        arpa(bigrams=[*BIGRAMS, ("-0.1", "a b a", "")]),
        arpa(bigrams=[*BIGRAMS, ("x", "a a", "")]),
        arpa().encode("utf-16"),
        gzip.compress(arpa().encode(), mtime=0)[:-9],
        gzip.compress(b"", mtime=0),
        b"mmap lm http://kheafield.com/code format version 5\n\0\0\1",
        b"",
    ],
)
def test_what_cannot_be_read_is_one_sentence_that_names_the_file(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(HtrError, match=r"odd\.arpa"):
        read(tmp_path / "odd.arpa", content)
