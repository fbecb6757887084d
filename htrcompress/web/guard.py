"""What a request must be before the server looks at it: from this machine's own page, of a known kind, not too large.

A page of another site can make the browser send requests to the loopback address, directly or by letting its own name
point there (DNS rebinding). So the Host header must be the server's own address, and what changes or computes something
must come from the server's own page, by the Origin header that browsers send.
"""

from email.message import Message
from http import HTTPStatus

from htrcompress.errors import HtrError

MOST_BYTES = 16 << 20
"""Larger images are not taken."""
MOST_DIGITS = 12
"""Longer numbers are no length of anything."""
KINDS = tuple(f"image/{kind}" for kind in ("png", "jpeg", "webp", "tiff", "bmp", "gif", "jp2"))
"""Content types of images; what a file really is decides when it is read."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""


class Rejected(HtrError):
    """A request that is not answered, with its HTTP status."""

    def __init__(self, status: HTTPStatus, sentence: str):
        super().__init__(sentence)
        self.status = status


def addresses(port: int) -> tuple[str, ...]:
    """What the Host header may be."""
    return f"127.0.0.1:{port}", f"localhost:{port}"


def check_host(headers: Message, port: int) -> None:
    """Raises Rejected where a request does not name the server's own address."""
    if headers.get("Host") not in addresses(port):
        raise Rejected(HTTPStatus.MISDIRECTED_REQUEST, f"open the page as http://{addresses(port)[0]}/")


def check_origin(headers: Message) -> None:
    """Raises Rejected where a request does not come from the server's own page."""
    if headers.get("Origin") != f"http://{headers.get('Host')}":
        raise Rejected(HTTPStatus.FORBIDDEN, "images are read for this server's own page alone")


def check_image(headers: Message) -> int:
    """The length of the image that a request brings.

    Raises:
        Rejected: it brings none, one that is too large, or something else.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise Rejected(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"this is no image of a line: {kind or 'it has no type'}")
    length = length_of(headers)
    if length is None or "Transfer-Encoding" in headers:
        raise Rejected(HTTPStatus.LENGTH_REQUIRED, "an image must come with its length")
    if not 0 < length <= MOST_BYTES:
        most = f"images of up to {MOST_BYTES >> 20} MiB are read"
        raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the image has {length:,} bytes; {most}")
    return length


def length_of(headers: Message) -> int | None:
    """How many bytes a request says it brings; None where it does not say so in a plain number."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None
