"""Opens Arrow files of others by memory map, in memory that does not grow with what a file claims or unpacks to."""

import struct
from pathlib import Path
from typing import Any

from htrcompress.errors import missing_extra

MAGIC = b"ARROW1"
_SCHEMA, _DICTIONARY = 1, 2
"""Kinds of messages, in `Message.fbs` of Arrow's format."""


def arrow() -> Any:
    """The package pyarrow.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise missing_extra("pyarrow", "parquet") from None
    return pyarrow


def open_batches(path: Path) -> Any:
    """A reader of the record batches of a file or stream, whose buffers are views of the mapped file.

    Files are read as the streams that they contain, so that the messages that are looked at are those that are read.

    Raises:
        ValueError, pyarrow.ArrowException, OSError: it is damaged, or its buffers are compressed, so that a small file
            could fill the memory.
    """
    pa = arrow()
    with open(path, "rb") as file:
        start = 8 if file.read(len(MAGIC)) == MAGIC else 0
    source = pa.memory_map(str(path))
    if start:
        pa.ipc.open_file(source)  # a damaged end is refused, though nothing but the stream is read
    source.seek(start)
    try:
        messages = pa.ipc.MessageReader.open_stream(source)
        compressed = any(_compressed(message.metadata.to_pybytes()) for message in messages)
    except (struct.error, IndexError):
        raise ValueError("its messages are damaged") from None
    if compressed:
        raise ValueError("its buffers are compressed: write it without compression")
    source.seek(start)
    return pa.ipc.open_stream(source)


def _compressed(message: bytes) -> bool:
    """Whether a message, a flatbuffer of the type `Message`, holds a record batch with compressed buffers."""
    root = _followed(message, 0)
    kind, header = _field(message, root, 1), _field(message, root, 2)
    if not (kind and header):
        return False
    batch = _followed(message, header)
    if message[kind] == _DICTIONARY and (data := _field(message, batch, 1)):
        batch = _followed(message, data)
    return message[kind] != _SCHEMA and _field(message, batch, 3) != 0


def _followed(message: bytes, at: int) -> int:
    """The place that the offset at a place leads to."""
    (offset,) = struct.unpack_from("<I", message, at)
    return at + int(offset)


def _field(message: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 if the table has none."""
    names = table - struct.unpack_from("<i", message, table)[0]
    (size,) = struct.unpack_from("<H", message, names)
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", message, names + place)[0] if place < size else 0
    return table + int(offset) if offset else 0
