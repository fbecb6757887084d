"""ALTO, versions 2 to 4: reads a page, and writes text and confidence back into its file.

eScriptorium, kraken, Transkribus, ABBYY's and the libraries' programs write it. Points are in one of four spellings;
a baseline is points, or one number. A line's text is its `String`s, with spaces where there is an `SP`, and the
hyphen of a `HYP`. Lines are in the order of the file.
"""

from collections.abc import Iterator, Mapping

from htrcompress.errors import HtrError
from htrcompress.pages import fields
from htrcompress.pages.markup import Edit, Element, Markup, quoted
from htrcompress.pages.page import Box, Page, PageLine, Point, Reading

ROOT = "alto"
UNITS = ("pixel", "mm10", "inch1200")
_TEXT = ("String", "SP", "HYP")
_BOX = ("HPOS", "VPOS", "WIDTH", "HEIGHT")
_MOST_TAGS = 50
_SOFT_HYPHEN = "\u00ad"


def read(markup: Markup, source: str) -> Page:
    """The page in a parsed file.

    Args:
        markup: the file.
        source: what to call it in an error.

    Raises:
        HtrError: it is not ALTO, or has more lines or points than a page has.
    """
    root = markup.root
    page = _page_element(root, source)
    names = {id(element): name for name, element in _lines(page, source).items()}
    labels = _labels(root)
    points = fields.PointReader(source)
    lines = []
    for element, region, tags in _walk(page, "", ()):
        kinds = tuple(dict.fromkeys(labels.get(tag, tag) for tag in tags))
        text, confidence = _text(element)
        box = _box(element)
        polygon, baseline = _polygon(element, box, points), _baseline(element, box, points)
        lines.append(PageLine(names[id(element)], text, baseline, polygon, kinds, region, confidence))
    size = [fields.number(page.attributes.get(name)) or 0 for name in ("WIDTH", "HEIGHT")]
    return Page(source, _stated(root, "fileName"), size[0], size[1], lines, _format(root), unit=_unit(root, source))


def fill(markup: Markup, readings: Mapping[str, Reading], only_empty: bool, source: str) -> list[Edit]:
    """The edits that put texts into the lines of a file.

    A line that is one `String` in a file without any `SP` stays one. Otherwise a line's text is written as a `String`
    for each word with `SP` between them, with its box if the reading has boxes.

    Args:
        markup: the file.
        readings: the texts, by the lines' ids as `read` gives them.
        only_empty: leave lines that have a text already as they are.
        source: what to call the file in an error.

    Raises:
        HtrError: it is not ALTO, or has no line of such an id.
    """
    page = _page_element(markup.root, source)
    lines, spaced = _lines(page, source), _spaced(page)
    fields.check_ids(readings, lines, source)
    edits: list[Edit] = []
    for name, reading in readings.items():
        line = lines[name]
        if only_empty and _text(line)[0].strip():
            continue
        old = list(line.all(*_TEXT))
        if len(old) == 1 and old[0].name == "String" and not spaced:
            confidence = None if reading.confidence is None else f"{reading.confidence:.4f}"
            edits += markup.changed(old[0], None, {"CONTENT": reading.text, "WC": confidence})
        else:
            edits += _words(markup, line, old, reading)
    return edits


def _page_element(root: Element, source: str) -> Element:
    if root.name != ROOT:
        raise HtrError(f"{source} is not ALTO: its outermost element is {root.name[:80]}")
    pages = [page for layout in root.all("Layout") for page in layout.all("Page")]
    if len(pages) != 1:
        raise HtrError(f"{source} describes {len(pages)} pages: write one file for each")
    return pages[0]


def _format(root: Element) -> str:
    prefix = root.tag.rpartition(":")[0]
    namespace = root.attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
    version = namespace.rpartition("/ns-v")[2].strip("#") if "/ns-v" in namespace else ""
    return f"ALTO {version}".strip()


def _stated(root: Element, name: str) -> str:
    return next((element.text.strip() for element in root.below(name)), "")


def _unit(root: Element, source: str) -> str:
    unit = _stated(root, "MeasurementUnit") or "pixel"
    if unit not in UNITS:
        raise HtrError(f"{source} measures in {unit[:40]!r}; what is read is {', '.join(UNITS)}")
    return unit


