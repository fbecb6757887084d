"""How `fuzz.py` damages files: bytes alike in all kinds, and changes that keep a format's structure and make it lie."""

import os
import random
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_model_damage import graph, header

NUMBERS = (
    "0", "-1", "1", "65536", "2147483647", "2147483648", "-2147483649", "9223372036854775807", "18446744073709551616",
    "1e308", "-1e308", "1e-320", "1e999", "nan", "-inf", "1" * 400, "1" * 5000, "0x10", "٣", "1_0", "1.5", "",
)  # fmt: skip
NAMES = (
    "../x.png", "../../../etc/passwd", "/etc/passwd", "/dev/zero", "..\\x.png", "C:\\x.png", "file:///etc/passwd",
    "a\0b", "x" * 5000, "l/" * 2000, ".", "", "~", "\u202egnp.x", "%2e%2e/x", "..", "con", "*", "[", "\ud7ff",
)  # fmt: skip
WORDS = (
    b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\xed\xa0\x80", b"\xc3", b"\r", b"\n" * 50, b"\t" * 50, b'"', b"'", b"<",
    b"&", b"&lt;", b"&#0;", b"&#xD800;", b"&#x10FFFF;", b"<!--", b"]]>", b"<![CDATA[", b"<?xml version='1.0'?>", b"\\",
    b"{", b"[", b"\xe2\x80\xae", "e\u0301".encode() * 300, b" " * 3000, b"\x1b[31m", b"A" * 70_000, b"%s%n", b"=",
    b"|", b"-", b"\\ud800", b"\\u0000",
)  # fmt: skip
_BOMB = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"ha" * 10) for n in range(10))
_DOCTYPES = (
    b"<!DOCTYPE a [" + _BOMB + b"]>",
    b'<!DOCTYPE a [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>',
    b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://localhost:1/x"> %p;]>',
    b'<!DOCTYPE a SYSTEM "http://localhost:1/x.dtd">',
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(rb'"[^"<>]*"')
_TEXTUAL = (".xml", ".tsv", ".csv", ".jsonl", ".json", ".txt", ".lst", ".ln", ".arpa", ".ngram", ".meta")
_MODELS = {".safetensors": header, ".onnx": graph}
LARGEST = 1 << 22
"""Bytes of a file that is made larger."""
IMAGES = (".png", ".jpg", ".tif", ".gif", ".bmp", ".webp", ".jp2", ".ppm")

Change = Callable[[random.Random, bytes], bytes]


def _flip(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        if changed:
            place = draw.randrange(len(changed))
            changed[place] = draw.choice((draw.randrange(256), changed[place] ^ 1 << draw.randrange(8), 0, 255))
    return bytes(changed)


def _truncate(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _span(draw: random.Random, data: bytes) -> tuple[int, int]:
    start = draw.randrange(len(data) + 1)
    return start, min(len(data), start + int(2 ** draw.uniform(0, 12)))


def _delete(draw: random.Random, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[end:]


def _duplicate(draw: random.Random, data: bytes) -> bytes:
    start, end = _span(draw, data)
    times = draw.choice((2, 2, 3, 50, 2000)) if end - start < 200 else 2
    return data[:start] + data[start:end] * times + data[end:]


def _insert(draw: random.Random, data: bytes) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice(WORDS) + data[place:]


def _integer(draw: random.Random, data: bytes) -> bytes:
    """Overwrites bytes with an integer that lies about a size."""
    value = draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFF, 0xFFFF, 10**5, 2**62, 2**63 - 1, draw.getrandbits(40)))
    width = draw.choice((2, 4, 8))
    number = (value & (1 << 8 * width) - 1).to_bytes(width, draw.choice(("little", "big")))
    place = draw.randrange(max(1, len(data) - width + 1))
    place -= place % draw.choice((1, 4, 8))
    return data[:place] + number + data[place + width :]


def _replaced(pattern: re.Pattern[bytes], draw: random.Random, data: bytes, new: bytes) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return _flip(draw, data)
    place = draw.choice(found)
    return data[: place.start()] + new + data[place.end() :]


def _number(draw: random.Random, data: bytes) -> bytes:
    return _replaced(_NUMBER, draw, data, draw.choice(NUMBERS).encode())


def _name(draw: random.Random, data: bytes) -> bytes:
    """Replaces a quoted value, or the first field of a row, by a path out of the folder or something else odd."""
    name = draw.choice(NAMES).encode()
    if b'"' in data:
        return _replaced(_QUOTED, draw, data, b'"' + name + b'"')
    return _replaced(re.compile(rb"(?m)^[^\s,]+"), draw, data, name)


def _rows(draw: random.Random, data: bytes) -> bytes:
    """Shuffles, drops and repeats rows, or fields of one."""
    rows = data.split(b"\n")
    row = draw.randrange(len(rows))
    fields = re.split(rb"([\t ,|])", rows[row])
    draw.shuffle(fields)
    rows[row] = b"".join(fields)
    rows[draw.randrange(len(rows))] = draw.choice(rows)
    return b"\n".join(rows)


def _deep(draw: random.Random, data: bytes) -> bytes:
    """Nests elements or JSON deeply, at a place where such may stand."""
    times = draw.choice((50, 100, 2000, 100_000))
    for start, end, before in ((b"<TextRegion>", b"</TextRegion>", b"<TextLine"), (b"<a>", b"</a>", b"</")):
        if before in data:
            place = data.index(before)
            return data[:place] + start * times + end * draw.choice((0, times)) + data[place:]
    return _replaced(_QUOTED, draw, data, b"[" * times + b"]" * draw.choice((0, times)))


def _doctype(draw: random.Random, data: bytes) -> bytes:
    start = data.index(b"?>") + 2 if data.startswith(b"<?xml") and b"?>" in data else 0
    return (
        data[:start] + draw.choice(_DOCTYPES) + _replaced(re.compile(rb"(?<=>)[^<>]*\w"), draw, data[start:], b"&e9;")
    )


def _many(draw: random.Random, data: bytes) -> bytes:
    """Repeats an attribute's value or an element's text many thousand times."""
    found = list(_QUOTED.finditer(data))
    if not found:
        return _duplicate(draw, data)
    place = draw.choice(found)
    value = b" " + place[0][1:-1]
    times = min(draw.choice((100, 20_000)), LARGEST // len(value))
    return data[: place.end() - 1] + value * times + data[place.end() - 1 :]


def _header(draw: random.Random, data: bytes) -> bytes:
    """An image whose header states very many pixels."""
    wide, high = draw.choice(
        ((12_000, 12_000), (100_000, 1000), (1, 60_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (0, 5))
    )
    if data.startswith(b"\x89PNG"):
        chunk = b"IHDR" + struct.pack(">II", wide, high) + data[24:29]
        return data[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    if data.startswith(b"GIF8"):
        return data[:6] + struct.pack("<HH", min(wide, 65_535), min(high, 65_535)) + data[10:]
    if data.startswith(b"\xff\xd8") and (frame := max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))) > 0:
        size = struct.pack(">HH", min(high, 65_535), min(wide, 65_535))
        return data[: frame + 5] + size + data[frame + 9 :]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", wide, high) + data[26:]
    if data.startswith(b"P6"):
        return b"P6 %d %d 255\n" % (wide, high) + data[15:]
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(draw, data)
    return _integer(draw, data)


def _tiff(draw: random.Random, data: bytes) -> bytes:
    """Changes a value in the first directory of a TIFF, or makes the directory lead to itself."""
    order = "<" if data[:1] == b"I" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return _flip(draw, data)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    place = start + 2 + 12 * draw.randrange(max(1, count)) + 8
    value = draw.choice((start, 0, 12_000, 100_000, 2**31, 2**32 - 1))
    return data[:place] + struct.pack(f"{order}I", value) + data[place + 4 :]


def _chunk(draw: random.Random, data: bytes) -> bytes:
    """A PNG with a chunk that unpacks to much."""
    if not data.startswith(b"\x89PNG"):
        return _header(draw, data)
    packed = zlib.compress(bytes(draw.choice((1000, 200_000_000))), 9)
    body = draw.choice((b"zTXta\0\0", b"iCCPa\0\0", b"iTXta\0\1\0\0\0", b"IDAT", b"eXIf", b"tRNS")) + packed
    return data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


_BYTES: tuple[Change, ...] = (_flip, _flip, _truncate, _delete, _duplicate, _insert, _integer)
_TEXT: tuple[Change, ...] = (_number, _number, _name, _rows, _deep, _many, _insert)


def _columns(draw: random.Random) -> pa.Table:
    """Lines in columns of odd types, and few bytes that stand for many rows or long values."""
    rows, size = draw.choice(((3, 10), (200_000, 10), (30_000, 1 << 20), (3_000_000, 0)))
    word = pa.array([b"x" * size]).dictionary_encode()
    many = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), word.dictionary)
    texts = pa.DictionaryArray.from_arrays(many.indices, word.dictionary.cast(pa.string()))
    nulls = pa.nulls(rows)
    lists = pa.array([[None]] * min(rows, 1000) + [[]] * max(0, rows - 1000))
    numbers = pa.array(np.zeros(rows))
    image = draw.choice((many, many, nulls, numbers, pa.StructArray.from_arrays([many, texts], ["bytes", "path"])))
    text = draw.choice((texts, texts, nulls, lists, numbers))
    lines = pa.StructArray.from_arrays([text, draw.choice((many, numbers))], ["text", "im"])
    return pa.table({"image": image, "text": text, "group": draw.choice((texts, lists, numbers)), "lines": lines})


def _rewrite(draw: random.Random, file: Path) -> None:
    """Writes a table of another kind in the place of a parquet or Arrow file."""
    table = _columns(draw)
    if file.suffix == ".parquet":
        table = table.drop_columns(["lines"])
        pq.write_table(table, file, compression=draw.choice(("zstd", "none")), store_schema=draw.random() < 0.3)
        return
    options = pa.ipc.IpcWriteOptions(compression=draw.choice(("zstd", "lz4", None)))
    start = draw.choice((pa.ipc.new_file, pa.ipc.new_stream))
    table = table.select(["lines"]).append_column("train", draw.choice((table["group"], table["text"])))
    with pa.OSFile(str(file), "wb") as sink, start(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def damage(draw: random.Random, root: Path, others: list[Path]) -> None:
    """Damages one to three files in a folder, each in one to three ways.

    Args:
        draw: decides what happens.
        root: the folder.
        others: files of other kinds, parts of which may be spliced in.
    """
    files = sorted(file for file in root.rglob("*") if file.is_file())
    tables = [file for file in files if file.suffix not in IMAGES] or files
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        file = draw.choice(tables if draw.random() < 0.85 else files)
        if draw.random() < 0.06:
            _misplace(draw, root, file)
        elif not file.is_file() or file.is_symlink():  # misplaced before
            continue
        elif file.suffix in (".parquet", ".arrow") and draw.random() < 0.1:
            _rewrite(draw, file)
        else:
            data = file.read_bytes()
            for _ in range(draw.choice((1, 1, 2, 3))):
                if len(data) < LARGEST:
                    data = _changed(draw, file.suffix, data, others)
            file.write_bytes(data)


def _changed(draw: random.Random, suffix: str, data: bytes, others: list[Path]) -> bytes:
    changes = list(_BYTES)
    if suffix in _TEXTUAL:
        changes += _TEXT
    if suffix == ".xml":
        changes += (_doctype, _deep, _number, _name)
    if suffix in IMAGES:
        changes += (_header, _header, _chunk)
    if suffix in _MODELS and draw.random() < 0.6:
        return _MODELS[suffix](draw, data, draw.choice(_TEXT))
    if draw.random() < 0.05:
        other = draw.choice(others).read_bytes()
        start, end = _span(draw, other)
        place = draw.randrange(len(data) + 1)
        return draw.choice((other, data[:place] + other[start:end] + data[place:], data[:place] + other[start:]))
    return draw.choice(changes)(draw, data)


def _misplace(draw: random.Random, root: Path, file: Path) -> None:
    """Puts something else in a file's place, or the file elsewhere."""
    outside = root.with_name("outside")
    outside.mkdir(exist_ok=True)
    (outside / file.name).write_text("i/a.png,secret\n")
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    what = draw.randrange(8)
    if what < 2:
        file.symlink_to(
            draw.choice((outside / file.name, Path("/etc/passwd"), Path("/dev/zero"), Path("/proc/self/mem")))
        )
    elif what == 2:
        file.symlink_to(draw.choice((file.name, "..", root, "nowhere")))
    elif what == 3:
        file.mkdir()
    elif what == 4:
        os.mkfifo(file)
    elif what == 5:
        file.touch()
    elif what == 6:
        file.with_name(os.fsdecode(draw.choice((b"\xff\xfe", b"a\nb", b"-rf", b"x" * 200))) + file.suffix).write_bytes(
            b"x"
        )
