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
from htrcompress.image import require_grey, resize_to_height

Pixels = NDArray[np.uint8]


def load_each(lines: Sequence[Line], height: int | None, max_width: int, threads: int) -> list[Pixels | HtrError]:
    """The pixels of every line, uint8 (height, width), in order; an error in the place of an unreadable one.

    Without a height, every line keeps its own, whatever its width.
    """

    def load(line: Line) -> Pixels | HtrError:
        try:
            pixels = line.pixels()
            require_grey(pixels, line.id)
            return pixels if height is None else resize_to_height(pixels, height, max_width, line.id)
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
    check_usable(failures(lines, results), len(lines))
    return [pixels for pixels in results if not isinstance(pixels, HtrError)]


def failures(lines: Sequence[Line], results: Sequence[object]) -> list[str]:
    """What is wrong with the lines that have an HtrError for a result, named by their ids."""
    pairs = zip(lines, results, strict=True)
    return [named(line.id, result) for line, result in pairs if isinstance(result, HtrError)]


def named(name: str, error: HtrError) -> str:
    """The sentence of an error, with the name of the line in it."""
    return str(error) if name in str(error) else f"{name}: {error}"


def check_usable(errors: Sequence[str], count: int, largest_share: float = 0.0) -> None:
    """Refuses lines of which too many cannot be used.

    Args:
        errors: what is wrong with those that cannot.
        count: of all lines.
        largest_share: the share of them that may be unusable.

    Raises:
        HtrError: more than that are unusable, or all; the sentence names up to ten and their number.
    """
    if errors and (len(errors) > largest_share * count or len(errors) == count):
        allow = "" if len(errors) == count else ", or leave out a share of them with --train.max_unreadable"
        raise HtrError(
            f"{len(errors)} of {count} images cannot be used: {listed(list(errors))}; mend or remove them{allow}"
        )
