"""Images of many lines at once, decoded and scaled to a model's height by several threads.

Threads, not processes: Pillow and NumPy release the interpreter's lock while they decode and scale, and threads work
from any caller (a script without a main guard, standard input, the worker of a pool).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from htrcompress.data.lines import Line
from htrcompress.errors import HtrError, listed
from htrcompress.image import resize_to_height

Pixels = NDArray[np.uint8]


def load_each(lines: Sequence[Line], height: int, max_width: int, threads: int) -> list[Pixels | HtrError]:
    """The pixels of every line, uint8 (height, width), in order; an error in the place of an unreadable one."""

    def load(line: Line) -> Pixels | HtrError:
        try:
            return resize_to_height(line.pixels(), height, max_width, line.id)
        except HtrError as error:
            return error
        except MemoryError:
            raise
        except Exception as error:  # a plug-in reader's function gives the pixels
            return HtrError(f"{line.id}: the reader failed on its image: {type(error).__name__}: {error}")

    if threads < 2:
        return [load(line) for line in lines]
    with ThreadPoolExecutor(threads, thread_name_prefix="load") as pool:
        return list(pool.map(load, lines))


def load_lines(lines: Sequence[Line], height: int, max_width: int, threads: int) -> list[Pixels]:
    """The pixels of every line, uint8 (height, width), in order.

    Raises:
        HtrError: images are missing, damaged, or too wide; the sentence names up to ten and their number.
    """
    results = load_each(lines, height, max_width, threads)
    check_readable(lines, results)
    return results  # type: ignore[return-value]


def check_readable(lines: Sequence[Line], results: Sequence[object], largest_share: float = 0.0) -> list[int]:
    """The places of the lines that could be read.

    Args:
        lines: the lines.
        results: for each an HtrError, or something else where it could be read.
        largest_share: the share of lines that may be unreadable.

    Raises:
        HtrError: more than that are unreadable, or all; the sentence names up to ten and their number.
    """
    errors = [
        str(result) if line.id in str(result) else f"{line.id}: {result}"
        for line, result in zip(lines, results, strict=True)
        if isinstance(result, HtrError)
    ]
    if errors and (len(errors) > largest_share * len(lines) or len(errors) == len(lines)):
        allow = "" if len(errors) == len(lines) else ", or leave out a share of them with --train.max_unreadable"
        raise HtrError(
            f"{len(errors)} of {len(lines)} images cannot be used: {listed(errors)}; mend or remove them{allow}"
        )
    return [place for place, result in enumerate(results) if not isinstance(result, HtrError)]
