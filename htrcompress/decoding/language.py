"""What a decoder knows about the language: character models with a weight each, and a bonus for every character.

A text is scored as log P(text) + the sum of each scorer's weight times its score + bonus * characters. A scorer is an
automaton in the compiled form of `ngram.py`: arcs with a score and the state behind them, and a shorter state with a
score for all symbols that have no arc. A character n-gram is one, a list of words (`words.py`) is another, and a
decoder follows any number of them side by side without knowing which is which.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htrcompress.charset import Charset
from htrcompress.decoding.ngram import NGram
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.decoding.words import compile_words, read_words
from htrcompress.errors import HtrError

DEFAULT_WEIGHT = 0.5
"""Weight of a language model that was not tuned."""
DEFAULT_WORDS_BONUS = 0.5
"""Bonus for each character of a listed word that was not tuned."""


@dataclass(frozen=True)
class LanguageOptions:
    """What the beam search knows about the language."""

    file: Path | None = None
    """A character language model, from `python -m htrcompress.lm`; `--lm FILE` says the same."""
    weight: float | None = None
    """Weight of the language model's log-probability; what it was tuned to, or 0.5, if not given."""
    bonus: float | None = None
    """Added for every character, since language models prefer short texts; as tuned, or 0, if not given."""
    words: Path | None = None
    """A list of likely words, such as the names of an archive: a text file with one in each row, and after a tab, if
    some shall count more, a number that multiplies the bonus."""
    words_bonus: float | None = None
    """Added for every character of a listed word; as tuned, or 0.5, if not given."""

    def __post_init__(self) -> None:
        for name in ("weight", "bonus", "words_bonus"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise HtrError(f"--lm.{name} must be a finite number, not {value}")
        if self.file is None and self.weight is not None:
            raise HtrError("--lm.weight does nothing without a language model: name one with --lm")
        if self.words is None and self.words_bonus is not None:
            raise HtrError("--lm.words_bonus does nothing without a list of words: name one with --lm.words")


@dataclass(frozen=True)
class Scorer:
    """An automaton over characters, and the weight of what it says."""

    automaton: NGram
    weight: float


@dataclass(frozen=True)
class Language:
    """What a decoder adds to the score of a text.

    Attributes:
        scorers: are followed side by side; a decoder's state has one entry for each.
        bonus: added for every character.
        calibration: what makes probabilities of the confidences of readings with it (`confidence.Calibration`); empty
            if it was not fitted.
    """

    scorers: tuple[Scorer, ...] = ()
    bonus: float = 0.0
    calibration: str = ""


def open_language(options: LanguageOptions, charset: Charset) -> Language:
    """Opens the files that the options name, for a recogniser of these characters.

    Raises:
        HtrError: a file is missing or of another kind, or holds no word of these characters.
    """
    model = None if options.file is None else load_ngram(options.file)
    settings: Mapping[str, str] = {} if model is None else model.settings
    scorers = []
    if model is not None:
        scorers.append(Scorer(model, _setting(options.weight, settings, "weight", DEFAULT_WEIGHT)))
    if options.words is not None:
        bonus = _setting(options.words_bonus, settings, "words_bonus", DEFAULT_WORDS_BONUS)
        scorers.append(Scorer(compile_words(read_words(options.words), charset), bonus))
    return Language(tuple(scorers), _setting(options.bonus, settings, "bonus", 0.0), settings.get("calibration", ""))


def _setting(given: float | None, settings: Mapping[str, str], name: str, otherwise: float) -> float:
    """A number that is given, or tuned and kept in the language model, or the default."""
    return given if given is not None else float(settings.get(name, otherwise))
