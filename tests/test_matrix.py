"""A CTC matrix from anywhere is read: blank first or last, logarithms or probabilities, with a language model."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_compiled import CARD, LONG, lines

from htrcompress import HtrError, decode_matrix
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram import NGram
from htrcompress.decoding.ngram_file import save_ngram

LOGITS, FRAMES = lines("peaks")
CHARACTERS = "".join(CARD.charset)


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    values = np.exp(logits - logits.max(1, keepdims=True).astype(np.float64))
    return values / values.sum(1, keepdims=True)


@pytest.mark.parametrize("row", range(4, 10))
def test_all_forms_of_a_matrix_read_what_the_recogniser_reads(row: int, tmp_path: Path) -> None:
    save_ngram(tmp_path / "a.ngram", LONG)
    options = LanguageOptions(tmp_path / "a.ngram", 0.8, 1.0)
    decoder = BeamDecoder(CARD, open_language(options, CARD.characters()))
    logits = LOGITS[row, : FRAMES[row]]
    [expected] = decoder.decode(logits[None], FRAMES[[row]], 3)
    texts = ["".join(CHARACTERS[label - 1] for label in h.labels) for h in expected]
    chances = probabilities(logits)
    forms = [(logits, {}), (logits.tolist(), {}), (np.log(chances), {}), (chances, {"values": "probabilities"})]
    for matrix, given in forms:
        for blank in ("first", "last"):
            turned = matrix if blank == "first" else np.roll(matrix, -1, axis=1)
            found = decode_matrix(turned, CHARACTERS, blank=blank, lm=options, n_best=3, **given)  # type: ignore[arg-type]
            assert [reading.text for reading in found] == texts
            np.testing.assert_allclose([r.score for r in found], [h.score for h in expected], rtol=1e-4)


def test_the_three_lines_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "decoders.md").read_text(encoding="utf-8")
    [code] = [block for block in page.split("```python\n") if block.startswith("from htrcompress import decode_matrix")]
    monkeypatch.chdir(tmp_path)
    np.save("line.npy", np.roll(probabilities(LOGITS[4]), -1, axis=1))
    save_ngram(Path("letters.ngram"), LONG)
    names: dict[str, object] = {"characters": CHARACTERS}
    Path("page.py").write_text(code.partition("```")[0])
    assert isinstance(runpy.run_path("page.py", names)["best"].text, str)


def test_probabilities_of_zero_and_empty_matrices_are_read() -> None:
    sure = np.zeros((5, 4))
    sure[range(5), [0, 1, 1, 0, 3]] = 1
    assert decode_matrix(sure, "abc", values="probabilities")[0].text == "ac"
    [empty] = decode_matrix(np.zeros((0, 4)), "abc")
    assert empty.text == "" and empty.score == -np.inf


SURE = np.eye(4)[[0, 1, 1, 0, 3, 0, 2]] * 0.96 + 0.01
"""Frames that write "ac b" where the classes are the blank and these: class 3 is a space or c, as they say."""


def test_symbols_of_other_makers_are_taken_for_what_they_stand_for() -> None:
    def read(characters: list[str] | str, matrix: NDArray = SURE, **given: object) -> str:
        return decode_matrix(matrix, characters, values="probabilities", **given)[0].text  # type: ignore[arg-type]

    assert read("abc") == read(["a", "b", "c"]) == read(["<ctc>", "a", "b", "c"], blank="<ctc>") == "acb"
    assert read(["", "a", "b", "c"], blank="") == read("abc", blank=0) == read("abc", blank=-4) == "acb"
    assert read(["a", "b", "c", "<pad>"], np.roll(SURE, -1, 1), blank="<pad>") == "acb"
    for space in ("<space>", "<SPACE>", "\u2581", "|", " "):
        assert read(["a", "b", space]) == "a b"
    assert read(["a", "|", "<space>"]) == "a |"
    assert read(["a", "<unk>", "c"]) == "ac"
    assert read(["<unk>", "a", "<ctc>", "c"], blank="<ctc>") == "ac"
    assert read(["a", "b", "e\u0301"]) == "a\u00e9b"


def test_the_blank_may_stand_anywhere() -> None:
    for place in range(4):
        turned = np.insert(SURE[:, 1:], place, SURE[:, 0], axis=1)
        assert decode_matrix(turned, "abc", blank=place, values="probabilities")[0].text == "acb"


def test_one_line_of_a_batch_is_read_and_several_are_refused() -> None:
    for matrix in (SURE[:, None], SURE[None], SURE.astype(np.float16)):
        assert decode_matrix(matrix, "abc", values="probabilities")[0].text == "acb"
    with pytest.raises(HtrError, match="one by one"):
        decode_matrix(np.stack([SURE, SURE]), "abc", values="probabilities")
    with pytest.raises(HtrError, match=r"\.T"):
        decode_matrix(SURE.T, "abc", values="probabilities")
    with pytest.raises(HtrError, match="blank="):
        decode_matrix(SURE, ["<ctc>", "a", "b", "c"], values="probabilities")


def test_probabilities_that_a_file_rounds_are_read() -> None:
    assert decode_matrix(SURE.round(2), "abc", values="probabilities")[0].text == "acb"
    assert decode_matrix(SURE * 0.97, "abc", values="probabilities")[0].text == "acb"


@pytest.mark.parametrize("separator", [";", ",", "\t", " ", "; "])
@pytest.mark.parametrize("behind", ["", "end"])
def test_matrices_in_files_are_read(tmp_path: Path, separator: str, behind: str) -> None:
    rows = [separator.join(f"{value:.6g}" for value in row) + (separator if behind else "") for row in SURE]
    (tmp_path / "line.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    np.save(tmp_path / "line.npy", SURE)
    expected = decode_matrix(SURE, "abc", values="probabilities")
    assert decode_matrix(str(tmp_path / "line.npy"), "abc", values="probabilities") == expected
    [found] = decode_matrix(tmp_path / "line.csv", "abc", values="probabilities")
    assert found.text == expected[0].text and found.score == pytest.approx(expected[0].score, abs=1e-5)


def test_files_that_are_no_matrices_are_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    (tmp_path / "text.csv").write_text("frame;a;b\n1;2;3\n")
    (tmp_path / "ragged.csv").write_text("1;2;3;4\n1;2;3\n")
    (tmp_path / "empty.csv").write_text("")
    for name in ("objects.npy", "cut.npy", "text.csv", "ragged.csv", "empty.csv", "none.npy", "none.csv", "."):
        with pytest.raises(HtrError):
            decode_matrix(tmp_path / name, "abc")


def test_lines_from_right_to_left_take_their_language_models(tmp_path: Path) -> None:
    hebrew = "\u05d0\u05d1\u05d2"
    card = Card("test", {}, tuple(hebrew), 32, 4, 9, direction="rtl")
    logits = np.eye(4)[[0, 1, 1, 0, 3, 0, 2]] * 9
    assert decode_matrix(logits, hebrew)[0].text == "\u05d0\u05d2\u05d1"
    [found] = decode_matrix(logits, hebrew, direction="rtl")
    assert found.text == card.characters().decode((1, 3, 2))
    save_ngram(tmp_path / "rtl.ngram", NGram(**{**vars(LONG), "charset": Charset(LONG.charset.characters, "rtl")}))
    assert decode_matrix(logits, hebrew, direction="rtl", lm=tmp_path / "rtl.ngram")[0].text == found.text
    with pytest.raises(HtrError, match="direction"):
        decode_matrix(logits, hebrew, lm=tmp_path / "rtl.ngram")


@pytest.mark.parametrize(
    ("matrix", "given"),
    [
        (np.zeros((3, 3)), {}),
        (np.zeros((2, 3, 4)), {}),
        (np.full((3, 4), np.nan), {}),
        (np.full((3, 4), -np.inf), {}),
        (np.full((3, 4), 0.25), {}),
        (np.full((3, 4), 0.5), {"values": "probabilities"}),
        (np.zeros((3, 4)), {"blank": "middle"}),
        (np.zeros((3, 4)), {"values": "odds"}),
        (np.zeros((3, 4)), {"blank": 4}),
        (np.zeros((3, 4)), {"blank": True}),
        (np.zeros((3, 4)), {"blank": "<ctc>"}),
        (np.zeros((3, 4)), {"direction": "up"}),
        (np.zeros((3, 4)), {"characters": ["a", "b", "ch"]}),
        (np.zeros((3, 4)), {"characters": ["a", "\u00e9", "e\u0301"]}),
        (np.zeros((3, 4)), {"characters": ["<ctc>", "<unk>", "<s>", "</s>"], "blank": "<ctc>"}),
        ([[0.0, 1.0], [0.0]], {}),
        (np.zeros((3, 4)), {"n_best": 0}),
        (np.zeros((3, 4)), {"characters": "aab"}),
        ([["a"]], {}),
    ],
)
def test_what_cannot_be_is_one_sentence(matrix: object, given: dict) -> None:
    with pytest.raises(HtrError):
        decode_matrix(matrix, **{"characters": "abc", **given})  # type: ignore[arg-type]
