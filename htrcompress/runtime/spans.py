"""Where the characters and words of a reading stand in the picture, and how sure each of them is."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.confidence import Calibration, Odds, Sureness, product
from htrcompress.decoding.language import Language

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Span:
    """A character or a word of a reading.

    Attributes:
        text: what was read.
        start, end: columns of the picture as it was given (turned upright, where its file says so), in pixels.
        confidence: probability that it is right.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Spans:
    """The characters and words of one reading, in the order of the page, from left to right.

    Attributes:
        characters: all of them, spaces included; each ends where the next begins.
        words: what stands between spaces.
        confidence: the mean of the characters', which is the share of them that should be right; 0 if there are none.
    """

    characters: tuple[Span, ...]
    words: tuple[Span, ...]
    confidence: float


class SpanFinder:
    """Finds the spans of readings.

    Args:
        card: the recogniser's.
        language: what its decoder knows about the language.
    """

    def __init__(self, card: Card, language: Language = Language()):
        self.card, self.odds = card, Odds(card, language)
        self._charset = card.characters()
        # that of the language model, where there is one; else that of the network alone comes closest
        text = language.calibration or card.calibration
        self._calibration = Calibration.from_text(text, card.name) if text else Calibration()
        self._warned = bool(language.calibration if language.scorers else card.calibration)

    def find(
        self,
        logits: NDArray[np.float32],
        widths: NDArray[np.int32],
        labels: Sequence[tuple[int, ...]],
        pictures: Sequence[int],
    ) -> list[Spans]:
        """The spans of the reading of each line; warns once where its confidences are not calibrated.

        Args:
            logits: (B, T, C).
            widths: of the lines as the network had them, in pixels.
            labels: the readings.
            pictures: widths of the pictures as they were given; 0 where it is not known.
        """
        if not self._warned:
            how = " with this language model or list of words" if self.odds.language.scorers else ""
            logger.warning("the confidences of %s%s are not calibrated: see htrcompress.calibrate", self.card.name, how)
            self._warned = True
        stride, found = self.card.stride, []
        sure = self.odds.of(logits, -(-widths // stride), labels)
        for row, one, width, picture in zip(labels, sure, widths.tolist(), pictures, strict=True):
            scale = (picture or width) / width
            found.append(make_spans(self._charset, row, one, self._calibration, scale * width, scale * stride))
        return found


def make_spans(
    charset: Charset, labels: Sequence[int], sure: Sureness, calibration: Calibration, width: float, frame: float
) -> Spans:
    """The spans of one reading.

    Args:
        charset: the recogniser's.
        labels: the reading.
        sure: where its characters stand and their odds.
        calibration: what turns odds into probabilities.
        width: of the picture as it was given, in pixels.
        frame: width of a frame in these pixels.
    """
    if not labels:
        return Spans((), (), 0.0)
    probability = calibration.character(sure.odds)
    edges = _edges(sure, width, frame)
    texts = [charset.decode((label,)) for label in labels]
    characters = tuple(
        Span(text, start, end, round(float(p), 4))
        for text, start, end, p in zip(texts, edges[:-1], edges[1:], probability, strict=True)
    )
    words, place = [], 0
    for is_space, some in groupby(texts, str.isspace):
        start, place = place, place + len(list(some))
        if not is_space:
            odds = np.array(product(probability[start:place]))
            text = charset.decode(labels[start:place])
            words.append(Span(text, edges[start], edges[place], round(float(calibration.word(odds)), 4)))
    return Spans(characters, tuple(words), round(float(probability.mean()), 4))


def _edges(sure: Sureness, width: float, frame: float) -> list[float]:
    """Where characters begin and end, one more than there are: halfway between the frames of neighbours.

    CTC emits a character in the few frames where it is surest, so these say where a character is, not how wide. The
    outer edges are as far from the first and the last as the inner ones.
    """
    first, last = sure.alignment.first, sure.alignment.last + 1
    between = (last[:-1] + first[1:]) / 2
    middle = (first + last) / 2
    if len(between):
        left, right = 2 * middle[0] - between[0], 2 * middle[-1] - between[-1]
    else:
        left, right = float(first[0]), float(last[0])
    edges = np.concatenate(([min(left, first[0])], between, [max(right, last[-1])]))
    return [round(float(edge), 1) for edge in np.clip(edges * frame, 0, width)]