def _labels(root: Element) -> dict[str, str]:
    """The names of the tags that lines and blocks refer to."""
    tags = (tag for tags in root.all("Tags") for tag in tags.children)
    return {tag.attributes["ID"]: tag.attributes.get("LABEL", "") for tag in tags if "ID" in tag.attributes}


def _spaced(page: Element) -> bool:
    """Whether the file has a string for each word, with spaces between."""
    return next(page.below("SP"), None) is not None


def _lines(page: Element, source: str) -> dict[str, Element]:
    return fields.identified(page.below("TextLine"), "ID", source)


def _walk(element: Element, region: str, tags: tuple[str, ...]) -> Iterator[tuple[Element, str, tuple[str, ...]]]:
    """The lines in an element, the region of each, and the tags of the line and of what it is in."""
    for child in element.children:
        own = (*child.attributes.get("TAGREFS", "").split(), *tags)[:_MOST_TAGS]
        if child.name == "TextLine":
            yield child, region, own
        else:
            yield from _walk(child, child.attributes.get("ID", region) if child.name == "TextBlock" else region, own)


def _text(line: Element) -> tuple[str, float | None]:
    """A line's text, and the mean confidence of its words. A line without any `SP` has one between all its strings."""
    spaced = line.first("SP") is not None
    parts: list[str] = []
    confidences = []
    for part in line.all(*_TEXT):
        if part.name == "SP":
            parts.append(" ")
            continue
        text = part.attributes.get("CONTENT", "")
        if part.name == "HYP":
            parts.append("-" if text in ("", _SOFT_HYPHEN) else text)
        else:
            parts += [" ", text] if parts and not spaced else [text]
            confidences.append(fields.share(part.attributes.get("WC")))
    known = [confidence for confidence in confidences if confidence is not None]
    return "".join(parts), sum(known) / len(known) if known else None


def _box(element: Element) -> Box | None:
    """An element's left, top, width and height, if it has them all."""
    values = [fields.coordinate(element.attributes.get(name)) for name in _BOX]
    if None in values:
        return None
    left, top, width, height = (value for value in values if value is not None)
    return left, top, width, height


def _polygon(line: Element, box: Box | None, points: fields.PointReader) -> tuple[Point, ...]:
    """A line's outline; its box where it has none."""
    for shape in line.all("Shape"):
        for polygon in shape.all("Polygon"):
            return points.read(polygon.attributes.get("POINTS"))
    if box is None or box[2] <= 0 or box[3] <= 0:
        return ()
    left, top, width, height = box
    return (left, top), (left + width, top), (left + width, top + height), (left, top + height)


def _baseline(line: Element, box: Box | None, points: fields.PointReader) -> tuple[Point, ...]:
    """A line's baseline: points, or its height on the page, as wide as the line's box."""
    value = line.attributes.get("BASELINE", "")
    height = fields.coordinate(value)
    if height is None:
        return points.read(value)
    return ((box[0], height), (box[0] + box[2], height)) if box and box[2] > 0 else ()


def _words(markup: Markup, line: Element, old: list[Element], reading: Reading) -> list[Edit]:
    """What puts a string for each word, and spaces between them, into the place of a line's strings."""
    prefix = line.tag.removesuffix(line.name)
    words = reading.text.split() or [""]
    boxes = reading.boxes if len(reading.boxes) == len(words) else ()
    confidence = "" if reading.confidence is None else f' WC="{reading.confidence:.4f}"'
    strings = []
    for number, word in enumerate(words):
        box = zip(_BOX, boxes[number], strict=True) if boxes else ()
        place = "".join(f' {name}="{value:.0f}"' for name, value in box)
        strings.append(f"<{prefix}String CONTENT={quoted(word)}{place}{confidence}/>")
    before = old[0] if old else next(line.all("Shape"), None)
    space = markup.space_before(before) if before else ""
    written = f"{space}<{prefix}SP/>{space}".join(strings)
    if old:
        return [(old[0].start, old[-1].end, written)]
    if before:
        return [(before.end, before.end, space + written)]
    return markup.changed(line, written)
