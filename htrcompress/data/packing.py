"""Packs a dataset: decodes its images once, in parallel processes, and writes the files that `packed.py` describes.

Each shard is written beside its place, synchronised and renamed, and then noted in a small file of its own; the
manifest is written when all shards are there. A build that was stopped continues with the shards that are missing;
until it has ended, its folder is not a dataset.
"""

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from htrcompress.data.arrow_files import arrow
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.packed_files import MANIFEST, PLAN, Manifest, PackedSplitEntry, Shard, open_shard
from htrcompress.data.shards import SHOWN, Job, Part, build, note_of
from htrcompress.data.sizes import Progress
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)

SHARD = 2048
"""Lines in a shard: what one process packs, and what a stopped build loses of its work."""


@dataclass(frozen=True)
class Packed:
    """A packed dataset.

    Attributes:
        folder: where it is.
        lines: how many it holds.
        bytes: its size.
        seconds: that packing took.
        resumed: lines that were packed already when it began.
        unreadable: lines whose images could not be read.
        errors: why, for a few of them.
    """

    folder: Path
    lines: int
    bytes: int
    seconds: float
    resumed: int
    unreadable: int
    errors: list[str]


def pack(
    dataset: Dataset,
    folder: Path,
    height: int | None,
    read: dict[str, Any],
    splitting: dict[str, Any] | None = None,
    max_unreadable: float = 0.0,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Packed:
    """Packs a dataset into a folder, or continues a build that was stopped.

    Args:
        dataset: what to pack.
        folder: where to; a new or empty one, or one that a stopped build of the same set left.
        height: of the images, in pixels; None leaves each at its own.
        read: how its texts were read, for the manifest.
        splitting: how it was split, for the manifest.
        max_unreadable: the largest share of lines whose images may be unreadable.
        processes: how many work at once; one for each core if not given.
        progress: called when a shard is done.

    Raises:
        HtrError: the folder holds something else, too many images are unreadable, or a file cannot be written.
    """
    arrow()
    dataset.require_height(height or 1)
    started = time.perf_counter()
    splits = {name: lines for name, lines in dataset.splits.items() if lines}
    total = sum(map(len, splits.values()))
    if not total:
        raise HtrError(f"{dataset.name} has no lines to pack")
    plan, parts = _planned(dataset, splits, height, read, splitting)
    job = Job(splits, _origins(splits), folder, height)
    shards = _begin(folder, plan, parts)
    resumed = sum(shard.lines for shard in shards.values())
    if resumed:
        logger.info("%s: %d of %d lines are packed already", folder, resumed, total)
    progress(resumed, total)
    missing = [part for part in parts if part.file not in shards]
    for shard in build(job, missing, processes or machine.cores()):
        shards[shard.file] = shard
        progress(sum(found.lines for found in shards.values()), total)
        _check_readable(folder, list(shards.values()), total, max_unreadable)
    _check_readable(folder, list(shards.values()), total, max_unreadable)
    for name, entry in plan.splits.items():
        entry.shards.extend(shards[part.file] for part in parts if part.split == name)
    plan.write(folder)
    _clear(folder)
    errors = [error for shard in shards.values() for error in shard.errors]
    size = sum(shard.bytes for shard in shards.values())
    unreadable = sum(shard.unreadable for shard in shards.values())
    seconds = time.perf_counter() - started
    return Packed(folder, total, size, seconds, resumed, unreadable, errors[:SHOWN])


def _planned(
    dataset: Dataset,
    splits: dict[str, Sequence[Line]],
    height: int | None,
    read: dict[str, Any],
    splitting: dict[str, Any] | None,
) -> tuple[Manifest, list[Part]]:
    """The manifest, still without shards, and the lines of each shard."""
    entries = {name: PackedSplitEntry(len(lines), dataset.identity(name), []) for name, lines in splits.items()}
    versions = machine.versions("htrcompress", "numpy", "pillow", "pyarrow")
    plan = Manifest(
        dataset.name, dataset.format, read, dataset.dropped, dataset.changed, splitting, height, entries, versions
    )
    parts = [
        Part(f"{_file_name(number, name)}-{start // SHARD:05d}.arrow", name, start, min(start + SHARD, len(lines)))
        for number, (name, lines) in enumerate(splits.items())
        for start in range(0, len(lines), SHARD)
    ]
    return plan, parts


def _file_name(number: int, split: str) -> str:
    """What the shards of a split are called: by its name, unless that is no plain word, or could be another's."""
    return split if re.fullmatch("[a-z][a-z_]{0,40}", split) else f"split{number}"


def _origins(splits: dict[str, Sequence[Line]]) -> dict[str, list[int]]:
    """A number for every line: that of the first line with the same image."""
    known: dict[str, int] = {}
    return {name: [known.setdefault(line.source, len(known)) for line in lines] for name, lines in splits.items()}


def _begin(folder: Path, plan: Manifest, parts: Sequence[Part]) -> dict[str, Shard]:
    """The shards that are there already, by file.

    Raises:
        HtrError: the folder holds something else, or another set.
    """
    try:
        names = set(os.listdir(folder)) if folder.exists() else set()
    except OSError as error:
        raise HtrError(f"cannot use the folder {folder}: {error.strerror}") from None
    if MANIFEST in names:
        done = Manifest.read_from(folder)
        if _identity(done) != _identity(plan):
            raise HtrError(f"{folder} holds another packed dataset, {done.name}: name another folder with --write")
        kept = {shard.file: shard for entry in done.splits.values() for shard in entry.shards}
        return {part.file: shard for part in parts if (shard := kept.get(part.file)) and _is_whole(folder, part, shard)}
    if PLAN in names:
        if _saved(folder / PLAN) != _identity(plan):
            raise HtrError(
                f"{folder} holds the beginning of another packed dataset, or this one has changed since: remove it, or "
                "name another folder with --write"
            )
    elif names:
        raise HtrError(f"{folder} is not empty: name another folder with --write")
    else:
        write_atomic(folder / PLAN, json.dumps(_identity(plan)).encode())
    for name in names:
        if name.startswith(".") and name.endswith(".tmp"):
            (folder / name).unlink(missing_ok=True)
    return {
        part.file: shard for part in parts if (shard := _noted(folder / part.file)) and _is_whole(folder, part, shard)
    }


def _identity(plan: Manifest) -> Any:
    """What two builds of the same set have in common."""
    entries = {name: [entry.lines, entry.hash] for name, entry in plan.splits.items()}
    values = {**asdict(replace(plan, splits={}, versions={})), "splits": entries, "shard": SHARD}
    return json.loads(json.dumps(values, default=str))


def _saved(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _noted(path: Path) -> Shard | None:
    """A shard as its note has it; None where there is no note."""
    try:
        return Shard(**json.loads(note_of(path).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _is_whole(folder: Path, part: Part, shard: Shard) -> bool:
    """Whether a shard holds the lines of a part and is as it was written; reads all of it."""
    path = folder / part.file
    try:
        if shard.lines != part.stop - part.start or path.stat().st_size != shard.bytes:
            return False
        blocks, checksum = open_shard(path)
        return checksum == shard.checksum and all(block.intact() for block in blocks)
    except (OSError, HtrError):
        return False


def _clear(folder: Path) -> None:
    """Removes what a build keeps so that it can continue."""
    for path in [*folder.glob(".*.arrow.json"), folder / PLAN]:
        path.unlink(missing_ok=True)


def _check_readable(folder: Path, shards: Sequence[Shard], total: int, largest_share: float) -> None:
    """Raises HtrError where too many images are unreadable; those shards are packed again next time."""
    unreadable = sum(shard.unreadable for shard in shards)
    if unreadable > largest_share * total or unreadable == total:
        first = next(error for shard in shards for error in shard.errors)
        for shard in shards:
            if shard.unreadable:
                note_of(folder / shard.file).unlink(missing_ok=True)
        raise HtrError(
            f"{unreadable} images cannot be read, more than --max_unreadable {largest_share:g} of {total} allows, such "
            f"as {first}"
        )
