"""Models that a process inherits through `fork`, as in `gunicorn --preload` or a `multiprocessing` pool.

Only the calling thread survives a fork, so a runtime that waits for its own threads then waits for ever. A back end
keeps a `ProcessGuard`, notices with it that it was inherited, and opens its model again or refuses.
"""

import ctypes
import os
import platform
from collections.abc import Callable
from threading import Lock


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


def leave_without_destructors_in_children() -> None:
    """Lets forked children end although a C++ library that the parent loaded has threads of its own.

    ONNX Runtime 1.31 starts threads when it is imported, and its destructors wait for them at the end of the process,
    where after a fork there are none. What is registered last runs first, so in a child `_exit` comes before them.
    Python has run its own `atexit` functions and written its buffers by then.
    """
    if hasattr(os, "register_at_fork") and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        os.register_at_fork(after_in_child=lambda: library.on_exit(library._exit, None))


def keep_forever(inherited: object) -> None:
    """Never destroys an object: its destructor would wait for threads that this process does not have."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
