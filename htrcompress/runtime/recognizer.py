"""From pictures of lines to their text, over any back end.

A back end runs one batch through the network; everything around that is here, once, so a model reads the same in every
format:

    recognizer = load("student.onnx")
    for reading in recognizer.read(["a.png", "b.png"]):
        print(reading.text, reading.score)
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from htrcompress.decoding.base import Decoder, Hypothesis
from htrcompress.decoding.language import Language
from htrcompress.errors import HtrError
from htrcompress.image import pad
from htrcompress.runtime.backend import Backend, Output, joined
from htrcompress.runtime.pictures import Invert, Picture, Pixels, PreparedLine, prepare
from htrcompress.runtime.schedule import Schedule
from htrcompress.runtime.spans import Span, SpanFinder
from htrcompress.utils.machine import cores

MAX_BATCH = 65_536
DECODED_TOGETHER = 64
"""Lines that a decoder gets at once: a beam search over arrays takes hardly longer for them than for a few."""


@dataclass(frozen=True)
class Reading:
    """What a model reads in one line.

    Attributes:
        text: the characters.
        score: mean log-probability of the characters, each at its first frame; -inf where there are none.
        hint: why the text may be nonsense, such as light ink on dark paper; empty if nothing is known.
        alternatives: the next best readings, the best first, where `n_best` asks for them.
        confidence: the share of the characters that should be right; None unless `spans` asks for it.
        characters, words: where they stand and how sure each is, where `spans` asks for them; from left to right.
    """

    text: str
    score: float
    hint: str = ""
    alternatives: tuple["Reading", ...] = ()
    confidence: float | None = None
    characters: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()


class Recognizer:
    """Reads lines with a model. `load` makes one; several threads may use it.

    It can be pickled and copied: the model file is then opened again. A process that inherits it through a fork reads
    with ONNX Runtime as before, and with PyTorch on one thread; on a GPU the model must be loaded in that process.

    Args:
        backend: what runs the network.
        decoder: reads the network's logits; the greedy decoder inside the graph if None.
        threads: threads that decode pictures; one for each core that the process may use if None.

    Attributes:
        backend: what runs the network.
        card: the model's card.
        decoder: see above.
    """

    def __init__(self, backend: Backend, decoder: Decoder | None = None, threads: int | None = None):
        self.backend, self.decoder, self.threads = backend, decoder, threads
        self.card = backend.card
        self._charset = self.card.characters()
        self._max_width = int(min(backend.max_width, self.card.max_width))
        self._finder = SpanFinder(self.card, getattr(decoder, "language", Language()))
        self._closed = False

    def read(
        self,
        images: Iterable[Picture],
        batch_size: int = 32,
        invert: Invert = "never",
        n_best: int = 1,
        spans: bool = False,
    ) -> list[Reading]:
        """Reads lines, in the order given; a line reads the same whatever stands beside it.

        Args:
            images: any number of pictures, of any height: paths, bytes of image files, binary file objects, uint8
                arrays (h, w), (h, w, 3) or (h, w, 4), or PIL images.
            batch_size: the most lines in one batch of the network; fewer where an engine takes no more, or where a CPU
                is faster with fewer. Several threads run a batch each.
            invert: `auto` turns light ink on dark paper into its negative, `always` turns every picture; `never`
                turns none, and gives such a line a hint.
            n_best: readings of a line that are wanted; all but the best are its alternatives. The greedy decoder has
                one.
            spans: also say where characters and words stand in the picture, and how sure they are. This needs the
                network's logits, and some milliseconds a line.

        Raises:
            HtrError: an image cannot be read, or is too wide for the model; it is named. Or `spans` needs logits, which
                the file does not give.
        """
        readings = []
        for reading in self.read_each(images, batch_size, invert, n_best, spans):
            if isinstance(reading, HtrError):
                raise reading
            readings.append(reading)
        return readings

    def read_each(
        self,
        images: Iterable[Picture],
        batch_size: int = 32,
        invert: Invert = "never",
        n_best: int = 1,
        spans: bool = False,
    ) -> Iterator[Reading | HtrError]:
        """Like `read`, one after the other, with the error in the place of an image that cannot be read.

        Images are taken from the iterable two or three windows of 256 before their readings are given, so an endless
        one takes a bounded memory.
        """
        self._require_open()
        check_count("batch size", batch_size, MAX_BATCH)
        check_count("n_best", n_best, MAX_BATCH)
        if invert not in get_args(Invert):
            raise HtrError(f"invert is '{invert}': choose {', '.join(get_args(Invert))}")
        if isinstance(images, str | bytes | bytearray | os.PathLike | np.ndarray | Image.Image | io.IOBase):
            raise HtrError("read() takes a list of images: put a single one in a list")
        schedule = Schedule(
            self.backend,
            self.threads or cores(),
            batch_size,
            prepare=partial(prepare, height=self.card.height, max_width=self._max_width, invert=invert),
            read=partial(self._read_lines, n_best=n_best, spans=spans),
            together=DECODED_TOGETHER if spans or self.decoder is not None else 1,
        )
        yield from schedule.results(images)

    def read_batch(self, pixels: Pixels, widths: NDArray[np.int32]) -> list[Reading]:
        """Reads one batch that is ready for the network.

        Args:
            pixels: uint8 (B, 1, height, W), each row white beyond its width.
            widths: int32 (B,).

        Raises:
            HtrError: the network does not give a text for each line, so it is not what its card says.
        """
        self._require_open()
        found = self._decode(self.backend.run(pixels, widths), widths, 1)
        return [self._reading(row, "") for row in found]

    def _require_open(self) -> None:
        if self._closed:
            raise HtrError(f"the recogniser of {self.card.name} is closed: load the model again")

    def close(self) -> None:
        """Frees the network and its memory on the device; may be called twice."""
        self._closed = True
        self.backend.close()

    def __enter__(self) -> "Recognizer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_lines(self, backend: Backend, lines: Sequence[PreparedLine], n_best: int, spans: bool) -> list[Reading]:
        output, widths = self._run(backend, [line.pixels for line in lines], spans)
        found = self._decode(output, widths, n_best)
        readings = [self._reading(row, line.hint) for row, line in zip(found, lines, strict=True)]
        if not spans:
            return readings
        assert output.logits is not None
        labels = [row[0].labels for row in found]
        details = self._finder.find(output.logits, widths, labels, [line.width for line in lines])
        return [replace(reading, **vars(detail)) for reading, detail in zip(readings, details, strict=True)]

    def _run(self, backend: Backend, lines: Sequence[Pixels], spans: bool) -> tuple[Output, NDArray[np.int32]]:
        """The network's output for lines of like width, in batches of the size that the back end is fast with."""
        size = int(min(len(lines), backend.max_batch))
        batches = [pad(lines[start : start + size]) for start in range(0, len(lines), size)]
        outputs = [backend.run(*batch, logits=True) if spans else backend.run(*batch) for batch in batches]
        return joined(outputs), np.concatenate([widths for _, widths in batches])

    def _decode(self, output: Output, widths: NDArray[np.int32], n_best: int) -> list[list[Hypothesis]]:
        """At least one and at most `n_best` readings of each line."""
        if self.decoder is None:
            found = self._greedy(output, len(widths))
        elif output.logits is None:
            raise HtrError(f"{self.backend.name} was opened without logits, which {type(self.decoder).__name__} needs")
        else:
            given = () if output.memory is None else (output.memory,)
            found = self.decoder.decode(output.logits, -(-widths // self.card.stride), n_best, *given)
        if len(found) != len(widths) or not all(found):
            raise HtrError(f"{type(self.decoder).__name__} does not give a reading for each of {len(widths)} lines")
        return [row[:n_best] for row in found]

    def _greedy(self, output: Output, rows: int) -> list[list[Hypothesis]]:
        labels, lengths, scores = output.labels, output.lengths, output.scores
        fits = len(labels) == len(lengths) == len(scores) == rows and labels.ndim == 2
        if not (fits and lengths.min(initial=0) >= 0 and lengths.max(initial=0) <= labels.shape[1]):
            raise HtrError(f"{self.card.name} does not give a text for each of {rows} lines: its file is damaged")
        entries = zip(labels.tolist(), lengths.tolist(), scores.tolist(), strict=True)
        return [[Hypothesis(tuple(row[:length]), score)] for row, length, score in entries]

    def _reading(self, hypotheses: Sequence[Hypothesis], hint: str) -> Reading:
        best, *others = [Reading(self._charset.decode(h.labels), h.score) for h in hypotheses]
        return Reading(best.text, best.score, hint, tuple(others))


def check_count(what: str, value: object, most: int) -> None:
    """Raises HtrError where a number that a caller gives is not a whole one from 1 to `most`."""
    if not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise HtrError(f"the {what} is {value}; it must be a whole number from 1 to {most}")
