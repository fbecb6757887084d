"""The CRC-32 of many pieces of data one after the other, from the CRC-32 of each.

A packed dataset stores the checksum of every image, so that a training knows the checksum of all its pixels without
reading them. With `shift_n` for what n further zero bytes do to a checksum, a linear map over GF(2), it is
`crc(a + b) = shift_len(b)(crc(a)) ^ crc(b)`.
"""

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0xEDB88320
"""Of CRC-32, the lowest bit first, as in `zlib.crc32`."""
Matrix = NDArray[np.uint32]
"""A linear map of 32 bits: what it makes of each single bit, uint32 (32,)."""


def checksum_of_joined(checksums: NDArray[np.uint32], lengths: NDArray[np.int64]) -> int:
    """`zlib.crc32` of pieces one after the other.

    Args:
        checksums: of each piece, uint32 (n,).
        lengths: of each piece in bytes, int64 (n,).
    """
    values = checksums.astype(np.uint32)
    behind = np.cumsum(lengths[::-1])[::-1] - lengths
    shift = _one_byte()
    while behind.any():
        odd = (behind & 1).astype(bool)
        values[odd] = _applied(shift, values[odd])
        shift, behind = _applied(shift, shift), behind >> 1
    return int(np.bitwise_xor.reduce(values, initial=0))


def _one_byte() -> Matrix:
    """What a byte of zeros does to a checksum."""
    shift = np.array([_POLYNOMIAL, *(1 << bit for bit in range(31))], np.uint32)
    for _ in range(3):
        shift = _applied(shift, shift)
    return shift


def _applied(matrix: Matrix, values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """What the map makes of some values, byte by byte of these through a table."""
    result = np.zeros_like(values)
    for byte in range(0, 32, 8):
        table = np.zeros(1, np.uint32)
        for of_bit in matrix[byte : byte + 8]:
            table = np.concatenate((table, table ^ of_bit))
        result ^= table[values >> np.uint32(byte) & np.uint32(255)]
    return result
