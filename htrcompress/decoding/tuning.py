"""Chooses the weight of a language model and the bonuses on lines whose logits are computed once and decoded often."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress import metrics
from htrcompress.card import Card
from htrcompress.decoding.base import GreedyDecoder
from htrcompress.decoding.batches import decode_all
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import DEFAULT_WEIGHT, DEFAULT_WORDS_BONUS, Language, Scorer
from htrcompress.decoding.ngram import NGram

WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3)
BONUSES = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
WORDS_BONUSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
UNTUNED = (DEFAULT_WEIGHT, 0.0, DEFAULT_WORDS_BONUS)
"""Weight, bonus and bonus of words where nothing was tuned."""


@dataclass(frozen=True)
class Tuned:
    """What tuning found; rates are fractions.

    Attributes:
        weight, bonus, words_bonus: see `LanguageOptions`; the last is None where there is no list of words.
        cer: character error rate with them.
        greedy: that of greedy decoding.
        lines: how many lines decided.
    """

    weight: float
    bonus: float
    cer: float
    greedy: float
    lines: int
    words_bonus: float | None = None


def tune(
    card: Card,
    lm: NGram,
    logits: Sequence[NDArray[np.float32]],
    truth: Sequence[str],
    options: BeamOptions,
    words: NGram | None = None,
) -> Tuned:
    """The numbers with the lowest character error rate, searched one after the other on a coarse, then a finer grid.

    Among numbers that read the lines equally well, those nearest to the defaults are chosen.

    Args:
        card: of the recogniser.
        lm: the language model.
        logits: FP32 (T, C) of each line, its own frames alone.
        truth: the transcriptions.
        options: of the search.
        words: a compiled list of words (`words.compile_words`) that is used beside it.
    """
    charset = card.characters()

    def read(weight: float, bonus: float, words_bonus: float) -> float:
        scorers = (Scorer(lm, weight), *((Scorer(words, words_bonus),) if words and words_bonus else ()))
        decoder = BeamDecoder(card, Language(scorers, bonus), options)
        return metrics.cer(truth, [charset.decode(labels) for labels in decode_all(decoder, logits)])

    greedy = [charset.decode(labels) for labels in decode_all(GreedyDecoder(card), logits)]
    seen: dict[tuple[float, float, float], float] = {}

    def best(points: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
        for point in points:
            if point not in seen:
                seen[point] = read(*point)
        return min(seen, key=lambda point: (seen[point], *(abs(a - b) for a, b in zip(point, UNTUNED, strict=True))))

    w, b, x = best([(weight, 0.5, 0.0) for weight in WEIGHTS])
    w, b, x = best([(w, bonus, 0.0) for bonus in BONUSES])
    if words is not None:
        w, b, x = best([(w, b, bonus) for bonus in WORDS_BONUSES])
    w, b, x = best([(round(w + step, 2), b, x) for step in (-0.2, -0.1, 0.1, 0.2) if w + step >= 0])
    w, b, x = best([(w, round(b + step, 2), x) for step in (-0.25, 0.25)])
    cer, greedy_cer = seen[w, b, x], metrics.cer(truth, greedy)
    return Tuned(w, b, cer, greedy_cer, len(truth), None if words is None else x)
