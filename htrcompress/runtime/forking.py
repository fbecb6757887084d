"""Models that a process inherits through `fork`, as in `gunicorn --preload` or a `multiprocessing` pool.

Only the calling thread survives a fork, so a runtime that waits for its own threads then waits for ever. A back end
keeps a `ProcessGuard`, notices with it that it was inherited, and opens its model again or refuses.
"""

import ctypes
import os
import platform
from collections.abc import Callable
from functools import cache
from threading import Lock
from weakref import WeakSet


class ProcessGuard:
    """Belongs to the process that made it."""

    def __init__(self) -> None:
        self._process, self._lock = os.getpid(), Lock()

    def renew(self, reopen: Callable[[], None]) -> None:
        """Calls `reopen` in a process that inherited the guard, once; where it raises, at the next call again."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    reopen()
                    self._process = os.getpid()


_WITH_THREADS: WeakSet[object] = WeakSet()
"""Objects whose destructors wait for their threads."""


def keep_in_children(owner: object) -> None:
    """Never destroys an object with threads in a forked child, where its destructor would wait for them for ever."""
    _prepare_children()
    _WITH_THREADS.add(owner)


@cache
def _prepare_children() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    """Lets a child end although it inherits a C++ library and objects that wait for threads at the end.

    ONNX Runtime 1.31 starts threads when it is imported, and its destructors wait for them when the process ends. What
    is registered last runs first, so in a child `_exit` comes before them. Python has run its own `atexit` functions
    and written its buffers by then.
    """
    for owner in list(_WITH_THREADS):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.on_exit(library._exit, None)
