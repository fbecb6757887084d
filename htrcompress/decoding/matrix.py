"""Decoding a CTC matrix from anywhere: frames by classes, as recognisers of other makers or public data sets give it.

from htrcompress import decode_matrix

best, *others = decode_matrix(numpy.load("line.npy"), "abc…", blank="last", lm="letters.ngram", n_best=5)
print(best.text, best.score)
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.errors import HtrError

Blank = Literal["first", "last"]
Values = Literal["logarithms", "probabilities"]
MOST_VALUES = 1 << 28


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
    scores: ArrayLike,
    characters: str | Sequence[str],
    *,
    blank: Blank = "first",
    values: Values = "logarithms",
    lm: str | os.PathLike[str] | LanguageOptions | None = None,
    beam: BeamOptions = BeamOptions(),
    n_best: int = 1,
) -> list[MatrixReading]:
    """Reads a CTC matrix with the prefix beam search.

    Args:
        scores: (T, C) of one line.
        characters: those of the C - 1 classes beside the blank, in their order; each a single NFC code point. A matrix
            whose lines are written from right to left gives its text as it stands on the page, from left to right.
        blank: the place of the blank among the classes.
        values: `logarithms` for log-probabilities and for a network's outputs before the softmax, -inf included, or
            `probabilities`.
        lm: a compiled language model, or all that is known about the language.
        beam: how the search decodes.
        n_best: the largest number of readings.

    Returns:
        the readings, the best first: at least one.

    Raises:
        HtrError: the matrix does not fit the characters or holds values that cannot be, or the language model cannot
            be read.
    """
    for name, value, choices in (("blank", blank, get_args(Blank)), ("values", values, get_args(Values))):
        if value not in choices:
            raise HtrError(f"{name} is {value!r}: choose {', '.join(choices)}")
    if not isinstance(n_best, int) or n_best < 1:
        raise HtrError(f"n_best is {n_best}; it must be a whole number from 1 on")
    charset = Charset(tuple(characters))
    logits = _logits(scores, charset, values)
    if blank == "last":
        logits = np.roll(logits, 1, axis=1)
    card = Card("a matrix", {}, charset.characters, height=1, stride=1, max_width=1)
    language = lm if isinstance(lm, LanguageOptions) else LanguageOptions(None if lm is None else Path(lm))
    decoder = BeamDecoder(card, open_language(language, charset), beam)
    [found] = decoder.decode(logits[None], np.array([len(logits)]), n_best)
    return [MatrixReading("".join(charset.characters[i - 1] for i in one.labels), one.score) for one in found]


def _logits(scores: ArrayLike, charset: Charset, values: Values) -> np.ndarray:
    try:
        matrix = np.asarray(scores, np.float32)
    except (TypeError, ValueError):
        raise HtrError("the matrix to decode does not hold numbers") from None
    if matrix.ndim != 2 or matrix.shape[1] != charset.classes or matrix.size > MOST_VALUES:
        shape = " x ".join(map(str, matrix.shape))
        raise HtrError(
            f"the matrix to decode is {shape}; it must be frames x {charset.classes}: a column for each of the "
            f"{len(charset.characters)} characters, and one for the blank"
        )
    if np.isnan(matrix).any() or (matrix == math.inf).any():
        raise HtrError("the matrix to decode holds values that are not numbers")
    probable = matrix.size > 0 and matrix.min() >= 0 and bool(np.allclose(matrix.sum(1), 1, atol=1e-2))
    if values == "logarithms":
        if probable:
            raise HtrError("the matrix to decode holds probabilities, not logarithms: say values='probabilities'")
        return matrix
    if matrix.size and not probable:
        raise HtrError("the rows of the matrix to decode are no probabilities: none may be negative, their sum is 1")
    with np.errstate(divide="ignore"):
        return np.log(matrix)
