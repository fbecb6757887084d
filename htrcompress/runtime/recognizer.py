"""From pictures of lines to their text, over any backend.

A backend runs one batch through the network and its decoder; everything around that is here, once, so a
model reads the same in every format:

    recognizer = load("student.onnx")
    for reading in recognizer.read(["a.png", "b.png"]):
        print(reading.text, reading.score)
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from htrcompress.errors import HtrError
from htrcompress.image import load_grey, pad, resize_to_height, to_grey
from htrcompress.runtime.backend import Backend, Device, Open, open_backend

MOST_THREADS = 256
MOST_LINES = 65_536
"""In a batch."""
WINDOW = 8
"""Batches that are loaded and sorted by width together: bounds the memory of an endless list."""


Pixels = NDArray[np.uint8]
Picture = str | os.PathLike[str] | Pixels | Image.Image | Callable[[], Pixels]
"""A path; uint8 grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4); a PIL image; or a function that gives an array."""


@dataclass(frozen=True)
class Reading:
    """What a model reads in one line.

    Attributes:
        text: the characters.
        score: mean log-probability of the characters, each at its first frame; -inf where there are none.
    """

    text: str
    score: float


class Recognizer:
    """Reads lines with a model. `load` makes one.

    Attributes:
        backend: what runs the network.
        card: what the model file says of itself.
    """

    def __init__(self, backend: Backend):
        self.backend = backend
        self.card = backend.card
        self._charset = self.card.characters()
        self._widest = int(min(backend.max_width, self.card.max_width))

    def read(self, images: Iterable[Picture], batch_size: int = 32) -> list[Reading]:
        """Reads lines, in the order given; a line reads the same whatever stands beside it.

        Args:
            images: any number of paths, uint8 arrays (h, w), (h, w, 3) or (h, w, 4), or PIL images; dark
                ink on light paper, of any height.
            batch_size: lines that the network sees at once, on all threads together; fewer where an engine takes no
                more, or where a CPU is faster with fewer.

        Raises:
            HtrError: an image cannot be read, or is too wide for the model; it is named.
        """
        readings = []
        for reading in self.read_each(images, batch_size):
            if isinstance(reading, HtrError):
                raise reading
            readings.append(reading)
        return readings

    def read_each(self, images: Iterable[Picture], batch_size: int = 32) -> Iterator[Reading | HtrError]:
        """Like `read`, a window at a time, with the error in the place of an image that cannot be read."""
        if not isinstance(batch_size, int | np.integer) or not 1 <= batch_size <= MOST_LINES:
            raise HtrError(f"the batch size is {batch_size}; it must be a whole number from 1 to {MOST_LINES}")
        if isinstance(images, str | os.PathLike | np.ndarray | Image.Image):
            raise HtrError("read() takes a list of images: put a single one in a list")
        numbered = enumerate(images, 1)
        while window := list(itertools.islice(numbered, WINDOW * batch_size)):
            lines = [self._prepare(picture, number) for number, picture in window]
            yield from self._read_window(lines, batch_size)

    def _read_window(self, lines: list[Pixels | HtrError], batch_size: int) -> list[Reading | HtrError]:
        results = cast(list[Reading | HtrError], list(lines))  # every array is replaced by its reading below
        readable = [i for i, line in enumerate(lines) if isinstance(line, np.ndarray)]
        readable.sort(key=lambda i: cast(Pixels, lines[i]).shape[1])
        size, lanes = self._cut(len(readable), batch_size)
        batches = [readable[start : start + size] for start in range(0, len(readable), size)]
        backend = self.backend.stream() if lanes > 1 else self.backend

        def read(chosen: list[int]) -> list[Reading]:
            return self._run(backend, *pad([cast(Pixels, lines[i]) for i in chosen]))

        with ThreadPoolExecutor(lanes) as threads:
            for chosen, readings in zip(batches, (threads.map if lanes > 1 else map)(read, batches), strict=True):
                for i, reading in zip(chosen, readings, strict=True):
                    results[i] = reading
        return results

    def _cut(self, lines: int, batch_size: int) -> tuple[int, int]:
        """How many lines to a batch, and batches at once: threads that wait for no other read more."""
        most, lanes = self.backend.max_batch, self.backend.num_streams
        if min(lines, batch_size) < lanes:
            return int(min(batch_size, most)), 1
        return int(min(batch_size // lanes, most / lanes, -(-lines // lanes))), lanes

    def read_batch(self, pixels: Pixels, widths: NDArray[np.int32]) -> list[Reading]:
        """Reads one batch that is ready for the network.

        Args:
            pixels: uint8 (B, 1, height, W), each row white beyond its width.
            widths: int32 (B,).

        Raises:
            HtrError: the network gives something else than a text for each line, so it is not what its card says.
        """
        return self._run(self.backend, pixels, widths)

    def _run(self, backend: Backend, pixels: Pixels, widths: NDArray[np.int32]) -> list[Reading]:
        output = backend.run(pixels, widths)
        labels, lengths, scores = output.labels, output.lengths, output.scores
        rows = len(widths)
        fits = len(labels) == len(lengths) == len(scores) == rows and labels.ndim == 2
        if not (fits and lengths.min(initial=0) >= 0 and lengths.max(initial=0) <= labels.shape[1]):
            raise HtrError(f"{self.card.name} does not give a text for each of {rows} lines: its file is damaged")
        return [
            Reading(self._charset.decode(row[:length]), score)
            for row, length, score in zip(labels.tolist(), lengths.tolist(), scores.tolist(), strict=True)
        ]

    def _prepare(self, picture: Picture, number: int) -> Pixels | HtrError:
        """The picture as uint8 (height, w) of the model's height, or why that cannot be."""
        name = os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"image {number}"
        try:
            if isinstance(picture, str | os.PathLike):
                grey = load_grey(Path(picture))
            else:
                grey = to_grey(picture() if callable(picture) else picture, name)
            return resize_to_height(grey, self.card.height, self._widest, name)
        except HtrError as error:
            return error


def load(path: str | os.PathLike[str], threads: int | None = None, device: str | None = None) -> Recognizer:
    """Opens a model file for reading lines.

    Args:
        path: a `.safetensors` model (needs torch), an exported `.onnx` (onnxruntime) or `.engine` (TensorRT, a GPU).
        threads: CPU threads for one batch; the runtime's own choice by default.
        device: one of `Device`, and no other is taken quietly; by default `cuda` where it works, else `cpu`.

    Raises:
        HtrError: the file is missing, damaged or of a kind that is not read, its runtime is not installed, or the
            device is not there.
    """
    if threads is not None and (not isinstance(threads, int | np.integer) or not 1 <= threads <= MOST_THREADS):
        raise HtrError(f"{threads} threads asked for; it must be a whole number from 1 to {MOST_THREADS}")
    if device not in (None, *get_args(Device)):
        raise HtrError(f"no device is called '{device}': choose {', '.join(get_args(Device))}")
    return Recognizer(open_backend(Path(path), Open(threads, device)))
