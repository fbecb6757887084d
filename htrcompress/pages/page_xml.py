"""PAGE XML, from 2009 to 2024: reads a page, and writes text and confidence back into its file.

Transkribus, eScriptorium, OCR-D's tools, PRImA's Aletheia and others write it. Points are in an attribute `points`, or
in `Point` elements in the oldest versions. A line's text is its own `TextEquiv`, of several the one with the lowest
index; where it has none, the texts of its words. Lines are in the order that the file says: by `ReadingOrder`, by
the index in Transkribus' `custom`, or as they stand.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping

from htrcompress.errors import HtrError
from htrcompress.pages import fields
from htrcompress.pages.markup import Edit, Element, Markup, escaped
from htrcompress.pages.page import Page, PageLine, Point, Reading

ROOT = "PcGts"
VERSIONS = {
    "2009-03-16", "2010-01-12", "2010-03-19", "2013-07-15", "2016-07-15", "2017-07-15", "2018-07-15", "2019-07-15",
    "2024-07-15",
}  # fmt: skip
"""Dates in the namespaces that are known."""
_WITH_CONFIDENCE = "2013-07-15"
"""The first version in which a text has a confidence."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CUSTOM = re.compile(r"(?<![\w.-])([\w.-]++)\s*+\{([^{}]*+)\}")
"""The tags in `custom`, such as `readingOrder {index:3;}`."""
_MOST_KINDS = 50
_AFTER_TEXT = ("TextStyle", "UserDefined", "Labels")
"""What stands behind the texts of a line."""


def read(markup: Markup, source: str) -> Page:
    """The page in a parsed file.

    Args:
        markup: the file.
        source: what to call it in an error.

    Raises:
        HtrError: it is not PAGE XML, or has more lines or points than a page has.
    """
    page = _page_element(markup.root, source)
    version = _version(markup.root)
    notes: Counter[str] = Counter()
    if version not in VERSIONS:
        notes[f"pages of an unknown version of PAGE ({version or 'no date in the namespace'})"] += 1
    names = {id(element): name for name, element in _lines(page, source).items()}
    walk = _Walk(source, names, _ranks(page))
    walk.visit(page, "", ())
    size = [fields.number(page.attributes.get(name)) or 0 for name in ("imageWidth", "imageHeight")]
    image = page.attributes.get("imageFilename", "")
    return Page(source, image, size[0], size[1], walk.lines, f"PAGE {version}".strip(), dict(notes))


def fill(markup: Markup, readings: Mapping[str, Reading], only_empty: bool, source: str) -> list[Edit]:
    """The edits that put texts into the lines of a file.

    Of several texts of a line the one that `read` takes is replaced. The texts of words and regions stay. In versions
    before 2013, which have no place for it, the confidence is left out.

    Args:
        markup: the file.
        readings: the texts, by the lines' ids as `read` gives them.
        only_empty: leave lines that have a text already as they are.
        source: what to call the file in an error.

    Raises:
        HtrError: it is not PAGE XML, or has no line of such an id.
    """
    lines = _lines(_page_element(markup.root, source), source)
    fields.check_ids(readings, lines, source)
    with_confidence = _version(markup.root) >= _WITH_CONFIDENCE
    edits: list[Edit] = []
    for name, reading in readings.items():
        if not (only_empty and _text(lines[name])[0].strip()):
            confidence = f"{reading.confidence:.4f}" if reading.confidence is not None and with_confidence else None
            edits += _edits(markup, lines[name], reading.text, confidence)
    return edits


def _page_element(root: Element, source: str) -> Element:
    page = root.first("Page") if root.name == ROOT else None
    if page is None:
        raise HtrError(f"{source} is not PAGE XML: its outermost element is {root.name[:80]}")
    return page


def _version(root: Element) -> str:
    prefix = root.tag.rpartition(":")[0]
    namespace = root.attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
    found = _DATE.search(namespace)
    return found[0] if found else ""


def _lines(page: Element, source: str) -> dict[str, Element]:
    return fields.identified(page.below("TextLine"), "id", source)


def _ranks(page: Element) -> dict[str, int]:
    """The place in the reading order of each region that `ReadingOrder` names."""
    ranks: dict[str, int] = {}

    def visit(group: Element) -> None:
        for item in sorted(group.children, key=lambda item: fields.number(item.attributes.get("index")) or 0):
            if "regionRef" in item.attributes:
                ranks.setdefault(item.attributes["regionRef"], len(ranks))
            visit(item)

    for order in page.all("ReadingOrder"):
        visit(order)
    return ranks


