"""What a decoder knows about the language: character models with a weight each, and a bonus for every character.

A text is scored as log P(text) + the sum of each scorer's weight times its score + bonus * characters. A scorer is an
automaton in the compiled form of `ngram.py`: arcs with a score and the state behind them, and a shorter state with a
score for all symbols that have no arc. A character n-gram is one, a list of words (`words.py`) is another, and a
decoder follows any number of them side by side without knowing which is which.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.catalogue.find import locate
from htrcompress.catalogue.index import LanguageEntry
from htrcompress.charset import Charset
from htrcompress.decoding.kneser_ney import END
from htrcompress.decoding.ngram import NGram, Rows
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.decoding.words import compile_words, read_words
from htrcompress.errors import HtrError

logger = logging.getLogger(__name__)
DEFAULT_WEIGHT = 0.5
"""Weight of a language model that was not tuned."""
DEFAULT_WORDS_BONUS = 0.5
"""Bonus for each character of a listed word that was not tuned."""


@dataclass(frozen=True)
class LanguageOptions:
    """What the beam search knows about the language."""

    file: str | Path | None = None
    """A character language model: a name that `htrcompress models` lists, or a file of `python -m htrcompress.lm`;
    `--lm NAME` says the same."""
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

    def located(self) -> Path | None:
        """The language model's file, fetched where it is named by an address; None without one.

        Raises:
            HtrError: no language model is called so, or it cannot be fetched.
        """
        return None if self.file is None else locate(self.file, LanguageEntry)


@dataclass(frozen=True)
class Scorer:
    """An automaton over characters, and the weight of what it says."""

    automaton: NGram
    weight: float

    @property
    def raises(self) -> bool:
        """Whether another character may raise the score, as a listed word does."""
        return self.weight < 0 or bool((self.automaton.arrays["arc_log_probability"] > 0).any())


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


def label_symbols(card: Card, language: Language) -> list[list[int]]:
    """For each scorer, its symbol for every label of a recogniser, that of the blank included, which is never read."""
    text = "".join(card.charset)
    return [[0, *scorer.automaton.symbols(text).tolist()] for scorer in language.scorers]


class LabelRows:
    """Each scorer's rows for a recogniser's labels and the end of a line, which stands in the last column.

    Rows are made while texts are scored, so each thread has its own.

    Args:
        language: its scorers.
        symbols: from `label_symbols`.
    """

    def __init__(self, language: Language, symbols: Sequence[Sequence[int]]):
        self._language, self._symbols = language, symbols
        self._tables = threading.local()

    def here(self) -> list[Rows]:
        """Those of this thread."""
        if not hasattr(self._tables, "rows"):
            pairs = zip(self._language.scorers, self._symbols, strict=True)
            self._tables.rows = [Rows(scorer.automaton, [*symbols, END]) for scorer, symbols in pairs]
        return self._tables.rows


class Follower:
    """Follows the scorers of a language along many texts at once, for searches in NumPy.

    Args:
        card: of the recogniser, whose labels are followed.
        language: its scorers and its bonus.

    Attributes:
        rises: whether another character may raise a score.

    Raises:
        HtrError: a scorer is of lines of another direction.
    """

    def __init__(self, card: Card, language: Language):
        require_direction(card, language)
        self.language, self.classes = language, len(card.charset) + 1
        self.rows = LabelRows(language, label_symbols(card, language))
        self.rises = language.bonus > 0 or any(scorer.raises for scorer in language.scorers)

    def begin(self, lines: int) -> NDArray[np.int64]:
        """The scorers' states at the start of each line, (lines, 1, scorers)."""
        begin = np.array([scorer.automaton.begin for scorer in self.language.scorers], np.int64)
        return np.broadcast_to(begin, (lines, 1, len(begin)))

    def follow(self, states: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What each label behind some texts scores, and the scorers' states behind it.

        (B, K, scorers) to (B, K, classes), where column 0 is the end of the line, and (B, K, classes, scorers).
        """
        shape = (*states.shape[:2], self.classes)
        score, following = np.full(shape, self.language.bonus), np.zeros((*shape, states.shape[2]), np.int64)
        score[:, :, 0] = 0
        for place, (scorer, rows) in enumerate(zip(self.language.scorers, self.rows.here(), strict=True)):
            row, columns = rows.rows_of(states[:, :, place]), rows.place[[-1, *range(1, self.classes)]]
            score += scorer.weight * rows.log_probability[row][:, :, columns].astype(np.float64)
            following[:, :, :, place] = rows.next_state[row][:, :, columns]
        return score, following


def require_direction(card: Card, language: Language) -> None:
    """Raises HtrError where a scorer was made of lines of another direction than the recogniser reads."""
    for scorer in language.scorers:
        if scorer.automaton.charset.direction != card.direction:
            raise HtrError(
                f"--lm: {card.name} reads lines of direction {card.direction}, and the language model is of direction "
                f"{scorer.automaton.charset.direction}: make one of such texts with `python -m htrcompress.lm`"
            )


def unknown_characters(card: Card, language: Language) -> tuple[str, ...]:
    """Characters of a recogniser that a scorer lacks and scores as unknown."""
    if not language.scorers:
        return ()
    known = set.intersection(*(set(scorer.automaton.charset.characters) for scorer in language.scorers))
    return tuple(c for c in card.charset if c not in known)


def report_unknown(card: Card, language: Language) -> None:
    """Warns of characters that the language model lacks."""
    unknown = unknown_characters(card, language)
    if unknown:
        logger.warning("the language model lacks %s: scored as unknown", " ".join(unknown))


def open_language(options: LanguageOptions, charset: Charset) -> Language:
    """Opens the files that the options name, for a recogniser of these characters.

    Raises:
        HtrError: a file is missing or of another kind, or holds no word of these characters.
    """
    file = options.located()
    model = None if file is None else load_ngram(file)
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
