"""Builds the shards of a packed dataset, in parallel processes; `packing.py` says which."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from htrcompress.data.arrow_files import arrow
from htrcompress.data.lines import Line
from htrcompress.data.loading import load_each, named
from htrcompress.data.packed_files import Shard, open_shard, schema
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)

BLOCK = 256
"""Lines in a record batch: what one process holds in memory."""
WIDEST = 1 << 16
"""Width in pixels, at the height that is asked for, of the widest image that is packed."""
SHOWN = 10
"""Unreadable images of a shard that are named."""


@dataclass(frozen=True)
class Part:
    """The lines of a shard."""

    file: str
    split: str
    start: int
    stop: int


@dataclass(frozen=True)
class Job:
    """What the processes need to know.

    Attributes:
        splits: the lines by split.
        origins: a number for each line, equal for lines that show the same image.
        folder: where to write.
        height: of the images; None for their own.
    """

    splits: dict[str, Sequence[Line]]
    origins: dict[str, list[int]]
    folder: Path
    height: int | None

    def pack(self, part: Part) -> Shard:
        """Writes a shard and notes it.

        Raises:
            HtrError: it cannot be written.
        """
        path = self.folder / part.file
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        pa = arrow()
        errors: list[str] = []
        try:
            with open(beside, "wb") as file:
                with pa.ipc.new_file(file, schema()) as writer:
                    for start in range(part.start, part.stop, BLOCK):
                        writer.write_batch(self._batch(part.split, start, min(start + BLOCK, part.stop), errors))
                file.flush()
                os.fsync(file.fileno())
            checksum = open_shard(beside)[1]  # the blocks are let go: Windows renames no file that is mapped
            os.replace(beside, path)
        except UnicodeEncodeError as error:
            raise HtrError(f"{error.object[:200]!a} is not UTF-8 and cannot be packed: rename the file") from None
        except (OSError, pa.ArrowException) as error:
            raise HtrError(f"cannot write {path} ({getattr(error, 'strerror', None) or error})") from None
        finally:
            beside.unlink(missing_ok=True)
        count, size = part.stop - part.start, path.stat().st_size
        shard = Shard(part.file, count, size, checksum, len(errors), errors[:SHOWN])
        write_atomic(note_of(path), json.dumps(asdict(shard)).encode())
        return shard

    def _batch(self, split: str, start: int, stop: int, errors: list[str]) -> Any:
        """The lines of a block as a record batch."""
        lines = list(self.splits[split][start:stop])
        images = load_each(lines, self.height, WIDEST, threads=1)
        problems = [named(line.id, i) if isinstance(i, HtrError) else "" for line, i in zip(lines, images, strict=True)]
        errors += filter(None, problems)
        empty = np.zeros((0, 0), np.uint8)
        pixels = [empty if isinstance(image, HtrError) else np.ascontiguousarray(image) for image in images]
        columns = {
            "id": [line.id for line in lines],
            "text": [line.text for line in lines],
            "group": [line.group for line in lines],
            "page": [line.page for line in lines],
            "problem": problems,
            "width": [image.shape[1] for image in pixels],
            "height": [image.shape[0] for image in pixels],
            "checksum": [zlib.crc32(image.data) for image in pixels],
            "origin": self.origins[split][start:stop],
        }
        pa, fields = arrow(), list(schema())
        arrays = [pa.array(columns[field.name], field.type) for field in fields[:-1]]
        # An array of memoryviews would be copied as well, and pyarrow 26 never lets go of them.
        ends = np.cumsum([0, *(image.size for image in pixels)], dtype=np.int64)
        joined = np.concatenate([image.ravel() for image in pixels])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(joined)]
        arrays.append(pa.Array.from_buffers(fields[-1].type, len(lines), buffers))
        return pa.record_batch(arrays, schema=schema())


def note_of(shard: Path) -> Path:
    """The file that says that a shard is whole."""
    return shard.with_name(f".{shard.name}.json")


def build(job: Job, parts: Sequence[Part], processes: int) -> Iterator[Shard]:
    """Packs shards, in parallel where there are several.

    A forked process has the lines already, whatever function gives their pixels. Elsewhere they are sent; lines that
    cannot be sent, such as those of a plug-in reader, are packed in this process.
    """
    forks = sys.platform == "linux"
    if min(processes, len(parts)) < 2 or not (forks or _can_be_sent(job)):
        yield from map(job.pack, parts)
        return
    context = multiprocessing.get_context("fork" if forks else "spawn")
    with ProcessPoolExecutor(min(processes, len(parts)), context, _start, (job, os.getpid())) as pool:
        waiting: set[Future[Shard]] = {pool.submit(_pack, part) for part in parts}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool:
            raise HtrError(
                f"a process that packed into {job.folder} was ended from outside, perhaps for want of memory: run the "
                "command again, with fewer --processes; it continues where it stopped"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _can_be_sent(job: Job) -> bool:
    """Whether another process can be given the lines, by the first of each split."""
    try:
        pickle.dumps([lines[0] for lines in job.splits.values() if lines])
    except Exception:  # pickling raises nearly anything
        logger.info("the lines cannot be sent to other processes: they are packed in this one")
        return False
    return True


_job: Job | None = None
"""The job of this worker."""


def _start(job: Job, parent: int) -> None:
    """Prepares a worker, which ends with its parent, even when that is killed."""
    global _job
    _job = job
    logging.disable()  # the console's lock may have been held when this process was forked
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _pack(part: Part) -> Shard:
    assert _job is not None
    return _job.pack(part)