class _Walk:
    """Collects the lines of a page in reading order."""

    def __init__(self, source: str, names: dict[int, str], ranks: dict[str, int]):
        self.points, self.names, self.ranks = fields.PointReader(source), names, ranks
        self.lines: list[PageLine] = []

    def visit(self, element: Element, region: str, kinds: tuple[str, ...]) -> None:
        """Adds the lines in a page or region, and in the regions in it."""
        for child in self._in_order(element):
            if child.name == "TextLine":
                self.lines.append(self._line(child, region, kinds))
            else:
                inner = child.attributes.get("id", region)
                self.visit(child, inner, _merged(kinds, _kinds(child)) if child.name.endswith("Region") else kinds)

    def _in_order(self, element: Element) -> list[Element]:
        """The lines and regions in an element. Those that no order is known of come last, as they stand."""
        inner = [child for child in element.children if child.name == "TextLine" or next(child.below("TextLine"), None)]
        indices = [fields.number(_value(_tags(child), "readingOrder", "index")) for child in inner]
        ranked = [self.ranks.get(child.attributes.get("id", "")) for child in inner]
        if any(rank is not None for rank in ranked):
            keys = [math.inf if rank is None else rank for rank in ranked]
        elif any(index is not None for index in indices):
            keys = [math.inf if index is None else index for index in indices]
        else:
            return inner
        return [child for _, child in sorted(zip(keys, inner, strict=True), key=lambda pair: pair[0])]

    def _line(self, element: Element, region: str, kinds: tuple[str, ...]) -> PageLine:
        text, confidence = _text(element)
        return PageLine(
            self.names[id(element)],
            text,
            _points(element.first("Baseline"), self.points),
            _points(element.first("Coords"), self.points),
            _merged(_kinds(element), kinds),
            region,
            confidence,
        )


def _points(element: Element | None, points: fields.PointReader) -> tuple[Point, ...]:
    if element is None:
        return ()
    if "points" in element.attributes:
        return points.read(element.attributes["points"])
    each = (f"{point.attributes.get('x')},{point.attributes.get('y')}" for point in element.all("Point"))
    return points.read(" ".join(each))


def _tags(element: Element) -> list[tuple[str, str]]:
    """The names and contents of the tags in `custom`."""
    custom = element.attributes.get("custom")
    return _CUSTOM.findall(custom) if custom else []


def _value(tags: list[tuple[str, str]], tag: str, key: str) -> str:
    """A value in a tag, such as 3 of `readingOrder {index:3;}`; empty where there is none."""
    for name, body in tags:
        if name == tag:
            for pair in body.split(";"):
                found, _, value = pair.partition(":")
                if found.strip() == key:
                    return value.strip()
    return ""


def _kinds(element: Element) -> tuple[str, ...]:
    """What a line or region is: its types, how it was written, and the tags that Transkribus puts into `custom`."""
    tags = _tags(element)
    others = tuple(name for name, _ in tags if name not in ("readingOrder", "structure", "textStyle"))
    stated = (element.attributes.get("type", ""), *element.attributes.get("production", "").split())
    return _merged((_value(tags, "structure", "type"), *stated, *others))


def _merged(*kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind for some in kinds for kind in some if kind))[:_MOST_KINDS]


def _chosen(line: Element) -> Element | None:
    """Of a line's own texts the one with the lowest index."""
    return min(
        line.all("TextEquiv"),
        key=lambda equivalent: fields.number(equivalent.attributes.get("index")) or 0,
        default=None,
    )


def _own_text(element: Element) -> tuple[str, float | None]:
    """The text of an element's own `TextEquiv` and its confidence."""
    equivalent = _chosen(element)
    if equivalent is None:
        return "", None
    text = equivalent.first("Unicode") or equivalent.first("PlainText")
    return (text.text if text else ""), fields.share(equivalent.attributes.get("conf"))


def _text(line: Element) -> tuple[str, float | None]:
    """A line's own text, or its words', or their glyphs'; and its confidence."""
    text, confidence = _own_text(line)
    if not text.strip():
        for part, joint in (("Word", " "), ("Glyph", "")):
            if texts := [_text(child)[0] for child in line.all(part)]:
                return joint.join(filter(None, texts)), confidence
    return text, confidence


def _edits(markup: Markup, line: Element, text: str, confidence: str | None) -> list[Edit]:
    """What gives a line a text."""
    equivalent = _chosen(line)
    if equivalent is None:
        return [_new(markup, line, text, confidence)]
    edits = markup.changed(equivalent, None, {"conf": confidence})
    plain, unicode_ = equivalent.first("PlainText"), equivalent.first("Unicode")
    for old in (plain, unicode_):
        if old is not None:
            edits += markup.changed(old, escaped(text))
    if unicode_ is None:
        tag = _sibling(line, "Unicode")
        inside = markup.data[equivalent.content : equivalent.close].decode() if plain is None else ""
        written = f"{inside}<{tag}>{escaped(text)}</{tag}>"
        if plain is None:
            return markup.changed(equivalent, written, {"conf": confidence})
        edits.append((plain.end, plain.end, written))
    return edits


def _new(markup: Markup, line: Element, text: str, confidence: str | None) -> Edit:
    """A text for a line that has none: where the schema has it, and indented as what stands before it."""
    outer, tags = _sibling(line, "TextEquiv"), [_sibling(line, "Unicode")]
    if _version(markup.root) < _WITH_CONFIDENCE:
        tags.insert(0, _sibling(line, "PlainText"))
    start = f"<{outer}>" if confidence is None else f'<{outer} conf="{confidence}">'
    written = [f"<{tag}>{escaped(text)}</{tag}>" for tag in tags]
    before = [child for child in line.children if child.name not in _AFTER_TEXT]
    if not before:
        return markup.changed(line, f"{start}{''.join(written)}</{outer}>")[0]
    space = markup.space_before(before[-1])
    inner = space + space.removeprefix(markup.space_before(line))
    place = before[-1].end
    return place, place, f"{space}{start}{inner}{inner.join(written)}{space}</{outer}>"


def _sibling(line: Element, name: str) -> str:
    """A name with the prefix of the line's."""
    return line.tag.removesuffix(line.name) + name
