"""CTC beam search with a character language model: `--decoder beam --lm letters.ngram`.

A text is scored as log P(text) and what the language says about it (`language.py`). The search itself is C++ where
`python -m htrcompress.native` has compiled it (`compiled.py`), and NumPy elsewhere (`search.py`): they find the same.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.decoding.base import Hypothesis
from htrcompress.decoding.compiled import CompiledSearch, compiled_search
from htrcompress.decoding.language import Language, label_symbols, report_unknown, require_direction, unknown_characters
from htrcompress.decoding.search import NumpySearch, Search, Settings
from htrcompress.errors import HtrError


@dataclass(frozen=True)
class BeamOptions:
    """How the beam search decodes."""

    width: int = 12
    """Prefixes that are kept for each line."""
    candidates: int = 8
    """Characters that may extend a prefix in a frame: the most probable ones."""
    blank: float = 0.999
    """Frames whose blank is so probable against the most probable character alone are not searched; 1 searches all."""
    floor: float = 1e-4
    """Characters less probable than this do not extend a prefix, but for the most probable one."""

    def __post_init__(self) -> None:
        for name in ("width", "candidates"):
            if not 1 <= getattr(self, name) <= 1024:
                raise HtrError(f"--beam.{name} must be from 1 to 1,024, not {getattr(self, name)}")
        if not 0 < self.blank <= 1:
            raise HtrError(f"--beam.blank must be above 0 and at most 1, not {self.blank}")
        if not 0 <= self.floor < 1:
            raise HtrError(f"--beam.floor must be from 0 to below 1, not {self.floor}")


class BeamDecoder:
    """Reads logits with a prefix beam search.

    Args:
        card: the recogniser's card.
        language: what is known about the language; nothing, by default.
        options: see `BeamOptions`.

    Attributes:
        unknown: characters of the recogniser that a scorer lacks and scores as unknown.
        search: what searches.
    """

    def __init__(self, card: Card, language: Language = Language(), options: BeamOptions = BeamOptions()):
        self.card, self.options, self.language = card, options, language
        require_direction(card, language)
        self.unknown = unknown_characters(card, language)
        self.search = self._search()

    def report_unknown(self) -> None:
        """Warns of characters that the language model lacks."""
        report_unknown(self.card, self.language)

    def _search(self) -> Search:
        options, symbols = self.options, label_symbols(self.card, self.language)
        margin = math.inf if options.blank == 1 else math.log(options.blank / (1 - options.blank))
        settings = Settings(options.width, options.candidates, margin, options.floor)
        library = compiled_search()
        if library is None:
            return NumpySearch(settings, self.language, symbols)
        return CompiledSearch(library, settings, self.language, symbols)

    def __reduce__(self) -> tuple[type["BeamDecoder"], tuple[Card, Language, BeamOptions]]:
        return BeamDecoder, (self.card, self.language, self.options)

    def decode(
        self,
        logits: NDArray[np.float32],
        frames: NDArray[np.integer],
        n_best: int = 1,
        memory: NDArray[np.float32] | None = None,
    ) -> list[list[Hypothesis]]:
        """The readings of each row, the best first; see `Decoder.decode`.

        Raises:
            HtrError: the logits hold NaN or an infinite largest value, or do not fit the charset or the frames.
        """
        lines, steps, classes = logits.shape
        odd = classes != len(self.card.charset) + 1 or frames.shape != (lines,)
        if odd or frames.min(initial=0) < 0 or frames.max(initial=0) > steps:
            raise HtrError(
                f"the logits are {lines} lines of {steps} frames and {classes} classes, which does not fit their "
                f"{len(frames)} widths and the {len(self.card.charset)} characters"
            )
        return [
            [Hypothesis(labels, score / len(labels) if labels else -math.inf) for labels, score in found]
            for found in self.search.decode(logits, frames, n_best)
        ]
