"""How lines are cut into batches, and how decoding pictures and running the network keep all threads busy.

Pictures come in windows, which bounds the memory of an endless list; the lines of a window are sorted by width before
they are cut into batches, so that little padding is computed. Pictures are decoded and scaled by a pool of threads.
Where the network has several streams (ONNX Runtime on a CPU), the same pool runs the batches: the pictures of the next
window are queued behind the batches of this one, and no thread waits. Where it has one (a GPU, PyTorch), the calling
thread runs the batches; on a GPU the pool decodes the next window meanwhile, on a CPU PyTorch has all threads.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from htrcompress.errors import HtrError
from htrcompress.runtime.backend import Backend
from htrcompress.runtime.pictures import Picture, PreparedLine

BATCHES_PER_WINDOW = 8
R = TypeVar("R")


@dataclass(frozen=True)
class Plan:
    """How some lines are read.

    Attributes:
        size: lines in a batch.
        streams: whether the batches are run at the same time, each on one thread.
    """

    size: int
    streams: bool


def plan(lines: int, batch_size: int, backend: Backend, together: int = 1) -> Plan:
    """Cuts `lines` lines into batches of at most `batch_size`, or of `together`, which a decoder wants to see at once.

    Threads that wait for no other read more lines in a second, so every stream has a batch of its own. Where there are
    lines for less than half of the streams, all threads compute the same batch.
    """
    streams = backend.num_streams
    if streams == 1 or 2 * lines <= streams:
        return Plan(int(max(together, min(batch_size, backend.max_batch))), False)
    size = max(together, min(batch_size, backend.stream().max_batch))
    return Plan(int(min(size, math.ceil(lines / streams))), True)


def window_size(batch_size: int, backend: Backend) -> int:
    """Pictures that are decoded and sorted by width together: enough for two batches on every stream.

    A stream is not opened for this: who reads one line has no use for it, and it takes as long as the line.
    """
    lines = int(min(batch_size, max(1, backend.max_batch / backend.num_streams)))
    return max(BATCHES_PER_WINDOW * batch_size, 2 * lines * backend.num_streams)


@dataclass
class _Window(Generic[R]):
    """A window whose batches were started: what is known, and which places each batch will fill."""

    results: list[R | HtrError | None]
    batches: list[tuple[list[int], Future[list[R]]]]

    def collect(self) -> Iterator[R | HtrError]:
        for places, future in self.batches:
            for place, result in zip(places, future.result(), strict=True):
                self.results[place] = result
        yield from (result for result in self.results if result is not None)


class Schedule(Generic[R]):
    """Reads pictures on several threads, in their order.

    Args:
        backend: what runs the network.
        threads: threads that decode pictures.
        batch_size: the most lines in a batch.
        prepare: makes a line out of a picture and its number, or an error.
        read: reads a batch of lines on a back end.
        together: lines that a decoder reads fastest together; batches are then at least so large.
    """

    def __init__(
        self,
        backend: Backend,
        threads: int,
        batch_size: int,
        prepare: Callable[[Picture, int], PreparedLine | HtrError],
        read: Callable[[Backend, Sequence[PreparedLine]], list[R]],
        together: int = 1,
    ):
        self.backend, self.threads, self.batch_size = backend, max(threads, backend.num_streams), batch_size
        self.prepare, self.read, self.together = prepare, read, together
        # windows that are prepared while another is read; none where PyTorch reads with all threads of the CPU
        self.ahead = 0 if backend.device == "cpu" and backend.num_streams == 1 else 1

    def results(self, pictures: Iterable[Picture]) -> Iterator[R | HtrError]:
        """A result or an error for each picture. Errors of the network are raised."""
        pool = ThreadPoolExecutor(self.threads, "htrcompress")
        try:
            yield from self._results(pool, pictures)
        finally:
            pool.shutdown(cancel_futures=True)

    def _results(self, pool: Executor, pictures: Iterable[Picture]) -> Iterator[R | HtrError]:
        numbered = enumerate(pictures, 1)
        size = window_size(self.batch_size, self.backend)
        preparing: deque[list[Future[PreparedLine | HtrError]]] = deque()
        reading: deque[_Window[R]] = deque()
        while window := list(itertools.islice(numbered, size)):
            preparing.append([pool.submit(self.prepare, picture, number) for number, picture in window])
            if len(preparing) > self.ahead:
                reading.append(self._start(pool, preparing.popleft()))
            if len(reading) > self.ahead:
                yield from reading.popleft().collect()
        while preparing:
            reading.append(self._start(pool, preparing.popleft()))
        while reading:
            yield from reading.popleft().collect()

    def _start(self, pool: Executor, prepared: list[Future[PreparedLine | HtrError]]) -> _Window[R]:
        """Waits for the lines of a window, and starts its batches."""
        lines: dict[int, PreparedLine] = {}
        results: list[R | HtrError | None] = [None] * len(prepared)
        for place, future in enumerate(prepared):
            line = future.result()
            if isinstance(line, HtrError):
                results[place] = line
            else:
                lines[place] = line
        # the widest first, so that what is computed last is short and no thread waits long for it
        order = sorted(lines, key=lambda place: lines[place].pixels.shape[1], reverse=True)
        cut = plan(len(order), self.batch_size, self.backend, self.together)
        backend = self.backend.stream() if cut.streams else self.backend
        submit = pool.submit if cut.streams else _run_now
        batches = []
        for start in range(0, len(order), cut.size):
            places = order[start : start + cut.size]
            batches.append((places, submit(self.read, backend, [lines[place] for place in places])))
        return _Window(results, batches)


def _run_now(function: Callable[..., R], *arguments: object) -> Future[R]:
    """Like `Executor.submit`, in the calling thread, where PyTorch keeps its own pool of threads."""
    future: Future[R] = Future()
    future.set_result(function(*arguments))
    return future
