"""An XML file as a tree of elements that know where they stand in the file, so that one can be changed in place.

Document types and entities are refused, and so are files that are larger, deeper or have more elements than any page
has, so that no file can take much memory or time.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from htrcompress.errors import HtrError

MAX_BYTES = 1 << 25
MAX_DEPTH = 64
MAX_ELEMENTS = 500_000
CODECS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso8859-1", "iso8859-15", "cp1252", "ascii")
"""Character encodings that are read, by Python's names."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(rb"""\A\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_START_TAG = re.compile(rb"""<[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>""")
_ATTRIBUTE = re.compile(r"""(?<!\s)\s++([^\s=]++)\s*+=\s*+("[^"]*"|'[^']*')""")
_UNMARKED = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))


Edit = tuple[int, int, str]
"""Start and end in `Markup.data`, and the XML to stand there."""


@dataclass(slots=True)
class Element:
    """One element of an XML file.

    Attributes:
        tag: its name as written, with a prefix if there is one.
        name: the tag without its prefix.
        attributes: their names as written and values.
        start: where its start tag begins, in bytes of `Markup.data`.
        line: the line in the file where that is.
        children: the elements in it.
        text: the characters directly in it.
        content: where its start tag ends.
        close: where its end tag begins; for an empty-element tag, where that ends.
        end: where it ends.
    """

    tag: str
    name: str
    attributes: dict[str, str]
    start: int
    line: int
    children: list["Element"] = field(default_factory=list)
    text: str = ""
    content: int = 0
    close: int = 0
    end: int = 0

    def all(self, *names: str) -> Iterator["Element"]:
        """The children of these names, in order."""
        return iter([child for child in self.children if child.name in names])

    def first(self, name: str) -> "Element | None":
        """The first child of this name."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def below(self, name: str) -> Iterator["Element"]:
        """The elements of this name in it, at any depth, in order."""
        waiting = self.children[::-1]
        while waiting:
            element = waiting.pop()
            if element.name == name:
                yield element
            waiting += element.children[::-1]


@dataclass(frozen=True)
class Markup:
    """A parsed file.

    Attributes:
        root: its outermost element.
        data: its characters in UTF-8, whatever the file's encoding: what the elements' places count in.
        codec: the file's encoding by Python's name.
        bom: the byte-order mark before it, which `data` is without.
    """

    root: Element
    data: bytes
    codec: str
    bom: bytes

    def changed(self, element: Element, content: str | None, attributes: Mapping[str, str | None] = {}) -> list[Edit]:
        """The edits that change an element.

        Args:
            element: what to change.
            content: the XML to stand in it, or None to leave what does.
            attributes: names and new values; of value None, attributes to remove.
        """
        old = self.data[element.start : element.content].decode()
        tag = old
        for name, value in attributes.items():
            tag = _with_attribute(tag, name, value)
        if content is not None and element.content == element.end:  # <a/> becomes <a>content</a>
            tag = f"{tag[:-2].rstrip()}>{content}</{element.tag}>"
        edits = [] if tag == old else [(element.start, element.content, tag)]
        if content is not None and element.content < element.end:
            edits.append((element.content, element.close, content))
        return edits

    def space_before(self, element: Element) -> str:
        """The line break and indentation that an element stands behind; empty where it stands behind others."""
        start = self.data.rfind(b"\n", 0, element.start)
        if start < 0 or self.data[start : element.start].strip():
            return ""
        return self.data[start - (self.data[start - 1 : start] == b"\r") : element.start].decode()

    def replaced(self, edits: list[Edit]) -> bytes:
        """The file with some places changed and all else byte for byte as it was.

        Args:
            edits: which must not overlap. What the file's encoding lacks is written as a character reference.
        """
        parts, place = [], 0
        for start, end, text in sorted(edits, key=lambda edit: edit[:2]):
            parts += [self.data[place:start].decode(), text]
            place = end
        parts.append(self.data[place:].decode())
        return self.bom + "".join(parts).encode(self.codec, "xmlcharrefreplace")


def escaped(text: str) -> str:
    """Text as it stands between tags; characters that XML cannot hold become U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text))


