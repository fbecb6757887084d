"""Readers and batches: what is kept, what is counted, what is refused and in which words."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htrcompress.data.batches import PAPER, by_width, collate, epoch_order, pad
from htrcompress.data.open import open_dataset
from htrcompress.data.pixels import load_lines
from htrcompress.errors import HtrError


def folder(root: Path, **splits: str) -> Path:
    for name, text in splits.items():
        (root / f"{name}.tsv").write_text(text, encoding="utf-8")
    Image.new("L", (90, 30), 200).save(root / "a.png")
    return root


def test_a_folder_of_tsv_files_opens(tmp_path: Path) -> None:
    root = folder(tmp_path, train="a.png\tcafe\u0301  noir \r\n\na.png\t\n", test="a.png\tx\n", test_hard="a.png\ty\n")
    dataset = open_dataset(str(root))
    assert dataset.format == "tsv"
    assert [line.text for line in dataset.split("train")] == ["caf\u00e9 noir"]
    assert dataset.dropped == {"empty transcription": 1}
    assert list(dataset.splits) == ["train", "test", "test_hard"]
    assert dataset.identity("test") != dataset.identity("test_hard")
    assert dataset.split("train")[0].pixels().shape == (30, 90)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.png\tx", r"train.tsv, line 1: there is no image .*b.png"),
        ("a.png x", "line 1: expected file<TAB>text"),
        ("../a.png\tx", "lies outside the dataset's folder"),
        ("/etc/passwd\tx", "lies outside the dataset's folder"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, row: str, message: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(HtrError, match=message):
        open_dataset(str(folder(root, train=row)))


def test_other_encodings_and_missing_splits_are_told(tmp_path: Path) -> None:
    (tmp_path / "valid.tsv").write_bytes("a.png\tcaf\u00e9".encode("latin-1"))
    with pytest.raises(HtrError, match="not UTF-8"):
        open_dataset(str(tmp_path))
    dataset = open_dataset(str(folder(tmp_path, valid="a.png\tx")))
    with pytest.raises(HtrError, match=r"no lines in split 'train'; it has: valid \(1\)"):
        dataset.split("train")
    with pytest.raises(HtrError, match="no such folder"):
        open_dataset(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(HtrError, match=r"no train\.tsv"):
        open_dataset(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("width", "message"), [(60_000, r"a\.png is 60000 pixels wide.*reads up to 4096: split the line"), (0, "a.png")]
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, width: int, message: str) -> None:
    root = folder(tmp_path, train="a.png\tx")
    if width:
        Image.new("L", (width, 30), 200).save(root / "a.png")
    else:
        (root / "a.png").write_bytes(b"")
    with pytest.raises(HtrError, match=message):
        load_lines(open_dataset(str(root)).split("train"), 30, 4096, processes=1)


def test_padding_looks_like_paper() -> None:
    images = [np.zeros((4, width), np.uint8) for width in (3, 5)]
    pixels, widths = pad(images)
    assert pixels.shape == (2, 1, 4, 5) and widths.tolist() == [3, 5]
    assert (pixels[0, 0, :, 3:] == PAPER).all() and not pixels[0, 0, :, :3].any()
    batch = collate(images, [[1, 2], [3]])
    assert batch.pixels.shape[3] == 16
    assert batch.targets.tolist() == [1, 2, 3] and batch.target_lengths.tolist() == [2, 1]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    widths = np.random.default_rng(0).integers(10, 500, 1000).tolist()
    order = epoch_order(widths, 16, seed=3, epoch=2)
    assert order == epoch_order(widths, 16, seed=3, epoch=2)
    assert order != epoch_order(widths, 16, seed=3, epoch=3) != epoch_order(widths, 16, seed=4, epoch=3)
    assert sorted(i for batch in order for i in batch) == list(range(1000))
    assert len(order) == len(epoch_order(widths, 16, seed=3, epoch=3))
    spread = [max(widths[i] for i in batch) - min(widths[i] for i in batch) for batch in order]
    assert np.median(spread) < 30
    assert [widths[i] for batch in by_width(widths, 32) for i in batch] == sorted(widths)
