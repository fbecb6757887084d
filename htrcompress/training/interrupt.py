"""Signals during a training: the first Ctrl-C ends it between two steps, and a blocked process still ends."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""Time that Python's own handler has to react to a signal before a blocked process is ended."""
ENDING = (signal.SIGTERM, signal.SIGINT)


class GracefulInterrupt:
    """The first Ctrl-C only sets `asked`, so that the loop can end after a step; the second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "GracefulInterrupt":
        self.catches = threading.current_thread() is threading.main_thread()
        if self.catches:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.catches:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, *_: object) -> None:
        _heard.set()
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


_heard = threading.Event()
"""Set by every Python handler, as a sign that the main thread is not blocked."""
_watched = False


def end_blocked_waits() -> None:
    """Makes SIGTERM and Ctrl-C end this process even while the main thread waits for other processes.

    Such a wait is one call into PyTorch, during which Python runs no signal handler. The system still writes the
    signal's number to a socket, where a thread reads it: if the handler has not run after `GRACE_SECONDS`, the thread
    ends the process. Nothing is left half written, since all files are replaced whole.
    """
    global _watched
    if _watched or threading.current_thread() is not threading.main_thread():
        return
    _watched = True
    _heard.clear()  # of an earlier training in this process
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in ENDING:
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, _noting(handler))
    threading.Thread(target=_watch, args=(reader, writer), daemon=True, name="signals").start()


def _noting(handler: Callable[..., Any]) -> Callable[..., Any]:
    def noting(number: int, frame: Any) -> None:
        _heard.set()
        handler(number, frame)

    return noting


def _watch(reader: socket.socket, _writer: socket.socket) -> None:
    while True:
        numbers = [number for number in reader.recv(64) if number in ENDING]
        if not numbers:
            continue
        if not _heard.wait(GRACE_SECONDS):
            log.error("ended while waiting for the other processes of the training")
            os._exit(128 + numbers[0])
        _forget(reader)
        _heard.clear()


def _forget(reader: socket.socket) -> None:
    """Takes the signals that came before the handler ran: Python calls it once for all of the same number."""
    reader.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while reader.recv(64):
            pass
    reader.setblocking(True)