def quoted(text: str) -> str:
    """Text as it stands in an attribute, with its quotes."""
    return quoteattr(_NOT_XML.sub("\ufffd", text))


def _with_attribute(tag: str, name: str, value: str | None) -> str:
    """A start tag with an attribute set or removed, all else as it was."""
    for found in _ATTRIBUTE.finditer(tag):
        if found[1] == name:
            start, end = (found.start(), found.end()) if value is None else found.span(2)
            return tag[:start] + ("" if value is None else quoted(value)) + tag[end:]
    if value is None:
        return tag
    kept = tag[: -2 if tag.endswith("/>") else -1].rstrip()
    return f"{kept} {name}={quoted(value)}{tag[len(kept) :]}"


def parse(data: bytes, source: str) -> Markup:
    """Parses a file.

    Args:
        data: the file's bytes.
        source: what to call it in an error.

    Raises:
        HtrError: it is too large, is not well-formed, has a document type, or is in an encoding that is not read.
    """
    if len(data) > MAX_BYTES:
        raise HtrError(f"{source} has {len(data)} bytes; the limit for a page's XML is {MAX_BYTES}: split it")
    text, codec, bom = _decoded(data, source)
    utf8 = text.encode()
    return Markup(_Builder(utf8, source).parse(), utf8, codec, bom)


def _decoded(data: bytes, source: str) -> tuple[str, str, bytes]:
    """The characters of a file, its codec, and its byte-order mark."""
    bom, codec = next(((bom, codec) for bom, codec in _BOMS if data.startswith(bom)), (b"", ""))
    codec = codec or next((codec for start, codec in _UNMARKED if data.startswith(start)), "")
    if not codec:
        declared = _DECLARED.match(data[:1000])
        named = declared[1].decode() if declared else "utf-8"
        try:
            codec = codecs.lookup(named).name
        except LookupError:
            codec = ""
        if codec not in CODECS:
            raise HtrError(f"{source} is encoded as {named}, which is not read: convert it to UTF-8")
    body = data[len(bom) :]
    try:
        text = body.decode(codec)
        if text.encode(codec) != body:
            raise ValueError
        return text, codec, bom
    except ValueError:
        raise HtrError(f"{source} is not {codec} text, which it says it is: convert it") from None


class _Builder:
    """Builds the tree while expat parses."""

    def __init__(self, data: bytes, source: str):
        self.data, self.source = data, source
        self.root: Element | None = None
        self.open: list[Element] = []
        self.texts: list[list[str]] = []
        self.count = 0
        self.parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype

    def parse(self) -> Element:
        """The root element."""
        try:
            self.parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise HtrError(
                f"{self.source}, line {error.lineno}: this is not well-formed XML ({expat.ErrorString(error.code)}): "
                "export the page again"
            ) from None
        assert self.root is not None  # an empty document is not well-formed
        return self.root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            limit = f"more than {MAX_ELEMENTS} elements" if self.count > MAX_ELEMENTS else f"{MAX_DEPTH} levels of them"
            raise HtrError(f"{self.source} has {limit}, which no page has: split it")
        parser = self.parser
        element = Element(tag, tag.rpartition(":")[2], attributes, parser.CurrentByteIndex, parser.CurrentLineNumber)
        element.content = self._tag_end(element.start)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        self.texts.append([])

    def _end(self, tag: str) -> None:
        element = self.open.pop()
        element.text = "".join(self.texts.pop())
        if self.data[element.content - 2 : element.content] == b"/>":
            element.close = element.end = element.content
        else:
            element.close = self.parser.CurrentByteIndex
            element.end = self.data.index(b">", element.close) + 1

    def _characters(self, text: str) -> None:
        self.texts[-1].append(text)

    def _doctype(self, *_: object) -> None:
        raise HtrError(f"{self.source} has a document type, which may define entities: remove the <!DOCTYPE ...>")

    def _tag_end(self, start: int) -> int:
        """Where the start tag that begins there ends; a > may stand in a quoted value."""
        match = _START_TAG.match(self.data, start)
        assert match is not None  # expat has parsed it
        return match.end()
