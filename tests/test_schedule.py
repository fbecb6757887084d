"""Batches and threads: every number of cores has work, and order, errors and memory are kept."""

import itertools
import time
from collections.abc import Iterator, Sequence
from threading import Lock
from types import SimpleNamespace

import numpy as np
import pytest

from htrcompress import HtrError
from htrcompress.runtime.backend import LINES_PER_THREAD
from htrcompress.runtime.pictures import PreparedLine
from htrcompress.runtime.schedule import Schedule, plan, window_size


def on_cpu(threads: int) -> SimpleNamespace:
    """What ONNX Runtime on a CPU says of itself."""
    stream = SimpleNamespace(max_batch=LINES_PER_THREAD, num_streams=1, device="cpu")
    most = LINES_PER_THREAD * threads
    return SimpleNamespace(max_batch=most, num_streams=threads, device="cpu", stream=lambda: stream)


def on_gpu() -> SimpleNamespace:
    backend = SimpleNamespace(max_batch=float("inf"), num_streams=1, device="cuda")
    backend.stream = lambda: backend
    return backend


@pytest.mark.parametrize("batch_size", [1, 8, 32, 100])
def test_no_number_of_cores_leaves_some_without_work(batch_size: int) -> None:
    for threads in range(2, 257):
        backend = on_cpu(threads)
        lines = window_size(batch_size, backend)
        cut = plan(lines, batch_size, backend)
        assert cut.streams and cut.size == min(batch_size, LINES_PER_THREAD)
        assert lines >= 2 * threads * cut.size  # a window has two batches for each thread, or more


def test_few_lines_are_spread_over_the_threads() -> None:
    for threads, lines in itertools.product((2, 3, 16, 33, 256), (1, 2, 3, 15, 16, 17, 33, 64, 300)):
        cut = plan(lines, 32, on_cpu(threads))
        batches = -(-lines // cut.size)
        if cut.streams:
            assert batches >= min(threads, lines) / 2
        else:
            assert 2 * lines <= threads


def test_one_stream_reads_as_many_at_once_as_it_takes() -> None:
    assert plan(100, 32, on_gpu()).size == 32 and not plan(100, 32, on_gpu()).streams
    assert plan(100, 32, on_cpu(1)).size == LINES_PER_THREAD


class Reader:
    """Pictures are numbers; a line is as wide as its number says, and odd things happen to some."""

    def __init__(self) -> None:
        self.taken = self.prepared = self.read_lines = 0
        self.lock = Lock()

    def pictures(self, count: int | None) -> Iterator[int]:
        for number in itertools.count() if count is None else range(count):
            self.taken += 1
            yield number

    def prepare(self, picture: int, number: int) -> PreparedLine | HtrError:
        assert number == picture + 1
        time.sleep(0.0005 * (picture % 3))
        return HtrError(str(picture)) if picture % 7 == 3 else PreparedLine(np.zeros((1, 1 + picture), np.uint8))

    def read(self, backend: object, lines: Sequence[PreparedLine]) -> list[int]:
        return [line.pixels.shape[1] - 1 for line in lines]


@pytest.mark.parametrize("backend", [on_cpu(1), on_cpu(3), on_gpu()], ids=["one thread", "streams", "gpu"])
@pytest.mark.parametrize("count", [0, 1, 2, 16, 33, 200])
def test_order_is_kept_and_errors_stay_in_their_place(backend: SimpleNamespace, count: int) -> None:
    reader = Reader()
    schedule = Schedule(backend, 2, 2, reader.prepare, reader.read)
    found = [int(str(result)) for result in schedule.results(reader.pictures(count))]  # type: ignore[arg-type]
    assert found == list(range(count))


@pytest.mark.parametrize("backend", [on_cpu(1), on_cpu(3), on_gpu()], ids=["one thread", "streams", "gpu"])
def test_an_endless_list_takes_a_bounded_memory(backend: SimpleNamespace) -> None:
    reader, most = Reader(), 3 * window_size(2, backend)
    results = Schedule(backend, 2, 2, reader.prepare, reader.read).results(reader.pictures(None))  # type: ignore
    for given, _ in enumerate(itertools.islice(results, 10 * most), 1):
        assert reader.taken - given < most
    results.close()  # and it can be left


def test_a_failure_of_the_network_ends_the_reading() -> None:
    def fail(backend: object, lines: Sequence[PreparedLine]) -> list[int]:
        raise HtrError("too much")

    for backend in (on_cpu(3), on_gpu()):
        with pytest.raises(HtrError, match="too much"):
            list(Schedule(backend, 2, 2, Reader().prepare, fail).results(Reader().pictures(None)))  # type: ignore
