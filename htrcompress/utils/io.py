"""Writing files so that a failure never costs the last good one: beside, fsync, rename."""

import contextlib
import os
from pathlib import Path

from htrcompress.errors import HtrError


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
