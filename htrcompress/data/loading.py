"""Images of many lines at once, decoded and scaled to a model's height by several processes."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.lines import Line
from htrcompress.errors import HtrError
from htrcompress.image import resize_to_height

WORTH_PROCESSES = 512
"""Fewer lines than this are read in the calling process: starting others costs more."""


def load_lines(lines: Sequence[Line], height: int, max_width: int, processes: int) -> list[NDArray[np.uint8]]:
    """The pixels of every line, uint8 (height, width), in order.

    Raises:
        HtrError: an image is missing, damaged, or too wide; the sentence names it.
    """
    load = partial(_load, height=height, max_width=max_width)
    if processes < 2 or len(lines) < WORTH_PROCESSES:
        results = [load(line) for line in lines]
    else:
        # Forking is not safe once torch runs threads; these workers import no torch.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            try:
                results = list(pool.map(load, lines, chunksize=64))
            except BrokenProcessPool:
                raise HtrError(
                    "a process that reads images was ended, as where memory runs out: close other programs, or use "
                    "fewer lines"
                ) from None
    for result in results:
        if isinstance(result, HtrError):
            raise result
    return results  # type: ignore[return-value]


def _load(line: Line, height: int, max_width: int) -> NDArray[np.uint8] | HtrError:
    try:
        return resize_to_height(line.pixels(), height, max_width, line.id)
    except HtrError as error:
        return error
