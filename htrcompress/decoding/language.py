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

from htrcompress.decoding.ngram import NGram
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.errors import HtrError

DEFAULT_WEIGHT = 0.5
"""Weight of a language model that was not tuned."""


@dataclass(frozen=True)
class LanguageOptions:
    """What the beam search knows about the language."""

    file: Path | None = None
    """A character language model, from `python -m htrcompress.lm`; `--lm FILE` says the same."""
    weight: float | None = None
    """Weight of the language model's log-probability; what it was tuned to, or 0.5, if not given."""
    bonus: float | None = None
    """Added for every character, since language models prefer short texts; as tuned, or 0, if not given."""

    def __post_init__(self) -> None:
        for name in ("weight", "bonus"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise HtrError(f"--lm.{name} must be a finite number, not {value}")
        if self.file is None and self.weight is not None:
            raise HtrError("--lm.weight does nothing without a language model: name one with --lm")


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
    """

    scorers: tuple[Scorer, ...] = ()
    bonus: float = 0.0


def open_language(options: LanguageOptions) -> Language:
    """Opens the files that the options name.

    Raises:
        HtrError: a file is missing or of another kind.
    """
    model = None if options.file is None else load_ngram(options.file)
    settings: Mapping[str, str] = {} if model is None else model.settings
    weight = _setting(options.weight, settings, "weight", DEFAULT_WEIGHT)
    scorers = () if model is None else (Scorer(model, weight),)
    return Language(scorers, _setting(options.bonus, settings, "bonus", 0.0))


def _setting(given: float | None, settings: Mapping[str, str], name: str, otherwise: float) -> float:
    """A number that is given, or tuned and kept in the language model, or the default."""
    return given if given is not None else float(settings.get(name, otherwise))
