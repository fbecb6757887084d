"""The one exception that users see.

Everything that can go wrong on a user's side (a missing file, a bad option, a full disk) is raised as
`HtrError` with one sentence: what is wrong, where, and what to do. Commands print that sentence and exit
with status 2; a traceback means a bug of ours.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence


class HtrError(Exception):
    """A mistake or a mishap on the user's side, told in one sentence."""


class Unavailable(HtrError):
    """What this machine lacks and another may have: an optional package, a device, a version of a runtime."""


class Refused(HtrError):
    """A form of a model that would not read as the model does, and is not written; its other forms may be."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch's CPU allocator raises a plain RuntimeError."""
    told = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in told)


@contextlib.contextmanager
def enough_memory(told: Callable[[], str]) -> Iterator[None]:
    """Where memory runs out inside, raises HtrError with what `told` says instead."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise HtrError(told()) from None


def missing_extra(module: str, extra: str) -> Unavailable:
    """The error for an optional dependency that is not installed."""
    return Unavailable(f"{module} is not installed: run `pip install 'htrcompress[{extra}]'`")


def listed(items: Sequence[str], most: int = 10) -> str:
    """The first few of many things that are wrong, and how many more there are, for an error's sentence."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more
