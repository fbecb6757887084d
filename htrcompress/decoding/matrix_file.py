"""CTC matrices in files: NumPy's `.npy`, or text with a frame in each row, as spreadsheets and loggers write it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError
from htrcompress.utils.io import read_rows

SEPARATORS = (";", "\t", ",")
"""Between the values of a row; white space where none of them occurs."""
MOST_BYTES = 1 << 30


def read_matrix(path: Path) -> NDArray:
    """The array in a file, of any shape.

    Raises:
        HtrError: it cannot be read, is too large, or is neither an array of numbers nor a table of them.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise HtrError(f"cannot read the matrix {path}: {error.strerror}") from None
    if size > MOST_BYTES:
        raise HtrError(f"the matrix {path} is larger than {MOST_BYTES >> 20} MiB: store a line in each file")
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise HtrError(f"{path} is not an array of numbers that NumPy saved: write it with numpy.save") from None
    rows = [row for row in read_rows(path) if row.strip()]
    separator = next((one for one in SEPARATORS if rows and one in rows[0]), None)
    cells = [row.rstrip(f" {separator}" if separator else None).split(separator) for row in rows]
    try:
        return np.array([[float(cell) for cell in row] for row in cells])
    except ValueError:
        raise HtrError(
            f"{path} is not a table of numbers with a frame in each row and a column for each class: write it with "
            "numpy.save, or numpy.savetxt"
        ) from None
