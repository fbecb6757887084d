"""The server behind the page: a few files, the list of models, and the reading of one image, on the loopback address.

The standard library's server is enough for this: one user, one machine, five files and one request that computes. It
keeps no image: each is read from memory and forgotten with its answer.
"""

import errno
import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from htrcompress.errors import HtrError
from htrcompress.runtime import Reading, Recognizer, load
from htrcompress.web.guard import HEADERS, MOST_BYTES, Rejected, check_host, check_image, check_origin, length_of

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PAGE = Path(__file__).with_name("page")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/engine.js": ("engine.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path to the file that answers it and its type; nothing else is served."""
IDLE_SECONDS = 30
"""A connection that is silent for so long is closed."""


@dataclass
class Shelf:
    """The models that the page offers, each opened when it first reads.

    Args:
        names: as `htrcompress.load` takes them.
        threads: see `load`.
    """

    names: tuple[str, ...]
    threads: int | None = None
    _open: dict[str, Recognizer] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def recognizer(self, name: str) -> Recognizer:
        """The opened model.

        Raises:
            Rejected: the page does not offer it.
            HtrError: it cannot be opened.
        """
        if name not in self.names:
            raise Rejected(HTTPStatus.NOT_FOUND, f"no model is called '{name[:80]}' here: {', '.join(self.names)}")
        with self._lock:
            if name not in self._open:
                self._open[name] = load(name, self.threads)
            return self._open[name]

    def read(self, name: str, image: bytes) -> dict[str, Any]:
        """What a model reads in one image, as the page shows it.

        Raises:
            HtrError: the model cannot be opened, or the image cannot be read.
        """
        recognizer = self.recognizer(name)
        started = time.perf_counter()
        [reading] = recognizer.read([image], spans=True)
        return shown(reading) | {"milliseconds": 1000 * (time.perf_counter() - started)}


def shown(reading: Reading) -> dict[str, Any]:
    """A reading as JSON has it."""
    score = reading.score if math.isfinite(reading.score) else None
    characters = [{"text": span.text, "confidence": span.confidence} for span in reading.characters]
    return {"text": reading.text, "score": score, "hint": reading.hint, "characters": characters}


class Server(ThreadingHTTPServer):
    """Listens on the loopback address.

    Args:
        port: 0 takes a free one.
        shelf: the models.

    Raises:
        HtrError: the port is in use, or may not be used.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # lets a server start again at once; on Windows two would share the port

    def __init__(self, port: int, shelf: Shelf):
        self.shelf = shelf
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is in use" if taken else f"cannot be used ({error.strerror})"
            raise HtrError(f"port {port} {reason}: choose another with --port, or 0 for any free one") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what went wrong with a connection; that a browser has left is nothing to tell."""
        if isinstance(sys.exc_info()[1], OSError):
            logger.debug("a connection ended early", exc_info=True)
        else:
            logger.exception("a request failed")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Server
    timeout = IDLE_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "htrcompress"
    sys_version = ""
    _taken = False  # whether the body of the request was read

    def do_GET(self) -> None:
        """A file of the page, or the list of models."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Reads an image: `/read?model=NAME` with its bytes."""
        self._answer(self._post)

    def _get(self) -> tuple[bytes, str]:
        path = urlsplit(self.path).path
        if path == "/models":
            return _json([{"name": name} for name in self.server.shelf.names])
        if path not in FILES:
            raise Rejected(HTTPStatus.NOT_FOUND, "there is nothing here")
        name, kind = FILES[path]
        return (PAGE / name).read_bytes(), kind

    def _post(self) -> tuple[bytes, str]:
        url = urlsplit(self.path)
        check_origin(self.headers)
        if url.path != "/read":
            raise Rejected(HTTPStatus.NOT_FOUND, "there is nothing here")
        length = check_image(self.headers)
        image = self._body(length)
        if len(image) < length:
            raise Rejected(HTTPStatus.BAD_REQUEST, "the image did not arrive whole")
        return _json(self.server.shelf.read("".join(parse_qs(url.query).get("model", [])), image))

    def _body(self, most: int) -> bytes:
        """What the request brings and was not read yet, if it says that it is at most so long."""
        length = length_of(self.headers)
        if self._taken or length is None or length > most:
            return b""
        self._taken = True
        return self.rfile.read(length)

    def _answer(self, make: Callable[[], tuple[bytes, str]]) -> None:
        self._taken = False
        try:
            check_host(self.headers, self.server.port)
            content, kind = make()
            status = HTTPStatus.OK
        except HtrError as error:
            status = error.status if isinstance(error, Rejected) else HTTPStatus.UNPROCESSABLE_ENTITY
            content, kind = _json({"error": str(error)})
            self._body(MOST_BYTES)  # a connection that closes with unread bytes may lose the answer
            self.close_connection = True
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Logs a request where someone wants to see them."""
        logger.debug("%s %s", self.address_string(), format % arguments)


def _json(value: Any) -> tuple[bytes, str]:
    return json.dumps(value, ensure_ascii=False).encode(), "application/json; charset=utf-8"
