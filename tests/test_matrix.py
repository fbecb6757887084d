"""A CTC matrix from anywhere is read: blank first or last, logarithms or probabilities, with a language model."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_compiled import CARD, LONG, lines

from htrcompress import HtrError, decode_matrix
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import LanguageOptions, open_language
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
        (np.zeros((3, 4)), {"n_best": 0}),
        (np.zeros((3, 4)), {"characters": "aab"}),
        ([["a"]], {}),
    ],
)
def test_what_cannot_be_is_one_sentence(matrix: object, given: dict) -> None:
    with pytest.raises(HtrError):
        decode_matrix(matrix, **{"characters": "abc", **given})  # type: ignore[arg-type]
