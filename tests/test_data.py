"""Readers and batches: what is kept, what is counted and what is refused."""

import io
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.batching import by_width, collate, epoch_order
from htrcompress.data.loading import load_lines
from htrcompress.data.readers.images import open_unlabelled
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.image import PAPER, pad


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
        ("b.png\tx", r"train\.tsv.*line 1.*b\.png"),
        ("a.png x", r"train\.tsv, line 1"),
        ("a.png\tx\ty", r"train\.tsv, line 1"),
        ("a.png\tx\n\n./a.png\ty", r"train\.tsv, line 3.*\./a\.png.*line 1"),
        ("../a.png\tx", r"line 1.*\.\./a\.png"),
        ("x/../a.png\tx", r"line 1.*x/\.\./a\.png"),
        ("/etc/passwd\tx", "line 1.*/etc/passwd"),
        ("a.png\tx\x1b[31m", r"a\.png"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, row: str, message: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(HtrError, match=message):
        open_dataset(str(folder(root, train=row)))


def test_several_folders_are_one_dataset(tmp_path: Path) -> None:
    for name, text in (("one", "a.png\tx\na.png\t\n"), ("two", "a.png\ty\n")):
        (tmp_path / name).mkdir()
        folder(tmp_path / name, train=text, test=text)
    dataset = open_dataset(f"{tmp_path / 'one'}, {tmp_path / 'two'}")
    assert dataset.name == "one+two" and dataset.dropped == {"empty transcription": 2}
    assert [(line.id, line.text, line.group) for line in dataset.split("test")] == [
        ("one/a.png", "x", "one"),
        ("two/a.png", "y", "two"),
    ]
    with pytest.raises(HtrError, match="--data"):
        open_dataset(f"{tmp_path / 'one'},{tmp_path / 'one'}")
    with pytest.raises(HtrError, match="nowhere"):
        open_dataset(f"{tmp_path / 'one'},nowhere")


def test_a_limited_split_is_part_of_a_larger_one(tmp_path: Path) -> None:
    for i in range(20):
        folder(tmp_path).joinpath("a.png").rename(tmp_path / f"{i}.png")
    dataset = open_dataset(str(folder(tmp_path, train="".join(f"{i}.png\t{i}\n" for i in range(20)))))
    few, more = ([line.text for line in dataset.limited("train", n, 0).split("train")] for n in (5, 10))
    assert len(few) == 5 and set(few) < set(more) and few != [line.text for line in dataset.split("train")][:5]
    assert dataset.limited("train", 5, 1) != dataset.limited("train", 5, 0)
    assert dataset.limited("train", 99, 0) is dataset


def test_unlabelled_images_are_found(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden.txt").write_text("x")
    (tmp_path / "Thumbs.db").write_text("x")
    for name in ("b/2.PNG", "1.webp"):
        Image.new("L", (9, 9)).save(tmp_path / name)
    lines = open_unlabelled(tmp_path)
    assert [(line.id, line.text) for line in lines] == [("unlabelled/1.webp", ""), ("unlabelled/b/2.PNG", "")]
    (tmp_path / "b/2.txt").write_text("its text")
    with pytest.raises(HtrError, match=r"--unlabelled.*b/2\.txt"):
        open_unlabelled(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HtrError, match="--unlabelled"):
        open_unlabelled(tmp_path / "empty")
    with pytest.raises(HtrError, match="nowhere"):
        open_unlabelled(tmp_path / "nowhere")


def test_lines_that_were_trained_on_are_reported(tmp_path: Path) -> None:
    Image.new("L", (90, 30), 200).save(tmp_path / "b.png")
    folder(tmp_path, train="a.png\tx\n", test="./a.png\tx\nb.png\ty\n", valid="b.png\ty")
    assert [open_dataset(str(tmp_path)).trained_on(split) for split in ("train", "valid", "test")] == [0, 0, 1]
    result = look(DataOptions(str(tmp_path)))
    assert result.splits["test"].trained_on == 1
    console = Console(file=io.StringIO(), width=120)
    console.print(result)
    assert "1 lines of test are training lines too" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_dataset_to_test_on_alone_is_shown(tmp_path: Path) -> None:
    result = look(DataOptions(str(folder(tmp_path, test="a.png\tx\n"))))
    assert result.lines == 1 and result.charset == "" and result.splits["test"].unknown == {}


def test_what_a_reader_changed_is_shown(tmp_path: Path) -> None:
    for name in ("Images/Lines", "Transcriptions", "Partitions"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("L", (90, 30)).save(tmp_path / "Images/Lines/1.png")
    (tmp_path / "Transcriptions/1.txt").write_text("a <gap/> b", encoding="utf-8")
    (tmp_path / "Partitions/TrainLines.lst").write_text("1\n", encoding="utf-8")
    assert look(DataOptions(str(tmp_path))).changed == {"gaps removed": 1}


def test_other_encodings_and_missing_splits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "valid.tsv").write_bytes("a.png\tcaf\u00e9".encode("latin-1"))
    with pytest.raises(HtrError, match=r"valid\.tsv"):
        open_dataset(str(tmp_path))
    dataset = open_dataset(str(folder(tmp_path, valid="a.png\tx")))
    with pytest.raises(HtrError, match=r"train.*valid \(1\)"):
        dataset.split("train")
    with pytest.raises(HtrError, match="nowhere"):
        open_dataset(str(tmp_path / "nowhere"))
    (tmp_path / "other").mkdir()
    with pytest.raises(HtrError, match="empty"):
        open_dataset(str(tmp_path / "other"))
    (tmp_path / "other/notes.doc").write_text("x", encoding="utf-8")
    with pytest.raises(HtrError, match=r"train\.tsv.*Partitions"):
        open_dataset(str(tmp_path / "other"))


@pytest.mark.parametrize(("width", "message"), [(60_000, r"a\.png.*60000.*4096"), (0, "a.png")])
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, width: int, message: str) -> None:
    root = folder(tmp_path, train="a.png\tx")
    if width:
        Image.new("L", (width, 30), 200).save(root / "a.png")
    else:
        (root / "a.png").write_bytes(b"")
    with pytest.raises(HtrError, match=message):
        load_lines(open_dataset(str(root)).split("train"), 30, 4096, threads=1)


STDIN = """
from pathlib import Path
from htrcompress.config import TrainConfig
from htrcompress.train import TrainOptions, train
data = "DATA"
config = TrainConfig(steps=1, batch=2, precision="fp32")
result = train(TrainOptions(data=data, model="tiny-student", out=Path(data) / "run", train=config, augment=None))
print("trained", result.fit.steps)
"""


def test_a_training_works_from_standard_input(tmp_path: Path) -> None:
    """Many lines, and a main module that no other process could import: spawned readers ran it again, or died."""
    Image.new("L", (60, 32), 200).save(tmp_path / "a.png")
    for number in range(1, 600):
        os.link(tmp_path / "a.png", tmp_path / f"{number}.png")
    (tmp_path / "train.tsv").write_text("".join(f"{number}.png\tx\n" for number in range(1, 600)))
    (tmp_path / "valid.tsv").write_text("a.png\tx\n")
    script = STDIN.replace("DATA", str(tmp_path))
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("trained 1") == 1, done.stderr


@pytest.mark.slow
def test_images_are_loaded_in_the_worker_of_a_pool(tmp_path: Path) -> None:
    """The workers of a `multiprocessing.Pool` may not start processes."""
    folder(tmp_path, train="a.png\tx\n")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(load_many, (str(tmp_path),)) == 600


def load_many(root: str) -> int:
    return len(load_lines(open_dataset(root).split("train") * 600, 32, 4096, threads=2))


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


def test_commas_in_names_and_between_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "a, b"):
        (tmp_path / name).mkdir()
        folder(tmp_path / name, train="a.png\tx\n")
    for source, name in (("a, b", "a, b"), ("one, two", "one+two")):
        assert open_dataset(source).name == name
    for source in ("one,", ",", ""):
        with pytest.raises(HtrError, match="--data"):
            open_dataset(source)
