"""Properties of pages: no file crashes a reader, no line a cut, and a text that is written comes back."""

import unicodedata

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from page_files import alto, page_line, page_xml

from htrcompress.charset import clean_text
from htrcompress.errors import HtrError
from htrcompress.pages.crop import cut, measure
from htrcompress.pages.files import FORMATS, fill_page
from htrcompress.pages.markup import parse
from htrcompress.pages.page import Page, PageLine, Reading, fault

QUICK = settings(max_examples=60, deadline=None)
NUMBERS = st.sampled_from(["0", "-5", "9.5", "1e3", "1e99", "nan", "inf", "", "x", "007", "99999999999999999999"])
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6).map(lambda some: " ".join(f"{x},{y}" for x, y in some))
NAMES = st.sampled_from(["l", "m", "line", "l-2", ""])
CUSTOMS = st.sampled_from(
    ["", "readingOrder {index:1;}", "readingOrder {index:99999999999999;}", "structure {type:", "a{"]
)
WORDS = st.sampled_from(["", "one", "a b", "&amp;lt;", "\u00e9", "e\u0301"])


def read(data: bytes) -> Page:
    markup = parse(data, "a.xml")
    return FORMATS[markup.root.name].read(markup, "a.xml")


@st.composite
def page_lines_xml(draw: st.DrawFn) -> str:
    coords = f'<Coords points="{draw(POINTS)}"/>' if draw(st.booleans()) else "<Coords><Point x='1'/></Coords>"
    texts = "".join(
        f'<TextEquiv index="{draw(NUMBERS)}" conf="{draw(NUMBERS)}"><Unicode>{word}</Unicode></TextEquiv>'
        for word in draw(st.lists(WORDS, max_size=2))
    )
    words = "".join(f"<Word><TextEquiv><PlainText>{w}</PlainText></TextEquiv></Word>" for w in draw(st.lists(WORDS)))
    line = f'{coords}<Baseline points="{draw(POINTS)}"/>{words}{texts}'
    return f'<TextLine id="{draw(NAMES)}" custom="{draw(CUSTOMS)}">{line}</TextLine>'


REGIONS = st.recursive(
    page_lines_xml(),
    lambda inner: st.builds(
        lambda name, custom, parts: f'<TextRegion id="{name}" custom="{custom}">{"".join(parts)}</TextRegion>',
        NAMES,
        CUSTOMS,
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)
ORDERS = st.lists(st.tuples(NUMBERS, NAMES), max_size=3).map(
    lambda some: "".join(f'<RegionRefIndexed index="{index}" regionRef="{name}"/>' for index, name in some)
)
PAGES = st.builds(
    lambda order, regions: page_xml(f"<ReadingOrder><g>{order}</g></ReadingOrder>{''.join(regions)}"),
    ORDERS,
    st.lists(REGIONS, max_size=3),
)


@st.composite
def alto_lines(draw: st.DrawFn) -> str:
    parts = st.one_of(
        st.just("<SP/>"), st.just("<HYP/>"), WORDS.map(lambda word: f'<String CONTENT="{word}" WC="{len(word)}"/>')
    )
    box = "".join(f' {name}="{draw(NUMBERS)}"' for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
    shape = f'<Shape><Polygon POINTS="{draw(POINTS)}"/></Shape>' if draw(st.booleans()) else ""
    inside = shape + "".join(draw(st.lists(parts, max_size=4)))
    return f'<TextLine ID="{draw(NAMES)}" BASELINE="{draw(POINTS | NUMBERS)}"{box}>{inside}</TextLine>'


ALTOS = st.lists(alto_lines(), max_size=4).map(lambda lines: alto(f"<TextBlock>{''.join(lines)}</TextBlock>"))
CANVAS = np.full((200, 100), 220, np.uint8)


@QUICK
@given(st.one_of(PAGES, ALTOS))
def test_whatever_is_in_a_page_its_lines_are_cut_and_filled_in(text: str) -> None:
    data = text.encode()
    page = read(data)
    assert len({line.id for line in page.lines}) == len(page.lines) == text.count("<TextLine")
    good = [line for line in page.lines if fault(line, 100, 200) is None]
    geometry = measure(good)
    for line in good:
        crop = cut(CANVAS, line, geometry)
        assert crop.pixels.dtype == np.uint8 and crop.pixels.size and np.isfinite(crop.to_page(0, 0)).all()
    readings = {line.id: Reading(f"text of {number}", 0.5) for number, line in enumerate(page.lines)}
    filled = fill_page(data, readings)
    again = read(filled)
    assert {line.id: line.text for line in again.lines} == {name: reading.text for name, reading in readings.items()}
    assert [line.polygon for line in again.lines] == [line.polygon for line in page.lines]
    assert fill_page(filled, readings, only_empty=True) == filled
    assert fill_page(data, {}) == data


@QUICK
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@example("]]>&amp;<!--\"'")
@example("\u0000\uffff")
def test_a_text_comes_back(text: str) -> None:
    wanted = clean_text("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text))
    for file in (page_xml(page_line("l", "old")), alto('<TextLine ID="l"><String CONTENT="old"/></TextLine>')):
        for codec in ("utf-8", "iso-8859-1"):
            data = f'<?xml version="1.0" encoding="{codec}"?>{file}'.encode(codec)
            [line] = read(fill_page(data, {"l": Reading(wanted)})).lines
            assert clean_text(line.text) == wanted


@QUICK
@given(st.one_of(PAGES, ALTOS), st.data())
def test_damaged_files_are_read_or_refused(text: str, data: st.DataObject) -> None:
    damaged = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=3) | st.just(b"<a>"))
    try:
        markup = parse(bytes(damaged), "a.xml")
        assert markup.replaced([]) == damaged
        read(bytes(damaged))
    except (HtrError, KeyError):  # no page at all
        pass


COORDINATES = st.floats(-1e7, 1e7) | st.floats(0, 200) | st.integers(0, 100)
OUTLINES = st.lists(st.tuples(COORDINATES, COORDINATES), max_size=8).map(tuple)


@QUICK
@given(st.lists(st.builds(PageLine, st.just("l"), st.just(""), OUTLINES, OUTLINES), max_size=4))
def test_lines_anywhere_are_cut_or_refused(lines: list[PageLine]) -> None:
    good = [line for line in lines if fault(line, 100, 200) is None]
    geometry = measure(good)
    for line in good:
        try:
            assert cut(CANVAS, line, geometry).pixels.size
        except HtrError:
            assert max(abs(value) for any_ in good for point in any_.points() for value in point) > 200
