"""Packed datasets: as good as their source, and refused when they are damaged."""

import random
import zlib

import numpy as np

from htrcompress.data.checksum import checksum_of_joined
from htrcompress.data.prepare import EncodedLines


def test_checksums_of_parts_give_that_of_the_whole() -> None:
    pieces = [random.Random(i).randbytes(length) for i, length in enumerate((3, 0, 100_003, 1, 64, 7777))]
    checksums = np.array([zlib.crc32(piece) for piece in pieces], np.uint32)
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    assert checksum_of_joined(checksums, lengths) == zlib.crc32(b"".join(pieces))
    assert checksum_of_joined(checksums[:0], lengths[:0]) == 0


def test_a_fingerprint_is_the_checksum_of_all_pixels_and_labels() -> None:
    images = [np.full((4, width), width, np.uint8) for width in (5, 9)]
    lines = EncodedLines(images, [[1, 2], []], ["ab", ""], ["one", "two"])
    value = 0
    for image, labels in zip(images, lines.labels, strict=True):
        value = zlib.crc32(repr((image.shape, *labels)).encode(), zlib.crc32(image.tobytes(), value))
    assert lines.fingerprint() == f"{value:08x}"
