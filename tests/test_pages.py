"""PAGE and ALTO: what is read from them, what is refused, and that text written back changes nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from page_files import COORDS, alto, page_line, page_xml

from htrcompress.errors import HtrError
from htrcompress.pages import fields, markup
from htrcompress.pages.files import fill_page, read_page
from htrcompress.pages.page import Page, Reading

Read = Callable[[str | bytes], Page]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def write_and_read(text: str | bytes) -> Page:
        path = tmp_path / "a.xml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_page(path)

    return write_and_read


def texts(page: Page) -> list[str]:
    return [line.text for line in page.lines]


def test_a_page(read: Read) -> None:
    line = page_line("l", "one &amp; two", custom="structure {type:x;}")
    page = read(page_xml(f'<TextRegion id="r" type="heading">{line}</TextRegion>'))
    (line,) = page.lines
    assert (page.image, page.width, page.height, page.format) == ("a.png", 100, 200, "PAGE 2019-07-15")
    assert (line.id, line.text, line.region, line.kinds) == ("l", "one & two", "r", ("x", "heading"))
    assert line.baseline == ((0, 30), (90, 30)) and line.polygon[2] == (90, 40)


@pytest.mark.parametrize("namespace", ["x/2010-03-19", "x/2013-07-15", "x/2031-01-01", ""])
def test_versions_of_page(read: Read, namespace: str) -> None:
    page = read(page_xml(page_line("l", "one"), namespace))
    assert texts(page) == ["one"] and bool(page.notes) == (namespace in ("", "x/2031-01-01"))
    assert all(namespace[2:] in note for note in page.notes)


def test_points_as_elements(read: Read) -> None:
    coords = '<Coords><Point x="1" y="2"/><Point x="9" y="2"/><Point x="9" y="5"/></Coords>'
    page = read(page_xml(f'<TextLine id="l">{coords}</TextLine>', "x/2010-03-19"))
    assert page.lines[0].polygon == ((1, 2), (9, 2), (9, 5)) and page.lines[0].baseline == ()
    assert read(page_xml('<TextLine><Coords><Point x="1"/></Coords></TextLine>')).lines[0].polygon == ()


def test_of_several_texts_the_lowest_index_and_words_where_there_is_none(read: Read) -> None:
    both = "".join(
        f'<TextEquiv index="{index}" conf="0.{index}"><Unicode>t{index}</Unicode></TextEquiv>' for index in (2, 1)
    )
    word = "<Word><TextEquiv><Unicode>w</Unicode></TextEquiv></Word>"
    page = read(page_xml(f"<TextLine>{word}{both}</TextLine><TextLine>{word}{word}</TextLine>"))
    assert texts(page) == ["t1", "w w"] and page.lines[0].confidence == 0.1
    assert len({line.id for line in page.lines}) == 2


def test_reading_order_by_element_by_custom_and_nested(read: Read) -> None:
    def region(name: str, inside: str, custom: str = "") -> str:
        return f'<TextRegion id="{name}" custom="{custom}">{inside}</TextRegion>'

    two, one = (page_line(text, text, custom=f"readingOrder {{index:{n};}}") for n, text in ((10, "2"), (9, "1")))
    nested = region("b", two + one + region("c", page_line("3", "3")))
    order = '<ReadingOrder><OrderedGroup id="g">{}</OrderedGroup></ReadingOrder>'.format(
        "".join(f'<RegionRefIndexed index="{i}" regionRef="{name}"/>' for i, name in ((1, "b"), (0, "d")))
    )
    last = region("d", page_line("4", "4"))
    assert texts(read(page_xml(nested + last))) == ["1", "2", "3", "4"]
    assert texts(read(page_xml(order + nested + last))) == ["4", "1", "2", "3"]
    customs = (
        region("x", page_line("x", "x"), "readingOrder {index:1;}"),
        region("y", page_line("y", "y"), "readingOrder {index:0;}"),
    )
    assert texts(read(page_xml("".join(customs)))) == ["y", "x"]


@pytest.mark.parametrize("points", ["0,0 9,0 9,5", "0 0 9 0 9 5", "0,0,9,0,9,5", "(0.0,0) (9,.0e1) [9,5]"])
def test_alto_points_in_four_spellings(read: Read, points: str) -> None:
    shape = f'<Shape><Polygon POINTS="{points}"/></Shape>'
    (line,) = read(alto(f'<TextBlock ID="b"><TextLine ID="l">{shape}</TextLine></TextBlock>')).lines
    assert line.polygon == ((0, 0), (9, 0), (9, 5)) and line.region == "b"


def test_alto_lines(read: Read) -> None:
    box = 'HPOS="1.5" VPOS="2" WIDTH="30" HEIGHT="10"'
    words = (
        '<String CONTENT="a" WC="0.5"/><SP/><String CONTENT="b" WC="1"/><String CONTENT="c"/><HYP CONTENT="\u00ad"/>'
    )
    block = (
        f'<ComposedBlock TAGREFS="t"><TextBlock><TextLine BASELINE="10.5" TAGREFS="u" {box}>{words}</TextLine>'
        '<TextLine BASELINE="1 2 8 3"><String CONTENT="whole line"/></TextLine></TextBlock></ComposedBlock>'
    )
    tags = '<OtherTag ID="t" LABEL="printed"/><OtherTag ID="u" LABEL="DefaultLine"/>'
    page = read(alto(block, tags=tags))
    one, two = page.lines
    assert (one.text, one.confidence, one.kinds) == ("a bc-", 0.75, ("DefaultLine", "printed"))
    assert one.baseline == ((1.5, 10.5), (31.5, 10.5)) and one.polygon[2] == (31.5, 12)
    assert two.text == "whole line" and two.baseline == ((1, 2), (8, 3)) and page.format == "ALTO 4"
    apart = read(alto('<TextBlock><TextLine><String CONTENT="a"/><String CONTENT="b"/></TextLine></TextBlock>'))
    assert texts(apart) == ["a b"]


def test_other_units_are_converted_by_the_size_of_the_image(read: Read) -> None:
    page = read(alto('<TextLine BASELINE="10 20 30 20"/>', unit="mm10"))
    assert page.unit == "mm10" and page.in_pixels(200, 400).lines[0].baseline == ((20, 40), (60, 40))
    with pytest.raises(HtrError, match="furlong"):
        read(alto("", unit="furlong"))


BAD = {
    "bomb": '<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>',
    "entity": page_xml(page_line("l", "&unknown;")),
    "damaged": page_xml("")[:-9],
    "other": "<html/>",
    "empty": "",
    "encoding": page_xml("", start='<?xml version="1.0" encoding="EBCDIC-FR"?>'),
    "not UTF-8": b"<a>\xe9</a>",
    "two pages": alto("").replace("<Layout>", "<Layout><Page/>"),
    "deep": "<a>" * 70 + "</a>" * 70,
    "points": page_xml('<TextLine><Coords points="{}"/></TextLine>'.format("1,1 " * 2_001)),
    "lines": page_xml("<TextLine/>" * 20_001),
    "elements": page_xml("<a/>" * 2_001),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_page_is_refused_by_name(read: Read, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "elements":
        monkeypatch.setattr(markup, "MAX_ELEMENTS", 2_000)
    if kind == "points":
        monkeypatch.setattr(fields, "MAX_POINTS", 2_000)
    with pytest.raises(HtrError, match=r"a\.xml") as error:
        read(BAD[kind])
    assert len(str(error.value)) < 400


N = 50_000
LARGE = {
    "text between": page_xml("<a/> \n " * N),
    "a tag without end": page_xml('<TextRegion custom="{}"><TextLine/></TextRegion>'.format("a" * N)),
    "tags without end": page_xml('<TextRegion custom="{}"><TextLine/></TextRegion>'.format("structure {" * N)),
    "many tags": page_xml('<TextRegion custom="{}">{}</TextRegion>'.format("a{} " * N, "<TextLine/>" * 1000)),
    "many references": alto('<TextBlock TAGREFS="{}">{}</TextBlock>'.format("a " * N, "<TextLine/>" * 1000)),
    "a long number": page_xml('<TextLine><Coords points="{}"/></TextLine>'.format("1" * N)),
    "spaces": page_xml("<TextLine{}/>".format(" " * N)),
}


@pytest.mark.parametrize("kind", LARGE)
def test_large_files_take_no_longer_than_their_size(read: Read, kind: str) -> None:
    page = read(LARGE[kind])
    assert all(len(line.kinds) <= 50 for line in page.lines)
    assert fill_page(LARGE[kind].encode(), {line.id: READINGS["l"] for line in page.lines})


def test_a_file_of_any_size_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(HtrError, match=r"a\.xml"):
        read_page(path)


READINGS = {"l": Reading("a < \"b\" & 'c' \u00e9\u4e2d", 0.5)}


def filled(read: Read, text: str | bytes, only_empty: bool = False) -> tuple[bytes, Page]:
    data = fill_page(text.encode() if isinstance(text, str) else text, READINGS, only_empty)
    return data, read(data)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_is_written_into_a_page_and_nothing_else_changes(read: Read, codec: str, newline: str) -> None:
    old = page_line("l", "old").replace("<TextEquiv>", "\n  <TextEquiv conf='0.1' index=\"0\" >")
    start = f"<?xml version='1.0' encoding='{codec.removesuffix('-sig')}'?>\n<!-- \u00e9 > -->"
    text = page_xml(old + page_line("m", "other"), start=start).replace("\n", newline)
    data, page = filled(read, text.encode(codec))
    assert texts(page) == [READINGS["l"].text, "other"] and page.lines[0].confidence == 0.5
    written = data.decode(codec)
    assert re.sub(r"conf='0.1'", "", text).replace("old", "") == re.sub(
        r"conf=\"0.5000\"", "", re.sub("a &lt;.*?</", "</", written)
    )


@pytest.mark.parametrize("inside", ["", "<TextEquiv/>", "<TextEquiv></TextEquiv>", "<TextEquiv><Unicode/></TextEquiv>"])
def test_a_line_of_page_without_text_gets_one(read: Read, inside: str) -> None:
    text = page_xml(f'\n <TextLine id="l">\n  {COORDS}{inside}\n  <TextStyle/>\n </TextLine>')
    data, page = filled(read, text)
    assert texts(page) == [READINGS["l"].text]
    assert b"conf" in data and data.index(b"<Coords") < data.index(b"<Unicode") < data.index(b"<TextStyle")
    assert filled(read, data, only_empty=True)[0] == data


def test_a_prefix_is_kept_and_old_versions_have_no_confidence(read: Read) -> None:
    text = page_xml(f'<TextLine id="l">{COORDS}</TextLine>', "x/2010-03-19")
    text = re.sub(r"<(/?)(\w)", r"<\1pc:\2", text).replace("xmlns=", "xmlns:pc=")
    data, page = filled(read, text)
    assert texts(page) == [READINGS["l"].text] and page.format == "PAGE 2010-03-19"
    assert b"conf" not in data and b"</pc:PlainText><pc:Unicode>" in data


ONE_STRING = '<TextLine ID="l"><Shape/>\n<String CONTENT="x" WC="0.1" HPOS="1"></String></TextLine>'
NO_STRING = '<TextLine ID="l"><Shape/></TextLine>'
WORDS = '<TextLine ID="l">\n <String CONTENT="x"/><SP/><String CONTENT="y"/><HYP CONTENT="-"/>\n</TextLine>'


def rest(alto: str) -> list[str]:
    """What is in an ALTO file besides text, confidence, and how empty elements are closed."""
    return re.sub(r"""<(String|HYP).*?/>|<SP/>|(CONTENT|WC)=("[^"]*"|'[^']*')|/(?=>)|</TextLine>""", "", alto).split()


