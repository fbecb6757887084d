"""Lists of words in `export/cpp`: the same readings and scores as in Python, in both directions of writing."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import Parts
from test_compiled import CARD, LONG, lines
from test_cpp import document

from htrcompress.card import Card
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram import NGram
from htrcompress.decoding.ngram_file import save_ngram
from htrcompress.errors import HtrError

SHALOM = "שלום"


def compare(parts: Parts, card: Card, options: LanguageOptions, folder: Path, kind: str = "peaks") -> list[str]:
    """Decodes in both languages, and returns the best texts, which are the same."""
    (folder / "card.meta").write_text(document(card), encoding="utf-8")
    logits, frames = lines(kind)
    decoder = BeamDecoder(card, open_language(options, card.characters()), BeamOptions(width=9))
    expected = decoder.decode(logits, frames, 2)
    given = [options.file, options.weight, options.bonus, options.words, options.words_bonus]
    words = ["-" if value is None else value for value in given]
    jobs = []
    for number, (row, count) in enumerate(zip(logits, frames, strict=True)):
        (folder / f"{number}").write_bytes(row.tobytes())
        jobs.append([folder / f"{number}", count, folder / "card.meta", *words, 9, 2])
    for line, readings in zip(parts("beam", *jobs), expected, strict=True):
        assert line.startswith("ok "), line
        found = [reading.split(" ") for reading in line.removeprefix("ok ").split(" | ")]
        assert [tuple(map(int, labels)) for _, *labels in found] == [h.labels for h in readings]
        np.testing.assert_allclose([float(score) for score, *_ in found], [h.score for h in readings], rtol=1e-4)
    return [card.characters().decode(readings[0].labels) for readings in expected]


def some_words(seed: int) -> str:
    """Words that the lines may hold, some that they cannot, phrases, and numbers."""
    draw = random.Random(seed)
    letters = [c for c in CARD.charset if c != " "]
    rows = ["".join(draw.choices(letters, k=draw.randint(1, 3))) for _ in range(60)]
    rows += [f"{draw.choice(rows)} {draw.choice(rows)}" for _ in range(15)] + ["", "  ", "\u00df\u4e2d"]
    return "".join(
        row + draw.choice(["", "", "\t2", "\t 0.25 ", "\t3e0"]) + draw.choice(["\n", "\r\n"]) for row in rows
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_lm", [False, True])
def test_readings_are_those_of_python(parts: Parts, tmp_path: Path, seed: int, with_lm: bool) -> None:
    path, lm = tmp_path / "names.txt", tmp_path / "a.ngram"
    path.write_text("\ufeff" * seed + some_words(seed) if seed < 2 else some_words(seed), encoding="utf-8")
    save_ngram(lm, NGram(**{**vars(LONG), "settings": {"words_bonus": "1.75"}}))
    language = LanguageOptions(lm, 0.5, 0.3, path) if with_lm else LanguageOptions(None, None, 0.3, path, 1.5)
    kind = ("peaks", "ties", "flat")[seed]
    texts = compare(parts, CARD, language, tmp_path, kind)
    without = compare(parts, CARD, LanguageOptions(*(None, None) if not with_lm else (lm, 0.5), 0.3), tmp_path, kind)
    assert texts != without


def test_words_are_compared_in_normal_form(parts: Parts, tmp_path: Path) -> None:
    card = Card("test", {}, ("\u00e9", "\u1e69", *CARD.charset[2:]), 32, 4, 1000)
    for form in ("NFC", "NFD"):
        words = [f"\u00e9{c}\u00a0{d}" for c, d in zip(card.charset[4:12], card.charset[5:13], strict=True)] + [
            "\u1e69"
        ]
        (tmp_path / form).write_text(unicodedata.normalize(form, "\n".join(words)), encoding="utf-8")
    composed, decomposed = (
        compare(parts, card, LanguageOptions(words=tmp_path / form, words_bonus=2.5), tmp_path)
        for form in ("NFC", "NFD")
    )
    assert composed == decomposed


def test_a_model_from_right_to_left_is_searched_as_in_python(parts: Parts, tmp_path: Path) -> None:
    charset = {*" ()", *"אבגדהולםשתמנר"}
    assert set(SHALOM) <= charset and len(charset) == len(CARD.charset)
    card = Card("test", {}, tuple(sorted(charset)), 32, 4, 1000, direction="rtl")
    (tmp_path / "names.txt").write_text(f"{SHALOM}\n({SHALOM})\nשל\nלו\nום\n", encoding="utf-8")
    lm = NGram(**{**vars(LONG), "charset": card.characters()})
    save_ngram(tmp_path / "rtl.ngram", lm)
    options = LanguageOptions(tmp_path / "rtl.ngram", 0.5, 0.3, tmp_path / "names.txt", 2.0)
    compare(parts, card, options, tmp_path)
    save_ngram(
        tmp_path / "ltr.ngram",
        NGram(**{**vars(LONG), "charset": Card(**{**vars(card), "direction": "ltr"}).characters()}),
    )
    job = [tmp_path / "0", 60, tmp_path / "card.meta", tmp_path / "ltr.ngram", "-", "-", "-", "-", 9, 1]
    [line] = parts("beam", job)
    assert line.startswith("error: ") and "direction" in line
    with pytest.raises(HtrError, match="direction"):
        BeamDecoder(card, open_language(LanguageOptions(tmp_path / "ltr.ngram"), card.characters()))


def test_lists_that_make_no_sense_are_refused_as_in_python(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "card.meta").write_text(document(CARD), encoding="utf-8")
    logits, frames = lines("peaks")
    (tmp_path / "0").write_bytes(logits[0].tobytes())
    contents = [b"", b" \n\t2\n", b"a\t0\n", b"a\t-1\n", b"a\tx\n", b"a\tnan\n", b"a\tinf\n", b"a\t2e12\n", b"a\t\n"]
    contents += [b"a\t1 2\n", b"a\t1\t2\n", b"\xff\n", b"a" * 201, "\u4e2d\n".encode()]
    jobs = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(content)
        jobs.append([tmp_path / "0", frames[0], tmp_path / "card.meta", "-", "-", "-", path, "-", 9, 1])
        with pytest.raises(HtrError):
            open_language(LanguageOptions(words=path), CARD.characters())
    names = [tmp_path / "names.txt", tmp_path / "none.txt"]
    names[0].write_text("ace\n")
    good = [tmp_path / "0", frames[0], tmp_path / "card.meta", "-", "-", "-", names[0], 0.5, 9, 1]
    jobs += [[*good[:6], names[1], *good[7:]], [*good[:6], "-", *good[7:]], [*good[:7], "nan", *good[8:]], good]
    found = parts("beam", *jobs)
    assert [line.split(" ")[0] for line in found] == ["error:"] * (len(jobs) - 1) + ["ok"], found
