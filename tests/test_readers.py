"""The seam of the readers, shown with a format of our own, and which reader opens a folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from table_files import write

from htrcompress.cli import run_command
from htrcompress.data import readers
from htrcompress.data.__main__ import DataOptions, look
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


def test_what_is_no_dataset_at_first_sight_is_told(tmp_path: Path) -> None:
    for place, content, told in (("a/b.png", b"", r"b\.png"), ("c/lines.tsv", b"x\ty\n", r"lines\.tsv.*train\.tsv")):
        file = tmp_path / place
        file.parent.mkdir()
        file.write_bytes(content)
        with pytest.raises(HtrError, match=told):
            open_dataset(str(file if file.suffix == ".png" else file.parent))
    (tmp_path / "d").mkdir()
    with pytest.raises(HtrError, match="empty"):
        open_dataset(str(tmp_path / "d"))
