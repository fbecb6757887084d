"""Decoding a CTC matrix from anywhere: frames by classes, as recognisers of other makers or public data sets give it.

from htrcompress import decode_matrix

best, *others = decode_matrix("line.npy", "abc…", blank="last", lm="letters.ngram", n_best=5)
print(best.text, best.score)
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from htrcompress.bidi import Direction
from htrcompress.card import Card
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.matrix_file import read_matrix
from htrcompress.decoding.symbols import Blank, classes_of
from htrcompress.errors import HtrError

Values = Literal["logarithms", "probabilities"]
MOST_VALUES = 1 << 28
TOLERANCE = 0.05
"""Probabilities of a frame sum up to one but for this, since files hold rounded ones."""


@dataclass(frozen=True)
class MatrixReading:
    """One reading of a matrix.

    Attributes:
        text: the characters.
        score: log-probability for each character, language included; -inf where there are none.
    """

    text: str
    score: float


def decode_matrix(
    scores: ArrayLike | str | os.PathLike[str],
    characters: str | Sequence[str],
    *,
    blank: Blank = "first",
    values: Values = "logarithms",
    lm: str | os.PathLike[str] | LanguageOptions | None = None,
    beam: BeamOptions = BeamOptions(),
    n_best: int = 1,
    direction: Direction = "ltr",
) -> list[MatrixReading]:
    """Reads a CTC matrix with the prefix beam search.

    Args:
        scores: (T, C) of one line, or (T, 1, C) or (1, T, C); an array, or a `.npy` or text file of one.
        characters: those of the C - 1 classes beside the blank, in their order, as a string or as a list of symbols;
            `<space>` or `|` stands for the space where there is none (`symbols.SPACES`), and `<unk>` and the like count
            as the blank (`symbols.NO_TEXT`).
        blank: `first` or `last`, or the place of the blank among the classes; or its symbol, such as `<ctc>`, and then
            `characters` are those of all C classes.
        values: `logarithms` for log-probabilities and for a network's outputs before the softmax, -inf included, or
            `probabilities`.
        lm: a compiled language model, or all that is known about the language.
        beam: how the search decodes.
        n_best: the largest number of readings.
        direction: of the lines. Those of `ltr` give their text as it stands on the page, from left to right; those of
            `rtl` in the order in which it is read, and they take language models of such lines.

    Returns:
        the readings, the best first: at least one.

    Raises:
        HtrError: the matrix does not fit the characters or holds values that cannot be, or a file cannot be read.
    """
    for name, value, choices in (("values", values, get_args(Values)), ("direction", direction, get_args(Direction))):
        if value not in choices:
            raise HtrError(f"{name} is {value!r}: choose {', '.join(choices)}")
    if not isinstance(n_best, int) or n_best < 1:
        raise HtrError(f"n_best is {n_best}; it must be a whole number from 1 on")
    classes = classes_of(characters, blank, direction)
    given = read_matrix(Path(scores)) if isinstance(scores, str | os.PathLike) else scores
    logits = _logits(_matrix(given, classes.count), values)
    blank_logits = np.logaddexp.reduce(logits[:, classes.silent], axis=1, keepdims=True)
    logits = np.concatenate((blank_logits, logits[:, classes.columns]), axis=1)
    charset = classes.charset
    card = Card("a matrix", {}, charset.characters, height=1, stride=1, max_width=1, direction=direction)
    language = lm if isinstance(lm, LanguageOptions) else LanguageOptions(None if lm is None else os.fspath(lm))
    decoder = BeamDecoder(card, open_language(language, charset), beam)
    decoder.report_unknown()
    [found] = decoder.decode(logits[None], np.array([len(logits)]), n_best)
    if direction == "rtl":
        return [MatrixReading(charset.decode(one.labels), one.score) for one in found]
    return [MatrixReading("".join(charset.characters[i - 1] for i in one.labels), one.score) for one in found]


def _matrix(scores: ArrayLike, classes: int) -> NDArray[np.float32]:
    """The scores as (T, C)."""
    try:
        matrix = np.asarray(scores, np.float32)
    except (TypeError, ValueError):
        raise HtrError("the matrix to decode does not hold numbers in rows of the same length") from None
    shape = " x ".join(map(str, matrix.shape))
    if matrix.ndim == 3 and 1 in matrix.shape[:2]:
        matrix = matrix.reshape(-1, matrix.shape[2])
    if matrix.ndim == 3:
        raise HtrError(f"the matrix to decode is {shape}, which is several lines: decode them one by one")
    if matrix.ndim != 2 or matrix.shape[1] != classes or matrix.size > MOST_VALUES:
        advice = ""
        if matrix.ndim == 2 and matrix.shape[0] == classes:
            advice = "; it seems to be turned: give its .T"
        elif matrix.ndim == 2 and matrix.shape[1] == classes - 1:
            advice = "; if the blank's symbol is among the characters, name it with blank="
        raise HtrError(
            f"the matrix to decode is {shape}, and must be frames x {classes}, a column for each character and one for "
            f"the blank{advice}"
        )
    if np.isnan(matrix).any() or (matrix == math.inf).any():
        raise HtrError("the matrix to decode holds values that are not numbers")
    return matrix


def _logits(matrix: NDArray[np.float32], values: Values) -> NDArray[np.float32]:
    sums = matrix.sum(1)
    probable = matrix.size > 0 and matrix.min() >= 0 and bool(np.allclose(sums, 1, rtol=0, atol=TOLERANCE))
    if values == "logarithms":
        if probable:
            raise HtrError("the matrix to decode holds probabilities, not logarithms: say values='probabilities'")
        return matrix
    if matrix.size and not probable:
        raise HtrError("the rows of the matrix to decode are no probabilities: none may be negative, their sum is 1")
    with np.errstate(divide="ignore"):
        return np.log(matrix)
