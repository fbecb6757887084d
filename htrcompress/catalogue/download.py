"""Fetches a file by its address: https alone, a limit on its size, a checksum, and a cache of whole files.

What is fetched without a checksum is pinned: the cache keeps its address with its SHA-256, and from then on that
address stands for these bytes and no others.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)

MOST_BYTES = 256 << 20
"""Larger model files are not fetched."""
TIMEOUT = 30.0
"""Seconds that a server may be silent."""


def cache_folder() -> Path:
    """Where fetched models are kept: `HTRCOMPRESS_CACHE`, or `htrcompress` in the user's folder for caches."""
    if given := os.environ.get("HTRCOMPRESS_CACHE"):
        return Path(given)
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "htrcompress"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "htrcompress"


def sha256_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def checked(path: Path, sha256: str) -> Path:
    """The path of a file whose bytes have a checksum.

    Raises:
        HtrError: they have another, or the file cannot be read.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise OSError("there is no such file")
        found = sha256_of(path.read_bytes())
    except OSError as error:
        raise HtrError(f"cannot read {path}: {error.strerror or error}") from None
    if found != sha256:
        raise HtrError(f"{path} is not the file that was named: its SHA-256 is {found}, not {sha256}; remove it")
    return path


def pinned(address: str) -> str | None:
    """The checksum that an address was pinned to when it was first fetched."""
    try:
        pin = json.loads(_pin(address).read_bytes())
        return str(pin["sha256"]) if pin["address"] == address else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cached(sha256: str) -> Path | None:
    """The file of a checksum in the cache, checked; None if it is not there.

    Raises:
        HtrError: the file in the cache is damaged.
    """
    for path in sorted((cache_folder() / sha256).glob("*")):
        if not path.name.startswith("."):
            return checked(path, sha256)
    return None


def keep(data: bytes, file: str, address: str) -> Path:
    """Puts a fetched file into the cache, under its checksum, and pins its address to it.

    Args:
        data: the file's bytes.
        file: its name.
        address: what the user typed for it.

    Raises:
        HtrError: the cache cannot be written.
    """
    sha256 = sha256_of(data)
    path = cache_folder() / sha256 / file
    write_atomic(path, data)
    write_atomic(_pin(address), json.dumps({"address": address, "sha256": sha256}).encode())
    logger.info("fetched %s, %d KiB; to name exactly this file: %s#sha256=%s", file, len(data) >> 10, address, sha256)
    return path


def fetch(url: str, most: int = MOST_BYTES) -> bytes:
    """The bytes at an https address.

    Raises:
        HtrError: the address is not https, the server does not answer or refuses, or there are more than `most` bytes.
    """
    from http.client import HTTPException  # not above, as in `_open`

    with _open(url) as reply:
        try:
            data = reply.read(most + 1)
        except (OSError, HTTPException) as error:
            raise HtrError(f"the connection to {url} broke: {error}; try again") from None
        missing = getattr(reply, "length", None)  # of what the server announced; none if it announced nothing
    if len(data) > most:
        raise HtrError(f"{url} is larger than {most >> 20} MiB, the most that is fetched: save it to a file yourself")
    if missing:
        raise HtrError(f"the connection to {url} broke, and {missing} bytes are missing; try again")
    return data


@contextmanager
def _open(url: str) -> Iterator[IO[bytes]]:
    from http.client import HTTPException  # not above: importing it takes as long as reading a line
    from urllib.error import HTTPError, URLError

    if not url.startswith("https://"):
        raise HtrError(f"{url} is not fetched: only https addresses are")
    try:
        reply = _opener().open(url, timeout=TIMEOUT)
    except HTTPError as error:
        raise HtrError(f"{url} cannot be fetched: the server answers {error.code} {error.reason}") from None
    except (
        OSError,
        ValueError,
        HTTPException,
    ) as error:  # no network, no such host, a wrong certificate
        reason = error.reason if isinstance(error, URLError) else error
        raise HtrError(f"{url} cannot be fetched: {reason}") from None
    with reply:
        yield reply


def _opener() -> Any:
    """Opens https addresses and follows redirections to such, and has no handler for anything else."""
    from urllib import request

    opener = request.OpenerDirector()
    handlers = (request.ProxyHandler, request.HTTPSHandler, request.HTTPRedirectHandler)
    for handler in (*handlers, request.HTTPDefaultErrorHandler, request.HTTPErrorProcessor, request.UnknownHandler):
        opener.add_handler(handler())
    return opener


def _pin(address: str) -> Path:
    readable = re.sub(r"[^\w.-]+", "-", address)[-60:].strip("-.")
    return cache_folder() / "pins" / f"{readable}-{sha256_of(address.encode())[:16]}.json"
