"""Text back into pages: what `transcribe --write` puts into PAGE and ALTO files, and what it leaves as it is."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from htrcompress import HtrError, load
from htrcompress.pages.crop import cut, measure
from htrcompress.pages.files import read_page
from htrcompress.transcribe import TranscribeOptions, page_files, transcribe

LINE = """    <TextLine id="l{0}">
      <Coords points="10,{1} 310,{1} 310,{2} 10,{2}"/>
      <Baseline points="10,{3} 310,{3}"/>{4}
    </TextLine>
"""
PAGE = """<?xml version="1.0" encoding="UTF-8"?>\r
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"><!-- kept -->
  <Page imageFilename="{}.png" imageWidth="320" imageHeight="{}">
{}  </Page>
</PcGts>
"""
ALTO = """<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description><MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>{}.png</fileName></sourceImageInformation></Description><Layout>
<Page WIDTH="320" HEIGHT="{}"><PrintSpace>
<TextBlock ID="b"><TextLine ID="l0" BASELINE="10 44 310 44" HPOS="10" VPOS="10" WIDTH="300" HEIGHT="44">
<Shape><Polygon POINTS="10 10 310 10 310 54 10 54"/></Shape></TextLine></TextBlock></PrintSpace></Page></Layout></alto>
"""
EMPTIED = re.compile(r"\s*<TextEquiv[^>]*>\s*<Unicode>[^<]*</Unicode>\s*</TextEquiv>")


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., NDArray[np.uint8]]) -> Path:
    """A page of three lines, the second of which has a text, and an image one folder above its file."""
    (tmp_path / "in" / "page").mkdir(parents=True)
    write_page(tmp_path / "in", "a", picture, texts={1: "kept"})
    return tmp_path / "in"


def write_page(
    folder: Path, name: str, picture: Callable[..., NDArray[np.uint8]], texts: Mapping[int, str] = MappingProxyType({})
) -> Path:
    """A page of three lines of noise."""
    sheet = np.full((220, 320), 230, np.uint8)
    lines = []
    for number in range(3):
        top = 10 + 60 * number
        sheet[top : top + 44, 10:310] = picture(300, 44, seed=number)
        text = f"<TextEquiv><Unicode>{texts[number]}</Unicode></TextEquiv>" if number in texts else ""
        lines.append(LINE.format(number, top, top + 44, top + 34, text))
    Image.fromarray(sheet).save(folder / f"{name}.png")
    path = folder / "page" / f"{name}.xml"
    path.write_bytes(PAGE.format(name, len(sheet), "".join(lines)).encode())
    return path


def options(folder: Path, model: Path, **more: object) -> TranscribeOptions:
    return TranscribeOptions([folder / "page"], model=model, write=folder.parent / "out", threads=1, **more)


def test_every_line_gets_its_text_and_nothing_else_changes(folder: Path, tiny_onnx: Path) -> None:
    result = transcribe(options(folder, tiny_onnx))
    [outcome] = result.pages
    assert outcome.lines == 3 and outcome.written == folder.parent / "out" / "a.xml" and result.exit_code == 0
    source, written = folder / "page" / "a.xml", outcome.written
    lines = read_page(source).lines
    pixels = np.asarray(Image.open(folder / "a.png"))
    crops = [cut(pixels, line, measure(lines)).pixels for line in lines]
    expected = load(tiny_onnx).read(crops, spans=True)
    assert any(reading.text for reading in expected)
    filled = read_page(written).lines
    assert [line.text for line in filled] == [reading.text for reading in expected]
    assert [line.confidence for line in filled] == pytest.approx([r.confidence for r in expected], abs=1e-3)
    kept = [EMPTIED.sub("", path.read_bytes().decode()) for path in (source, written)]
    assert kept[0] == kept[1]


def test_only_lines_without_a_text(folder: Path, tiny_onnx: Path) -> None:
    [outcome] = transcribe(options(folder, tiny_onnx, only_empty=True)).pages
    assert outcome.lines == 2 and outcome.left == {"with a text already": 1}
    assert outcome.written and read_page(outcome.written).lines[1].text == "kept"


def test_a_run_continues_where_it_stopped_and_names_what_failed(
    folder: Path, tiny_onnx: Path, picture: Callable[..., NDArray[np.uint8]], capsys: pytest.CaptureFixture[str]
) -> None:
    transcribe(options(folder, tiny_onnx))
    before = (folder.parent / "out" / "a.xml").read_bytes()
    write_page(folder, "b", picture)
    (folder / "b.png").unlink()
    (folder / "page" / "c.xml").write_text(PAGE.format("a", 220, ""), encoding="utf-8")  # a page without lines
    write_page(folder, "d", picture)
    result = transcribe(options(folder, tiny_onnx))
    a, b, c, d = result.pages
    assert a.skipped and (folder.parent / "out" / "a.xml").read_bytes() == before
    assert "b" in b.error and b.written is None and result.exit_code == 2
    assert c.written and c.lines == 0 and d.lines == 3
    assert "b.xml" in capsys.readouterr().err


def test_lines_that_cannot_be_cut_stay_as_they_are(folder: Path, tiny_onnx: Path) -> None:
    path = folder / "page" / "a.xml"
    text = path.read_text(encoding="utf-8").replace('<Baseline points="10,44 310,44"/>', "", 1)
    path.write_text(text.replace('points="10,10 310,10 310,54 10,54"', 'points="10,10 310,10"', 1), encoding="utf-8")
    [outcome] = transcribe(options(folder, tiny_onnx)).pages
    assert outcome.lines == 2 and sum(outcome.left.values()) == 1
    assert outcome.written and read_page(outcome.written).lines[0].text == ""


def test_alto_gets_words_with_their_boxes(folder: Path, tiny_onnx: Path) -> None:
    (folder / "page" / "a.xml").write_text(ALTO.format("a", 220), encoding="utf-8")
    [outcome] = transcribe(options(folder, tiny_onnx)).pages
    assert outcome.written
    strings = re.findall(r"<String [^>]*>", outcome.written.read_text(encoding="utf-8"))
    assert strings and read_page(outcome.written).lines[0].text
    for string in strings:
        left, top, width, height = (int(re.search(f'{name}="(\\d+)"', string)[1]) for name in BOX)
        assert 0 <= left <= left + width <= 321 and 0 <= top <= top + height <= 70


BOX = ("HPOS", "VPOS", "WIDTH", "HEIGHT")


def test_what_is_no_page_is_refused(folder: Path, tiny_onnx: Path) -> None:
    out = folder.parent / "out"
    with pytest.raises(HtrError, match=r"a\.png.*lines"):
        page_files([folder / "a.png"], out)
    (folder.parent / "empty").mkdir()
    with pytest.raises(HtrError, match="empty"):
        page_files([folder.parent / "empty"], out)
    with pytest.raises(HtrError, match="--write"):
        page_files([folder / "page"], folder / "page")
    shutil.copytree(folder, folder.parent / "other")
    with pytest.raises(HtrError, match=r"a\.xml"):
        page_files([folder / "page", folder.parent / "other" / "page"], out)
    with pytest.raises(HtrError, match="--write"):
        transcribe(TranscribeOptions([folder / "page" / "a.xml"], model=tiny_onnx))
    for odd, named in (({"only_empty": True}, "--write"), ({"write": out, "spans": True}, "--spans")):
        with pytest.raises(HtrError, match=named):
            TranscribeOptions([folder], **odd)
