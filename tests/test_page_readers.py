"""Folders of pages: which files and lines are read, and where images are found."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from page_files import alto, draw, page_line, page_xml, write
from PIL import Image

from htrcompress.data.lines import Dataset
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.readers.page_texts import PageOptions
from htrcompress.errors import HtrError
from htrcompress.pages import images
from htrcompress.pages.files import read_page
from htrcompress.pages.images import Folders, find

LINE = page_line("l", "one")


def opened(root: Path, broken: float = 0.0, **options: object) -> Dataset:
    return open_dataset(str(root), ReadConfig(max_broken=broken, page_xml=PageOptions(**options)))  # type: ignore[arg-type]


def lines(dataset: Dataset) -> list[str]:
    return [line.id for some in dataset.splits.values() for line in some]


def test_a_folder_of_pages(tmp_path: Path) -> None:
    write(tmp_path / "letters/x.xml", page_xml(LINE + page_line("m", "")))
    (tmp_path / "mets.xml").write_text("<mets/>")
    dataset = opened(tmp_path)
    [line] = dataset.splits["all"]
    assert (line.id, line.text, line.page, line.group) == ("letters/x#l", "one", "letters/x", "letters")
    pixels = line.pixels()
    assert pixels.dtype == np.uint8 and pixels.min() < 50 and pixels.max() == 255
    assert dataset.dropped == {"empty transcription": 1} and sum(dataset.changed.values()) == 1
    assert lines(open_dataset(str(tmp_path / "letters/x.xml"))) == ["letters/x#l"]


@pytest.mark.parametrize(
    ("xml", "image"),
    [
        ("x.xml", "a.PNG"),
        ("x.xml", "A.jpg"),
        ("x.xml", "x.tif"),
        ("page/x.xml", "a.png"),
        ("page/x.xml", "images/a.png"),
        ("x.xml", "images/a.png"),
    ],
)
def test_where_the_image_of_a_page_may_be(tmp_path: Path, xml: str, image: str) -> None:
    path = write(tmp_path / xml, image=None)
    draw(tmp_path / image)
    assert find(read_page(path), Folders(tmp_path)).path == tmp_path / image


@pytest.mark.parametrize("name", ["../a.png", "/etc/../{}/a.png", "..\\a.png", "../../secret/a.png"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "secret/a.png")
    path = write(tmp_path / "data/x.xml", page_xml(LINE).replace("a.png", name.format(tmp_path)), image=None)
    with pytest.raises(HtrError, match=r"x\.xml.*image"):
        find(read_page(path), Folders(tmp_path / "data"))


def test_a_name_with_folders_inside_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "a/page/x.xml", page_xml(LINE).replace("a.png", "../scans/deep/a.png"), image=None)
    draw(tmp_path / "a/scans/deep/a.png")
    assert find(read_page(path), Folders(tmp_path)).path == tmp_path / "a/scans/deep/a.png"


@pytest.mark.parametrize("stated", [(100, 200), (200, 100)])
@pytest.mark.parametrize("reach", [90, 190])
def test_exif_turns_an_image_unless_the_page_measures_it_as_stored(
    tmp_path: Path, stated: tuple[int, int], reach: int
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    draw(tmp_path / "a.jpg", (100, 200), exif=exif)
    text = page_xml(LINE).replace('"100"', f'"{stated[0]}"').replace('"200"', f'"{stated[1]}"')
    path = write(tmp_path / "x.xml", text.replace("90,30", f"30,{reach}"), image=None)
    scan = find(read_page(path), Folders(tmp_path))
    pixels = scan.pixels()
    as_stored = reach == 190 or stated == (100, 200)
    assert (scan.width, scan.height) == pixels.shape[::-1] == ((100, 200) if as_stored else (200, 100))
    assert (pixels[25, 30] < 50) == as_stored


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_page_of_a_larger_image_than_is_there_is_broken(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    draw(tmp_path / "a.jpg", (100, 200), exif=exif)
    text = page_xml(LINE + page_line("m", "two")).replace('"100"', '"400"').replace('"200"', '"800"')
    path = write(tmp_path / "x.xml", text.replace("90,30", "390,790"), image=None)
    with pytest.raises(HtrError, match=r"x\.xml.*a\.jpg"):
        find(read_page(path), Folders(tmp_path))
    with pytest.raises(HtrError, match=r"2 of 2.*scale.*x\.xml"):
        opened(tmp_path)


def test_the_shape_that_a_page_states_tells_which_way_its_image_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    draw(tmp_path / "a.jpg", (100, 200), exif=exif)
    for stated, turned in (((50, 100), False), ((100, 50), True)):
        text = page_xml(LINE).replace('"100"', f'"{stated[0]}"').replace('"200"', f'"{stated[1]}"')
        path = write(tmp_path / "x.xml", text.replace("90,30", "40,30").replace("90,", "40,"), image=None)
        assert find(read_page(path), Folders(tmp_path)).turned == turned


BROKEN = {
    "no image": ("x.xml", page_xml(LINE).replace("a.png", "z.png")),
    "not XML": ("x.xml", page_xml(LINE)[:-20]),
    "outside": ("x", page_xml(LINE.replace("0,30 90,30", "500,30 900,30"))),
    "no place": ("x", page_xml('<TextLine id="l"><TextEquiv><Unicode>one</Unicode></TextEquiv></TextLine>')),
    "two points": ("x", page_xml(LINE.replace("0,30 90,30", "").replace("90,40 0,40", "").replace("0,0 90,0", "0,0"))),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_lines_are_named_and_left_out_up_to_a_share(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "good.xml", page_xml(LINE).replace("a.png", "b.png"), "b.png")
    name, text = BROKEN[kind]
    write(tmp_path / "x.xml", text)
    with pytest.raises(HtrError, match=rf"1 of 2.*max_broken.*{name}"):
        opened(tmp_path)
    dataset = opened(tmp_path, 0.5)
    assert lines(dataset) == ["good#l"] and sum(dataset.dropped.values()) == 1


@pytest.mark.parametrize("kind", ["damaged", "huge", "a pipe"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.xml")
    if kind == "damaged":
        (tmp_path / "a.png").write_bytes(b"\x89PNG")
    elif kind == "a pipe":
        (tmp_path / "a.png").unlink()
        os.mkfifo(tmp_path / "a.png")
    else:
        monkeypatch.setattr(images, "MAX_PAGE_PIXELS", 19_999)
    with pytest.raises(HtrError, match=r"a\.png"):
        opened(tmp_path)


def test_the_size_that_a_page_states_does_not_matter_if_its_lines_fit(tmp_path: Path) -> None:
    write(tmp_path / "x.xml", page_xml(LINE).replace('imageWidth="100"', 'imageWidth="4000"'))
    dataset = opened(tmp_path)
    assert lines(dataset) == ["x#l"] and any("size" in what for what in dataset.changed)


def test_a_page_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    for name in ("x.chocomufin.xml", "x.xml"):
        write(tmp_path / name, page_xml(page_line("l", name)))
    write(tmp_path / "alto/x.xml", alto('<TextLine ID="l" BASELINE="0 30 90 30"/>'), image=None)
    dataset = opened(tmp_path)
    assert [line.text for line in dataset.splits["all"]] == ["x.xml"] and sum(dataset.dropped.values()) == 1
    assert sum(dataset.changed.values()) == 1
    (tmp_path / "alto/x.xml").write_text(
        alto('<TextLine ID="l" BASELINE="0 30 90 30"><String CONTENT="a"/></TextLine>')
    )
    assert lines(open_dataset(str(tmp_path), ReadConfig(format="alto"))) == ["alto/x#l"]


def test_page_and_alto_of_different_pages_ask_for_one(tmp_path: Path) -> None:
    write(tmp_path / "x.xml")
    write(tmp_path / "y.xml", alto('<TextLine ID="l" BASELINE="0 30 90 30"><String CONTENT="two"/></TextLine>'))
    with pytest.raises(HtrError, match=r"page_xml.*alto.*--read\.format"):
        open_dataset(str(tmp_path))
    assert lines(open_dataset(str(tmp_path), ReadConfig(format="alto"))) == ["y#l"]


def three(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write(root / name, page_xml(LINE).replace("a.png", f"{number}.png"), f"{number}.png")
    return root


def test_splits_from_folders_and_lists(tmp_path: Path) -> None:
    root = three(tmp_path / "a", "train/x.xml", "val/y.xml", "z.xml")
    assert lines(opened(root)) == ["train/x#l", "val/y#l", "z#l"]
    assert list(opened(root).splits) == ["train", "valid", "all"]
    (root / "train.txt").write_text("./z.xml\n\ntrain/x\n")
    (root / "test.lst").write_text("/somewhere/else/y.png\n")
    dataset = opened(root)
    assert {split: len(some) for split, some in dataset.splits.items()} == {"train": 2, "test": 1}
    (root / "test.lst").write_text("")
    assert sum(opened(root).changed.values()) == 1 and lines(opened(root)) == ["train/x#l", "z#l"]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/valid.lst").write_text("y")
    assert lines(opened(root, lists=tmp_path / "lists")) == ["val/y#l"]


def test_a_page_by_its_relative_path_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three(tmp_path / "pages", "a.xml", "b.xml")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "valid.lst").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    read = ReadConfig(page_xml=PageOptions(lists=Path("lists")))
    assert list(open_dataset("pages/a.xml", read).splits) == ["valid"]


@pytest.mark.parametrize("row", ["absent", "x"])
def test_a_list_that_names_absent_or_ambiguous_pages_or_one_in_two_splits(tmp_path: Path, row: str) -> None:
    root = three(tmp_path, "a/x.xml", "b/x.xml", "c/y.xml")
    (root / "train.txt").write_text(f"y\n{row}\n")
    with pytest.raises(HtrError, match=row):
        opened(root)
    (root / "train.txt").write_text("y\n")
    (root / "valid.txt").write_text("c/y\n")
    with pytest.raises(HtrError, match=r"y\.xml.*train.*valid"):
        opened(root)


KINDS = page_xml(
    f'<TextRegion type="heading">{page_line("a", "a", custom="structure {type:printed;}")}{page_line("b", "b")}'
    f"</TextRegion>{page_line('c', 'c')}"
)


def test_kinds_of_lines(tmp_path: Path) -> None:
    write(tmp_path / "x.xml", KINDS)
    assert lines(opened(tmp_path, without="printed")) == ["x#b", "x#c"]
    assert lines(opened(tmp_path, only="heading", without="printed")) == ["x#b"]
    with pytest.raises(HtrError, match=r"primted.*heading; printed"):
        opened(tmp_path, without="primted")


@pytest.mark.parametrize(("marks", "texts"), [("keep", ["a [b] XXX", "c"]), ("remove", ["a b", "c"]), ("drop", ["c"])])
def test_editors_marks(tmp_path: Path, marks: str, texts: list[str]) -> None:
    write(tmp_path / "x.xml", page_xml(page_line("a", "a [b] XXX") + page_line("c", "c") + page_line("d", "^")))
    dataset = opened(tmp_path, marks=marks)
    assert [line.text for line in dataset.splits["all"]][: len(texts)] == texts
    assert len(dataset.splits["all"]) == len(texts) + (marks == "keep")
    with pytest.raises(HtrError, match="mark"):
        PageOptions(marks="drop", mark=" ")


def test_texts_that_were_escaped_twice(tmp_path: Path) -> None:
    write(tmp_path / "x.xml", page_xml(page_line("a", "a &amp;amp; b &amp; c &amp;copy")))
    dataset = opened(tmp_path)
    assert dataset.splits["all"][0].text == "a & b & c &copy" and sum(dataset.changed.values()) == 1


@pytest.mark.parametrize("odd", ["1e308", "-1e308", "1e200"])
def test_lines_with_boxes_far_beyond_any_page_are_cut_by_their_baselines(tmp_path: Path, odd: str) -> None:
    line = f'<TextLine ID="l" BASELINE="0 30 90 30" HPOS="{odd}" VPOS="0" WIDTH="1e308" HEIGHT="40">'
    write(tmp_path / "x.xml", alto(f'{line}<String CONTENT="one"/></TextLine>'))
    [cut_out] = open_dataset(str(tmp_path)).splits["all"]
    assert cut_out.pixels().shape[1] > 80


def test_a_page_that_states_no_size_in_its_unit_is_refused(tmp_path: Path) -> None:
    text = alto('<TextLine ID="l" BASELINE="0 30 90 30"><String CONTENT="one"/></TextLine>', unit="mm10")
    write(tmp_path / "x.xml", re.sub(r'WIDTH="[^"]*"', 'WIDTH="1e-320"', text))
    with pytest.raises(HtrError, match="mm10"):
        open_dataset(str(tmp_path))


def test_one_page_in_both_formats_gives_the_same_lines(tmp_path: Path) -> None:
    words = '<String CONTENT="one"/><SP/><String CONTENT="two &amp; three"/>'
    shape = '<Shape><Polygon POINTS="0 0 90 0 90 40 0 40"/></Shape>'
    files = {
        "page": page_xml(page_line("l", "one two &amp; three") + page_line("m", "four").replace("30", "130")),
        "alto": alto(
            f'<TextBlock><TextLine ID="l" BASELINE="0 30 90 30">{shape}{words}</TextLine>'
            f'<TextLine ID="m" BASELINE="0,130 90,130">{shape}<String CONTENT="four"/></TextLine></TextBlock>'
        ),
    }
    both = []
    for name, text in files.items():
        write(tmp_path / name / "x.xml", text)
        both.append(open_dataset(str(tmp_path / name)).splits["all"])
    for one, other in zip(*both, strict=True):
        assert (one.id, one.text) == (other.id, other.text) and (one.pixels() == other.pixels()).all()
