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
