"""The seam of the readers, shown with a format of our own, and what `open_dataset` does for every format."""

import json
import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from htrcompress.cli import run_command
from htrcompress.data import readers
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.folders import images_in, is_litter
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers import READERS, ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError


@dataclass(frozen=True)
class ToyOptions:
    """The options of the toy format."""

    case: Literal["keep", "lower"] = "keep"


class ToyReader:
    """A folder with `toy.json`: text to the grey value of its image."""

    name = "toy"
    looks_for = "toy.json"
    mixes = False
    options: type | None = ToyOptions

    def recognises(self, path: Path) -> bool:
        return (path / "toy.json").is_file()

    def open(self, path: Path, options: ToyOptions) -> Dataset:
        values = json.loads((path / "toy.json").read_text(encoding="utf-8"))
        lower = options.case == "lower"
        lines = [
            Line(text, text.lower() if lower else text, "train", lambda v=value: np.full((32, 90), v, np.uint8))
            for text, value in values.items()
        ]
        return Dataset(path.name, self.name, {"train": lines}, changed={"lower case": len(lines)} if lower else {})


@dataclass(frozen=True)
class ToyReadConfig(ReadConfig):
    """How a program with the toy reader reads."""

    toy: ToyOptions = field(default_factory=ToyOptions)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(readers, "READERS", READERS)
    READERS.insert(0, ToyReader())
    monkeypatch.setattr("htrcompress.data.readers.open.READERS", READERS)
    (tmp_path / "toy.json").write_text('{"One": 200, "Two\\u200b": 210, " ": 0}', encoding="utf-8")
    yield tmp_path
    READERS.pop(0)


def test_a_new_reader_is_a_file_and_a_row(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = open_dataset(str(toy))
    assert [line.text for line in dataset.split("train")] == ["One", "Two"]
    assert dataset.format == "toy" and dataset.dropped == {"empty transcription": 1}
    assert (dataset.split("train")[1].pixels() == 210).all()
    with pytest.raises(SystemExit) as exit_:
        run_command(look, "path", [str(toy), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert exit_.value.code == 0 and result["format"] == "toy" and result["lines"] == 2


class _Suffix:
    """A format that goes by a suffix; its files name broken lines."""

    mixes = True
    options: type | None = None

    def __init__(self, name: str):
        self.name, self.looks_for = name, f"*.{name}"

    def recognises(self, path: Path) -> bool:
        return path.suffix == f".{self.name}" or any(path.rglob(self.looks_for))

    def open(self, path: Path, options: None) -> Dataset:
        lines = [Line(str(n), "a", "train", lambda: np.zeros((32, 90), np.uint8)) for n in range(19)]
        return Dataset(path.stem, self.name, {"train": lines}, broken={"odd": ["line 7"]})


def test_a_folder_of_several_formats_asks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htrcompress.data.readers.open.READERS", [_Suffix("one"), *READERS, _Suffix("two")])
    (tmp_path / "a.one").touch()
    assert open_dataset(str(tmp_path)).format == "one"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.two").touch()
    with pytest.raises(HtrError, match=r"one.*two.*--read\.format"):
        open_dataset(str(tmp_path))
    assert open_dataset(str(tmp_path), ReadConfig(format="two")).format == "two"
    assert open_dataset(str(tmp_path / "a.one")).name == "a"  # a file of its own
    for odd, named in (("three", r"three.*one"), ("tsv", r"train\.tsv")):
        with pytest.raises(HtrError, match=named):
            open_dataset(str(tmp_path), ReadConfig(format=odd))
    (tmp_path / "train.tsv").write_text("", encoding="utf-8")  # a layout of its own comes before suffixes
    assert open_dataset(str(tmp_path)).format == "tsv"


def test_two_layouts_of_their_own_ask_for_one(tmp_path: Path) -> None:
    write(tmp_path, "a.png\tone\n")
    (tmp_path / "lines.txt").write_text("a ok 1 1 1 1 1 1 A|word\n", encoding="utf-8")
    with pytest.raises(HtrError, match=r"tsv.*iam.*--read\.format"):
        open_dataset(str(tmp_path))
    for name, text in (("tsv", "one"), ("iam", "A word")):
        dataset = open_dataset(str(tmp_path), ReadConfig(format=name))
        assert [line.text for lines in dataset.splits.values() for line in lines] == [text]


def test_broken_lines_are_left_out_up_to_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htrcompress.data.readers.open.READERS", [_Suffix("one")])
    (tmp_path / "a.one").touch()
    dataset = open_dataset(str(tmp_path))
    assert dataset.dropped == {"odd": 1} and len(dataset.split("train")) == 19
    with pytest.raises(HtrError, match=r"1 of 20.*--read\.max_broken.*line 7"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=0.04))
    with pytest.raises(HtrError, match="max_broken"):
        ReadConfig(max_broken=1.5)


def test_a_reader_has_its_own_options(toy: Path) -> None:
    dataset = open_dataset(str(toy), ToyReadConfig(toy=ToyOptions("lower")))
    assert [line.text for line in dataset.split("train")] == ["one", "two"] and dataset.changed["lower case"] == 3


@pytest.mark.parametrize("method", ["recognises", "open"])
def test_a_reader_that_fails_is_named(toy: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        return {}["nothing"]

    monkeypatch.setattr(ToyReader, method, fail)
    with pytest.raises(HtrError, match=r"'toy'.*KeyError"):
        open_dataset(str(toy))


def test_an_image_that_a_reader_cannot_give_is_counted(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(
        ToyReader, "open", lambda *_: Dataset("toy", "toy", {"train": [Line("a", "a", "train", broken)]})
    )
    result = look(DataOptions(str(toy)))
    assert result.unreadable == 1 and "ZeroDivisionError" in result.errors[0] and result.exit_code == 2


def test_the_options_of_every_reader_are_on_the_command_line() -> None:
    for reader in READERS:
        assert (reader.options is not None) == hasattr(ReadConfig(), reader.name)
        if reader.options:
            assert isinstance(getattr(ReadConfig(), reader.name), reader.options)


def test_a_folder_that_no_reader_recognises_names_what_was_tried(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(HtrError) as error:
        open_dataset(str(tmp_path))
    assert all(reader.name in str(error.value) and reader.looks_for in str(error.value) for reader in READERS)


def test_a_folder_called_synthetic_is_not_the_built_in_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "synthetic", "a.png\tx\n")
    assert open_dataset("./synthetic").format == "tsv"
    assert open_dataset("synthetic").format == "synthetic"


def write(root: Path, rows: str, *names: str) -> Path:
    """A folder with a `train.tsv` and images."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names or ("a.png",):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("L", (90, 30), 200).save(root / name)
    (root / "train.tsv").write_text(rows, encoding="utf-8")
    return root


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
