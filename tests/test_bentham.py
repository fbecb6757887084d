"""The reader of BenthamDatasetR0-GT on a tree with every quirk that its users report."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htrcompress.data.lines import Dataset
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.bentham import BenthamOptions
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError

TEXTS = {
    "002_080_001_02_01": b"6 . The evidence of the engagement , consigned\n",
    "002_080_001_02_1": b"one whose id begins like others",
    "002_080_001_02_10": b"ten\r\n\r\n",
    "002_080_001_02_03": "\ufeffof £ 5 &amp; more &lt;then&gt; cafe\u0301\n".encode(),
    "002_080_001_02_04": b"what <gap/> is &lt;gap/&gt; lost",
    "002_080_001_02_05": b"first row\nsecond  row\n\n",
    "002_080_001_02_06": b" \n",
    "002_080_001_02_07": b"so_called",
}


VALID = "002_080_001_02_1"
TRAIN = [name for name in TEXTS if name != VALID]


def tree(root: Path, train: str = "\n".join(TRAIN), images: str = "Images/Lines") -> Path:
    """The corpus as it comes: RGBA lines that are black and transparent outside their polygon."""
    for folder in (images, "Transcriptions", "Partitions"):
        (root / folder).mkdir(parents=True)
    for name, text in TEXTS.items():
        (root / "Transcriptions" / f"{name}.txt").write_bytes(text)
        pixels = np.zeros((20, 60, 4), np.uint8)
        pixels[4:16] = (180, 170, 150, 255)
        pixels[8:12, 10:14] = (30, 20, 10, 255)
        Image.fromarray(pixels).save(root / images / f"{name}.png")
    (root / "Partitions/TrainLines.lst").write_text(train + "\n\n", encoding="utf-8")
    (root / "Partitions/Train.lst").write_text("002_080_001\n", encoding="utf-8")
    (root / "Partitions/ValidationLines.lst").write_text(f"{VALID}\n", encoding="utf-8")
    return root


def texts(dataset: Dataset) -> dict[str, str]:
    return {line.id.rsplit("_", 1)[1]: line.text for line in dataset.split("train")}


def test_texts_are_read_and_what_was_changed_is_counted(tmp_path: Path) -> None:
    dataset = open_dataset(str(tree(tmp_path / "BenthamDatasetR0-GT")))
    assert dataset.format == "bentham" and dataset.name == "BenthamDatasetR0-GT"
    assert texts(dataset) == {
        "01": "6 . The evidence of the engagement , consigned",
        "10": "ten",
        "03": "of £ 5 & more <then> caf\u00e9",
        "04": "what is lost",
        "05": "first row second row",
        "07": "so_called",
    }
    [valid] = dataset.split("valid")
    assert (valid.id, valid.text) == (VALID, "one whose id begins like others")
    assert dataset.dropped == {"empty transcription": 1}
    assert dataset.changed == {
        "gaps removed": 2,
        "texts with HTML entities, decoded": 2,
        "texts of several rows, joined": 1,
    }


def test_a_line_that_is_listed_again_counts_once(tmp_path: Path) -> None:
    names = [f"002_080_001_02_{number}" for number in ("01", "1", "10", "10", "03")]
    root = tree(tmp_path, train="\n".join(names))
    (root / "Partitions/TestLines.lst").write_text("\n".join([names[1], names[4], names[4]]), encoding="utf-8")
    dataset = open_dataset(str(root))
    found = {split: [line.id for line in lines] for split, lines in dataset.splits.items()}
    assert found == {"train": [names[0], names[2]], "valid": [], "test": [names[1], names[4]]}
    assert dataset.dropped == {"listed more than once": 5}


def test_a_line_lies_on_its_own_paper(tmp_path: Path) -> None:
    pixels = open_dataset(str(tree(tmp_path))).split("train")[0].pixels()
    assert pixels.shape == (20, 60) and pixels[0, 0] == pixels[5, 5] > 150 and pixels[9, 11] < 40


def test_policies(tmp_path: Path) -> None:
    root = str(tree(tmp_path))
    assert texts(open_dataset(root, ReadConfig(bentham=BenthamOptions(gap="symbol"))))["04"] == "what ~ is ~ lost"
    dropped = open_dataset(root, ReadConfig(bentham=BenthamOptions(gap="drop")))
    assert "04" not in texts(dropped) and dropped.dropped["with a gap"] == 1
    assert texts(open_dataset(root, ReadConfig(bentham=BenthamOptions(underscore="remove"))))["07"] == "socalled"


def test_the_parent_folder_and_the_contests_packaging(tmp_path: Path) -> None:
    tree(tmp_path / "one/BenthamDatasetR0-GT")
    assert len(open_dataset(str(tmp_path / "one")).split("train")) == 6
    contest = tmp_path / "contest"
    tree(contest / "contestHTRtS/BenthamData", train="\n".join(TRAIN[:3]))
    test = tree(contest / "contestHTRtS-test", "\n".join(TRAIN[3:]), images="Images/Lines-test") / "Partitions"
    (test / "TrainLines.lst").rename(test / "TestLines.lst")
    (test / "ValidationLines.lst").unlink()
    dataset = open_dataset(str(contest))
    assert {name: len(lines) for name, lines in dataset.splits.items()} == {"train": 3, "valid": 1, "test": 3}
    tree(contest / "BenthamDatasetR0-GT")  # both packagings hold the same lines: those of one are read
    assert {name: len(lines) for name, lines in open_dataset(str(contest)).splits.items()} == {"train": 6, "valid": 1}


def test_ids_without_files_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path, train="\n".join([*TRAIN, "nowhere", "002_080_001_02", "002_080_001_02_99"]))
    (root / "Transcriptions/002_080_001_02_99.txt").write_text("no image")
    with pytest.raises(HtrError, match=r"3 of 10.*--read\.max_broken.*nowhere"):
        open_dataset(str(root))
    dropped = open_dataset(str(root), ReadConfig(max_broken=0.5)).dropped
    assert dropped["no transcription for an id in TrainLines.lst"] == 2
    assert dropped["no image for an id in TrainLines.lst"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Partitions/TrainLines.lst", b"../../etc/passwd\n", r"TrainLines\.lst, line 1"),
        ("Partitions/TrainLines.lst", b"caf\xe9\n", r"TrainLines\.lst"),
        ("Transcriptions/002_080_001_02_01.txt", b"caf\xe9", r"02_01\.txt"),
        ("Transcriptions/002_080_001_02_01.txt", b"a\x1b[31m", "02_01"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    root = tree(tmp_path)
    (root / name).write_bytes(content)
    with pytest.raises(HtrError, match=message):
        open_dataset(str(root))


def page_of(text: str, points: bool) -> str:
    """A page with one line, its points as an attribute or as elements."""
    pairs = ("10,20", "60,20", "60,32", "10,32")
    corners = "".join(f'<Point x="{x}" y="{y}"/>' for x, y in (pair.split(",") for pair in pairs))
    coords = f'<Coords points="{" ".join(pairs)}"/>' if points else f"<Coords>{corners}</Coords>"
    year = "2013-07-15" if points else "2010-03-19"
    return (
        f'<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{year}"><Page imageFilename="x.jpg" '
        f'imageWidth="100" imageHeight="80"><TextRegion id="r"><TextLine id="l">{coords}'
        f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine></TextRegion></Page></PcGts>"
    )


def test_lines_are_cut_from_the_pages_where_there_are_no_line_images(tmp_path: Path) -> None:
    contest = {
        "contestHTRtS/BenthamData": ("Train.lst", ["002_080_001", "002_080_002", "002_080_009" * 100], False),
        "contestHTRtS-test": ("Test.lst", ["100_001_001"], True),
    }
    for folder, (name, pages, points) in contest.items():
        for inner in ("PAGE", "Images/Pages", "Partitions"):
            (tmp_path / folder / inner).mkdir(parents=True)
        (tmp_path / folder / "Partitions" / name).write_text("\n".join(pages), encoding="utf-8")
        for page in pages[:2]:
            text = page_of("so &lt;gap/&gt; called" if page.endswith("2") else f"page {page}", points)
            (tmp_path / folder / "PAGE" / f"{page}.xml").write_text(text, encoding="utf-8")
            Image.new("L", (100, 80), 200).save(tmp_path / folder / "Images" / "Pages" / f"{page}.jpg")
    lenient = ReadConfig(max_broken=0.5)
    dataset = open_dataset(str(tmp_path), lenient)
    assert dataset.format == "bentham"
    assert [line.text for line in dataset.split("train")] == ["page 002_080_001", "so called"]
    [test] = dataset.split("test")
    assert test.text == "page 100_001_001" and test.pixels().shape[1] > 40
    assert dataset.dropped == {"no page for a name in Train.lst": 1} and dataset.changed["gaps removed"] == 1
    dropped = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5, bentham=BenthamOptions(gap="drop"))).dropped
    assert dropped["with a gap"] == 1
