"""What every reader does with a folder: names, links, pipes, litter, bad rows, and characters that nobody sees."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image
from table_files import write

from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.folders import images_in, is_litter
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError


@pytest.mark.parametrize(
    ("rows", "on_disk", "kind"),
    [
        (
            unicodedata.normalize("NFC", "\u00e9t\u00e9.png"),
            unicodedata.normalize("NFD", "\u00e9t\u00e9.png"),
            "normal form",
        ),
        (" a.png ", "a.png", "spaces"),
        ("\ufeffa.png", "a.png", "invisible"),
        ("A.PNG", "a.png", "case"),
        ("l\\a.png", "l/a.png", "backslash"),
        ("L/ a.png", "l/a.png", "several"),
    ],
)
def test_a_name_that_misses_by_what_is_hard_to_see_is_found(tmp_path: Path, rows: str, on_disk: str, kind: str) -> None:
    root = write(tmp_path / "d", f"x.png\tx\n{rows}\tone\n", "x.png", on_disk)
    with pytest.raises(HtrError, match=rf"line 2.*{kind}") as error:
        open_dataset(str(root))
    assert ascii(on_disk) in str(error.value) and ascii(rows) in str(error.value)


def test_all_missing_images_are_named_ten_and_the_number(tmp_path: Path) -> None:
    root = write(tmp_path / "d", "".join(f"no{i}.png\tx\n" for i in range(12)))
    with pytest.raises(HtrError, match=r"images.*\(12\).*line 1: no0\.png.*line 10: no9\.png.* 2 more") as error:
        open_dataset(str(root))
    assert "no10" not in str(error.value)


def test_images_may_be_links_to_anywhere(tmp_path: Path) -> None:
    """As in the cache of the Hugging Face hub, whose snapshots link to blobs."""
    Image.new("L", (90, 30), 200).save(tmp_path / "blob", "PNG")
    root = tmp_path / "snapshots/abc"
    (root / "l").mkdir(parents=True)
    (root / "l/a.png").symlink_to("../../../blob")
    (root / "l/dead.png").symlink_to("nowhere")
    (root / "test.tsv").write_text("l/a.png\tplain words\n")
    assert open_dataset(str(root)).split("test")[0].pixels().shape == (30, 90)
    (root / "test.tsv").write_text("l/dead.png\tplain words\n")
    with pytest.raises(HtrError, match=r"dead\.png"):
        open_dataset(str(root))


def test_texts_are_no_links_to_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a.png\tprivate words\n")
    root = write(tmp_path / "d", "a.png\tone\n", "a.png", "b.png")
    (root / "test.tsv").symlink_to("../secret")
    with pytest.raises(HtrError, match=r"test\.tsv.*link"):
        open_dataset(str(root))
    (root / "train.tsv").unlink()
    (root / "test.tsv").unlink()
    (root / "a.gt.txt").symlink_to("../secret")
    with pytest.raises(HtrError, match=r"a\.gt\.txt.*link"):
        open_dataset(str(root))
    (root / "a.gt.txt").unlink()
    (root / "kept.txt").write_text("one")
    (root / "a.gt.txt").symlink_to("kept.txt")  # stays inside
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "b.gt.txt").write_text("two")
    assert [line.text for line in open_dataset(str(root)).split("all")] == ["one"]
    (root / "more").symlink_to("../texts")
    with pytest.raises(HtrError, match=r"more/b\.gt\.txt.*link"):
        open_dataset(str(root))
    (root / "more").unlink()
    (root / "train.lst").symlink_to("../secret")
    with pytest.raises(HtrError, match=r"train\.lst.*link"):
        open_dataset(str(root))
    (tmp_path / "table.csv").write_text("file,text\nd/a.png,named by the user\n")
    (tmp_path / "link.csv").symlink_to("table.csv")
    assert open_dataset(str(tmp_path / "link.csv")).split("all")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name, text in (("ground_truth/transcription.txt", "a-1 x\n"), ("sets/valid.txt", "a-1\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "sets" / "train.txt")
    with pytest.raises(HtrError, match=r"train\.txt"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=1))


def test_a_snapshot_of_the_hub_links_to_its_blobs(tmp_path: Path) -> None:
    root = tmp_path / "datasets--a--b" / "snapshots" / "abc"
    write(root.parent.parent / "blobs", "")
    (root.parent.parent / "blobs" / "1f").write_text("a.png\tone\n")
    root.mkdir(parents=True)
    (root / "a.png").symlink_to("../../blobs/a.png")
    (root / "train.tsv").symlink_to("../../blobs/1f")
    assert open_dataset(str(root)).split("train")[0].pixels().shape == (30, 90)
    (root / "inner").mkdir()
    (root / "inner" / "a.png").symlink_to("../../../blobs/a.png")
    (root / "inner" / "train.tsv").symlink_to("../../../blobs/1f")
    assert open_dataset(str(root / "inner")).split("train")


def test_single_bad_rows_are_left_out(tmp_path: Path) -> None:
    rows = ["no tab here", "a.png\tone\ttwo", "none.png\tx", "0.png\tagain", *(f"{n}.png\tx" for n in range(96))]
    root = write(tmp_path, "\n".join([*rows[4:], *rows[:4]]), *(f"{n}.png" for n in range(96)))
    dataset = open_dataset(str(root))
    assert len(dataset.split("train")) == 96
    assert dataset.dropped == {
        "rows that are not file<TAB>text": 2,
        "missing images": 1,
        "images that have a text already": 1,
    }


INVISIBLE = "\ufeff one\u200b two\u00ad\u2060 \u0645\u06cc\u200c\u062e"


def test_invisible_characters_are_counted_and_removed_or_kept(tmp_path: Path) -> None:
    root = str(write(tmp_path, f"a.png\t{INVISIBLE}\n"))
    dataset = open_dataset(root)
    assert dataset.split("train")[0].text == "one two \u0645\u06cc\u200c\u062e"
    counted = {what.split()[0]: count for what, count in dataset.changed.items()}
    assert counted == {"U+FEFF": 1, "U+200B": 1, "U+00AD": 1, "U+2060": 1}
    kept = open_dataset(root, ReadConfig(invisible="keep"))
    assert "\u200b" in kept.split("train")[0].text and kept.changed.keys() != dataset.changed.keys()


def test_a_line_of_invisible_characters_has_no_text(tmp_path: Path) -> None:
    dataset = open_dataset(str(write(tmp_path, "a.png\t\u200b\n")))
    assert dataset.splits["train"] == [] and dataset.dropped == {"empty transcription": 1}


def test_what_systems_leave_in_folders_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "", "line.png", "deep/line.png", "__MACOSX/line.png", ".hidden/line.png", "@eaDir/line.png")
    (tmp_path / "train.tsv").unlink()
    for name in ("._line.png", ".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store", "~$line.png"):
        (tmp_path / name).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "self.png").symlink_to("self.png")
    assert images_in(tmp_path) == [tmp_path / "deep/line.png", tmp_path / "line.png"]
    assert images_in(tmp_path, recursive=False) == [tmp_path / "line.png"]
    dataset = open_dataset(str(tmp_path))
    assert dataset.format == "images" and len(dataset.split("unlabelled")) == 2
    assert look(DataOptions(str(tmp_path))).unreadable == 0
    assert is_litter("Thumbs.db") and not is_litter("a.png")


@pytest.mark.skipif(os.sep != "/", reason="names are bytes on POSIX alone")
def test_one_name_that_is_not_utf8_costs_nothing(tmp_path: Path) -> None:
    Image.new("L", (90, 30), 200).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    dataset = open_dataset(str(tmp_path))
    assert dataset.split("unlabelled")[0].pixels().shape == (30, 90)
    assert len(dataset.identity("unlabelled")) == 16


def test_many_names_list_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or scandir(path))
    (tmp_path / "l").mkdir()
    rows = []
    for number in range(300):
        (tmp_path / f"l/{number}.png").touch()
        rows.append(f"l/{number}.png\tx\n")
    (tmp_path / "train.tsv").write_text("".join(rows))
    monkeypatch.setattr(Path, "resolve", lambda self: calls.append("resolve") or self)
    assert len(open_dataset(str(tmp_path)).split("train")) == 300
    assert len(calls) < 10


def test_bad_images_of_all_splits_are_named_together_or_left_out(tmp_path: Path) -> None:
    from htrcompress.charset import Charset
    from htrcompress.data.prepare import encode_splits

    names = [f"{i}.png" for i in range(8)]
    root = write(tmp_path, "".join(f"{name}\tx\n" for name in names[:6]), *names)
    (root / "valid.tsv").write_text("6.png\tx\n7.png\tx\n")
    for name in ("2.png", "7.png"):
        (root / name).write_bytes(b"damaged")
    splits = open_dataset(str(root)).splits
    with pytest.raises(HtrError, match=r"2 of 8.*2\.png.*7\.png.*--train\.max_unreadable"):
        encode_splits(splits, Charset(("x",)), 32, 999)
    encoded = encode_splits(splits, Charset(("x",)), 32, 999, max_unreadable=0.25)
    assert encoded["train"].names == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert encoded["valid"].names == ["6.png"] and len(encoded["valid"].images) == 1
    result = look(DataOptions(str(root)))
    assert result.unreadable == 2 and result.exit_code == 2 and len(result.errors) == 2
