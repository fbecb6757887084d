"""Folders of pages: which files and lines are read, where images are found, and how lines are cut out of them."""

import csv
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from test_pages import alto, page_line, page_xml

from htrcompress import cer, load
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.readers.page_texts import PageOptions
from htrcompress.errors import HtrError
from htrcompress.image_files import load_grey
from htrcompress.pages import images
from htrcompress.pages.crop import Geometry, cut, cut_box, measure
from htrcompress.pages.files import read_page
from htrcompress.pages.frame import Frame
from htrcompress.pages.images import Folders, find
from htrcompress.pages.page import PageLine

MODELS = Path(__file__).parent.parent / "models"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
LINE = page_line("l", "one")


def draw(path: Path, size: tuple[int, int] = (100, 200), **save: object) -> Path:
    """A white page with a black bar above the baseline of `page_line`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).rectangle((10, 20, 60, 29), fill=0)
    image.save(path, **save)
    return path


def write(path: Path, text: str = "", image: str | None = "a.png") -> Path:
    """A page file, and its image beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or page_xml(LINE), encoding="utf-8")
    if image:
        draw(path.parent / image)
    return path


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


def ink(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """The box around what is dark: left, top, right, bottom."""
    rows, columns = np.nonzero(pixels < 128)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


Curve = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize("curve", [lambda x: x * 0.0, lambda x: x * 0.2, lambda x: 30 * np.sin(x / 150)])
def test_a_line_is_levelled_along_its_baseline(curve: Curve) -> None:
    page = np.full((400, 800), 230, np.uint8)
    x = np.arange(100, 700)
    y = np.round(150 + curve(x - 100.0)).astype(int)
    for up in range(1, 16):
        page[y - up, x] = 20
    page[y - 80, x] = 20  # the line above
    baseline = tuple((float(a), float(b)) for a, b in zip(x[::20], y[::20], strict=True))
    outline = tuple((a, b - 30) for a, b in baseline) + tuple((a, b + 12) for a, b in reversed(baseline))
    line = PageLine("l", baseline=baseline, polygon=outline)
    crop = cut(page, line, measure([line]))
    left, top, right, bottom = ink(crop.pixels)
    assert bottom - top <= 19 and abs(right - left - 600) < 30
    place = crop.to_page((left + right) / 2, bottom + 0.5)
    assert abs(place[0] - 400) < 15 and abs(place[1] - np.interp(place[0], x, y)) < 3
    assert crop.pixels[0, 0] == crop.pixels[-1, -1] == 230


@pytest.mark.parametrize(
    ("angle", "backwards"), [(0, False), (0, True), (90, False), (90, True), (180, False), (270, False), (270, True)]
)
def test_letters_are_set_upright_by_their_polygon(angle: int, backwards: bool) -> None:
    page = np.full((300, 300), 230, np.uint8)
    page[120:150, 100:200] = 0
    page[120:130, 100:110] = 230  # a corner at the upper left is missing
    points = np.array([(100, 150), (200, 150), (100, 115), (200, 115), (200, 155), (100, 155)]) - 149.5
    for _ in range(angle // 90):
        page = np.ascontiguousarray(np.rot90(page))
        points = np.stack([points[:, 1], -points[:, 0]], 1)
    (a, b, *polygon) = map(tuple, (points + 149.5).tolist())
    line = PageLine("l", baseline=(b, a) if backwards else (a, b), polygon=tuple(polygon))
    pixels = cut(page, line, Geometry(35, 10)).pixels
    left, top, right, bottom = ink(pixels)
    assert (right - left, bottom - top) == (99, 29)
    assert pixels[top + 5, left + 5] > 200 and pixels[top + 5, right - 5] < 50


def test_letters_that_hang_from_their_baseline_are_whole() -> None:
    """As for Hebrew, whose lines may be marked at the upper edge of the letters."""
    page = np.full((300, 300), 230, np.uint8)
    rows = []
    for top in (50, 100, 150):
        page[top : top + 36, 50:250] = 0
        outline = ((50, top - 5), (250, top - 5), (250, top + 40), (50, top + 40))
        rows.append(PageLine(str(top), baseline=((50, top), (250, top)), polygon=outline))
    _, top, _, bottom = ink(cut(page, rows[1], measure(rows)).pixels)
    assert bottom - top == 35


def test_a_thin_polygon_cuts_no_letters_and_neighbours_are_masked() -> None:
    page = np.full((200, 400), 240, np.uint8)
    page[70:100, 50:350] = 0  # letters, 30 high
    page[20:40, 50:350] = 0  # the line above
    thin = ((50, 95), (350, 95), (350, 102), (50, 102))
    line = PageLine("l", baseline=((50, 100), (350, 100)), polygon=thin)
    crop = cut(page, line, Geometry(60, 20)).pixels
    _, top, _, bottom = ink(crop)
    assert bottom - top >= 28 and (crop[:15] > 200).all() and crop.shape[0] == 80


def test_letters_have_one_size_on_a_page(tmp_path: Path) -> None:
    boxes = [(0, 10, 90, 40), (0, 60, 90, 90), (0, 110, 20, 140), (0, 160, 90, 210)]
    rows = [
        PageLine(str(n), baseline=((a, d - 10), (c, d - 10)), polygon=((a, b), (c, b), (c, d), (a, d)))
        for n, (a, b, c, d) in enumerate(boxes)
    ]
    page = np.full((250, 100), 255, np.uint8)
    heights = [cut(page, row, measure(rows)).pixels.shape[0] for row in rows]
    assert heights[0] == heights[1] == heights[2] < heights[3] <= 1.31 * heights[0]


@pytest.mark.parametrize("figure", ["without baseline", "without polygon", "polygon elsewhere", "a steep short one"])
def test_lines_that_are_not_as_they_should_be_are_cut(figure: str) -> None:
    page = np.full((200, 400), 240, np.uint8)
    page[80:100, 50:90] = 0
    polygon = ((45, 70), (95, 70), (95, 110), (45, 110))
    line = {
        "without baseline": PageLine("l", polygon=polygon),
        "without polygon": PageLine("l", baseline=((45, 100), (95, 100))),
        "polygon elsewhere": PageLine("l", baseline=((45, 100), (95, 100)), polygon=((200, 0), (300, 0), (300, 50))),
        "a steep short one": PageLine("l", baseline=((60, 90), (66, 100)), polygon=polygon),
    }[figure]
    left, top, right, bottom = ink(cut(page, line, Geometry(30, 12)).pixels)
    assert right - left == 39 and bottom - top == 19


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


def test_outlines_of_many_long_edges_are_followed_in_bounded_memory() -> None:
    zigzag = tuple((9e6 * (n % 2), float(n)) for n in range(200_000))
    line = PageLine("l", baseline=((0.0, 50.0), (90.0, 50.0)), polygon=zigzag)
    assert len(Frame.of(line).outline) < 1 << 19
    with pytest.raises(HtrError, match="large"):
        cut(np.zeros((100, 100), np.uint8), line, measure([line]))


def test_boxes() -> None:
    page = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert (cut_box(page, -5, 1, 3, 4) == page[1:4, :3]).all()
    with pytest.raises(HtrError, match="outside"):
        cut_box(page, 20, 0, 30, 5)


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


def needs(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs the corpus {name} in ../shared/data")
    return SHARED / name


def test_page_and_alto_of_one_page_agree(tmp_path: Path) -> None:
    root = needs("bronod_pages") / "pages"
    page, other = (read_page(root / kind / "0002.xml") for kind in ("page", "alto"))
    assert [line.text for line in page.lines] == [line.text for line in other.lines] and len(page.lines) == 2
    for kind in ("page", "alto"):
        (tmp_path / kind).mkdir()
        shutil.copy(root / kind / "0002.xml", tmp_path / kind / "0002.xml")
        (tmp_path / kind / "0002.jpg").symlink_to(root / "0002.jpg")
    one, two = (open_dataset(str(tmp_path / kind)).splits["all"] for kind in ("page", "alto"))
    for a, b in zip(one, two, strict=True):
        assert a.id == b.id and (a.pixels() == b.pixels()).all()


def corpus_lines(name: str) -> list[tuple[Line, Path, str]]:
    """The test lines of a corpus that are on its pages: as read from these, the image in the corpus, and the text."""
    root = needs(name)
    meta = (root / "meta.tsv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(meta, delimiter="\t", quoting=csv.QUOTE_NONE)
    files = {(Path(row["source_xml"]).stem, row["line_id"]): row["file"] for row in rows if row["split"] == "test"}
    texts = dict(row.split("\t") for row in (root / "test.tsv").read_text(encoding="utf-8").splitlines())
    found = {tuple(line.id.split("#")): line for line in open_dataset(str(root / "pages")).splits["all"]}
    pages = {page for page, _ in found}
    return [(found[key], root / file, texts[file]) for key, file in files.items() if key[0] in pages]


@pytest.mark.parametrize("name", ["hooker_en", "copiste_fr"])
def test_texts_of_pages_are_those_of_the_corpus(name: str) -> None:
    lines = corpus_lines(name)
    assert len(lines) > 50 and [line.text for line, _, _ in lines] == [text for _, _, text in lines]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hooker_en", "copiste_fr"])
def test_lines_of_pages_read_like_those_of_the_corpus(name: str) -> None:
    lines = corpus_lines(name)
    model = load(str(MODELS / f"{name}.safetensors"))
    texts = [text for _, _, text in lines]
    ours = cer(texts, [reading.text for reading in model.read([line.pixels() for line, _, _ in lines])])
    theirs = cer(texts, [reading.text for reading in model.read([load_grey(image) for _, image, _ in lines])])
    assert ours < theirs + 0.003