@pytest.mark.parametrize("line", [ONE_STRING, NO_STRING, WORDS, '<TextLine ID="l"/>'])
def test_text_is_written_into_alto(read: Read, line: str) -> None:
    text = alto(f'<TextBlock>{line}<TextLine ID="m" HPOS="1"/></TextBlock>', tags="<!-- > -->")
    data, page = filled(read, text)
    assert texts(page) == [READINGS["l"].text, ""] and page.lines[0].confidence == 0.5
    assert rest(text) == rest(data.decode())
    assert (data.count(b"<SP/>") == 0) == (line is ONE_STRING)
    assert filled(read, data, only_empty=True)[0] == data


def test_words_of_alto_get_their_boxes() -> None:
    boxes = ((1, 2, 3, 4), (5, 6, 7, 8))
    data = fill_page(alto(NO_STRING).encode(), {"l": Reading("a b", 1, boxes)})
    assert b'CONTENT="b" HPOS="5" VPOS="6" WIDTH="7" HEIGHT="8" WC="1.0000"' in data


@pytest.mark.parametrize("text", [page_xml(page_line("m", "")), alto('<TextLine ID="m"/>')])
def test_a_text_for_no_line_is_refused(text: str) -> None:
    with pytest.raises(HtrError, match=r"\bl\b"):
        fill_page(text.encode(), READINGS)
