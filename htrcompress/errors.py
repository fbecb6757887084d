"""The one exception that users see.

Everything that can go wrong on a user's side (a missing file, a bad option, a full disk) is raised as
`HtrError` with one sentence: what is wrong, where, and what to do. Commands print that sentence and exit
with status 2; a traceback means a bug of ours.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence


class HtrError(Exception):
    """Something that the user can put right; the message is one sentence: what is wrong, where, and what to do."""


class Unavailable(HtrError):
    """This machine lacks something that another may have: an optional package, a device, a version of a runtime."""


class Refused(HtrError):
    """An exported file would not read like its model and is not written; the model's other files may be."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch's CPU allocator raises a plain RuntimeError."""
    phrases = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in phrases)


@contextlib.contextmanager
def enough_memory(message: Callable[[], str]) -> Iterator[None]:
    """Turns a lack of memory inside the block into an HtrError with the text that `message` returns."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise HtrError(message()) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def missing_extra(module: str, extra: str) -> Unavailable:
    """The error for an optional dependency that is not installed."""
    return Unavailable(f"{module} is not installed: run `pip install 'htrcompress[{extra}]'`")


def listed(items: Sequence[str], most: int = 10) -> str:
    """The first `most` of some complaints and the number of the others, for use inside an error message."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more
