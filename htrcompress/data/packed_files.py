"""The files of a packed dataset: `packed.json`, and the Arrow shards that it names. `packed.py` says what they hold."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from htrcompress.data.arrow_files import arrow, open_batches
from htrcompress.data.lines import Dataset, Packing
from htrcompress.data.packed import NUMBERS, STRINGS, Block, PackedLines, PackedSplit
from htrcompress.errors import HtrError, first_line
from htrcompress.utils.io import write_atomic

MANIFEST = "packed.json"
PLAN = ".packing.json"
"""What a build that has not ended will hold."""
VERSION = 1
"""Of the layout of the manifest and the shards."""
LARGEST_MANIFEST = 64 << 20
_SHARD_NAME = re.compile(r"[\w-]{1,249}\.arrow", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One Arrow file.

    Attributes:
        file: its name.
        lines: how many it holds.
        bytes: its size.
        checksum: CRC-32 of all its columns but the pixels, which have a checksum for each line.
        unreadable: lines whose images could not be read.
        errors: why, for a few of them.
    """

    file: str
    lines: int
    bytes: int
    checksum: int
    unreadable: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PackedSplitEntry:
    """One split: its lines, their hash (`Dataset.identity`) and its shards in order."""

    lines: int
    hash: str
    shards: list[Shard]


@dataclass(frozen=True)
class Manifest:
    """What a packed dataset holds, and where it comes from.

    Attributes:
        name, format, dropped, changed: of the source; see `Dataset`.
        read: how its texts were read, as `--read` has it.
        splitting: by what rule its lines were split, where the source had no splits.
        height: of the images in pixels; None where they have their own.
        splits: split name to its shards.
        versions: of the packages that packed it.
    """

    name: str
    format: str
    read: dict[str, Any]
    dropped: dict[str, int]
    changed: dict[str, int]
    splitting: dict[str, Any] | None
    height: int | None
    splits: dict[str, PackedSplitEntry]
    versions: dict[str, str]

    def write(self, folder: Path) -> None:
        """Writes the manifest, which makes the folder a dataset."""
        text = json.dumps({"htrcompress-packed": VERSION, **asdict(self)}, ensure_ascii=False, indent=1, default=str)
        write_atomic(folder / MANIFEST, text.encode())

    @classmethod
    def read_from(cls, folder: Path) -> "Manifest":
        """Reads the manifest of a folder.

        Raises:
            HtrError: it cannot be read, is of another version, or is not as it was written.
        """
        path = folder / MANIFEST
        try:
            if path.stat().st_size > LARGEST_MANIFEST:
                raise ValueError
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values.pop("htrcompress-packed")
        except OSError as error:
            raise HtrError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise HtrError(f"{path} was not written by htrcompress, or is damaged: pack the dataset again") from None
        if version != VERSION:
            raise HtrError(f"{path} is of version {version}, and this htrcompress reads {VERSION}: pack it again")
        try:
            return _manifest(values)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise HtrError(f"{path} is damaged: pack the dataset again") from None


def _manifest(values: dict[str, Any]) -> Manifest:
    """A manifest from parsed JSON.

    Raises:
        ValueError, KeyError, AttributeError, TypeError: it is not as `Manifest.write` writes it.
    """
    splits = {}
    for name, split in values.pop("splits").items():
        shards = [Shard(**shard) for shard in split["shards"]]
        numbers = [number for shard in shards for number in (shard.lines, shard.bytes, shard.checksum)]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError
        if not all(_SHARD_NAME.fullmatch(shard.file) for shard in shards):
            raise ValueError
        if sum(shard.lines for shard in shards) != split["lines"] or not isinstance(split["hash"], str):
            raise ValueError
        splits[name] = PackedSplitEntry(split["lines"], split["hash"], shards)
    height = values["height"]
    if height is not None and (type(height) is not int or height < 1):
        raise ValueError
    for name, kind in (("name", str), ("format", str), ("read", dict), ("dropped", dict), ("changed", dict)):
        if not isinstance(values[name], kind):
            raise ValueError
    if not all(type(count) is int for name in ("dropped", "changed") for count in values[name].values()):
        raise ValueError
    return Manifest(splits=splits, **values)


def schema() -> Any:
    """The columns of a shard; all offsets are 64-bit."""
    pa = arrow()
    strings = [(name, pa.large_string()) for name in STRINGS]
    numbers = [(name, getattr(pa, kind)()) for name, kind in NUMBERS.items()]
    return pa.schema([*strings, *numbers, ("pixels", pa.large_binary())])


def open_shard(path: Path) -> tuple[list[Block], int]:
    """The blocks of a shard, mapped into memory, and the checksum of all but their pixels.

    Raises:
        HtrError: the file is missing, damaged, or no shard.
    """
    pa = arrow()
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError
        reader = open_batches(path)
        if not reader.schema.equals(schema()):
            raise HtrError(f"{path} does not have the columns of a packed dataset: pack the dataset again")
        blocks, checksum = [], 0
        for batch in reader:
            batch.validate(full=True)
            if any(column.null_count for column in batch.columns):
                raise ValueError("it has empty cells")
            block = Block(batch, path)
            if not block.consistent():
                raise ValueError("images are not as large as they should be")
            blocks.append(block)
            checksum = block.checksum(checksum)
        return blocks, checksum
    except FileNotFoundError:
        raise HtrError(f"{path} is missing: pack the dataset again") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise HtrError(f"{path} is damaged ({first_line(error)[:200]}): pack the dataset again") from None


def open_packed(folder: Path) -> Dataset:
    """Opens a packed dataset; reads texts and sizes of its lines, and no pixels.

    Raises:
        HtrError: the manifest or a shard is missing, damaged, of another set or of another version.
    """
    if not (folder / MANIFEST).is_file():
        raise HtrError(f"{folder} is not packed to the end: run the command that packs it again, which continues")
    manifest = Manifest.read_from(folder)
    packing, splits = Packing(folder, manifest.height, manifest.read), {}
    for name, entry in manifest.splits.items():
        blocks = []
        for shard in entry.shards:
            path = folder / shard.file
            if path.is_file() and path.stat().st_size != shard.bytes:
                raise HtrError(
                    f"{path} has {path.stat().st_size} bytes instead of {shard.bytes}: pack the dataset again"
                )
            found, checksum = open_shard(path)
            if (checksum, sum(block.count for block in found)) != (shard.checksum, shard.lines):
                raise HtrError(f"{path} is not the file that {MANIFEST} names: pack the dataset again")
            blocks += found
        splits[name] = PackedLines(PackedSplit(name, blocks, entry.hash, packing))
    return Dataset(manifest.name, manifest.format, splits, manifest.dropped, manifest.changed, packing=packing)
