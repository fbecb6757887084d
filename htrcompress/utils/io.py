"""Reading text, and writing files so that a failure never costs the last good one: beside, fsync, rename."""

import contextlib
import os
from pathlib import Path

from htrcompress.errors import HtrError


def read_utf8(path: Path) -> str:
    """A text file's content, without a byte-order mark.

    Raises:
        HtrError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise HtrError(f"{path} is not UTF-8 text (byte {error.start}): convert it") from None
    except OSError as error:
        raise HtrError(f"cannot read {path}: {error.strerror}") from None


def read_rows(path: Path) -> list[str]:
    """The rows of a text file, as `read_utf8` reads it: what ends one is a line feed, a carriage return, or both.

    Unlike for `str.splitlines`, other signs that some programs break lines at (U+2028, U+0085) are part of a text.
    """
    return read_utf8(path).split("\n")


def write_atomic(path: Path, data: bytes) -> None:
    """Replaces `path` by `data`, whole or not at all.

    Raises:
        HtrError: the data cannot be written, for example for want of space; what was at `path` stays.
    """
    if not path.name or path.is_dir():
        raise HtrError(f"cannot write {path}, which is a folder: name a file")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise HtrError(f"cannot write {path} ({error.strerror}); what was there before is untouched") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
