"""Several datasets as one: what does not fit together is said, and signs can be written plainly."""

from pathlib import Path

import pytest
from test_corpora import save
from test_pages import page_line, page_xml
from test_tables import save as save_line

from htrcompress.config import TrainConfig
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.conventions import KINDS, PLAIN
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.training.data import open_training_data


def corpus(root: Path, *rows: str) -> Path:
    """A folder with one line for each row, `split text`."""
    for number, row in enumerate(rows):
        split, _, text = row.partition(" ")
        save_line(root / f"{number}.png")
        with open(root / f"{split}.tsv", "a", encoding="utf-8") as table:
            table.write(f"{number}.png\t{text}\n")
    return root


def mix(*roots: Path) -> str:
    return ",".join(map(str, roots))


def test_every_sign_has_a_plain_one() -> None:
    assert len(PLAIN) == sum(map(len, KINDS.values()))
    assert "‘Mʳ’ — ſa „x“".translate(PLAIN) == "'Mr' - sa \"x\""


def test_conventions_that_differ_are_one_line_with_the_option(tmp_path: Path) -> None:
    one = corpus(tmp_path / "one", "train l’été", "train – a", "valid ſo")
    two = corpus(tmp_path / "two", "train l'été", "valid so x\u0325")
    data = open_training_data(mix(one, two), 32, TrainConfig(), ReadConfig())
    [note] = data.dataset.notes
    for part in ("1 in one, none in two", "quotes", "dashes", "long s", "combining marks", "--read.plain"):
        assert part in note
    assert note in data.summary() and "\n" not in note
    assert look(DataOptions(mix(one, two))).mix == (note,)
    plain = open_dataset(mix(one, two), ReadConfig(plain=True))
    assert [line.text for line in plain.splits["train"]] == ["l'été", "- a", "l'été"]
    assert sum(plain.changed.values()) == 3 and "--read.plain" not in "".join(plain.notes)


def test_corpora_that_agree_have_nothing_to_tell(tmp_path: Path) -> None:
    assert open_dataset(mix(corpus(tmp_path / "a", "train a’b"), corpus(tmp_path / "b", "train ‘b"))).notes == ()
    assert open_dataset(str(tmp_path / "a")).notes == ()


def test_a_corpus_without_lines_is_named(tmp_path: Path) -> None:
    empty = corpus(tmp_path / "none", "train  ")
    with pytest.raises(HtrError, match=r"--data .*none has no lines"):
        open_dataset(mix(corpus(tmp_path / "a", "train a"), empty))


def test_lines_that_one_corpus_trains_on_and_another_tests_are_told(tmp_path: Path) -> None:
    for name, split, second in (("a", "train", "two"), ("b", "test", "three")):
        folder = tmp_path / name / split
        folder.mkdir(parents=True)
        (folder / "x.xml").write_text(page_xml(page_line("l", "one") + page_line("m", second)), encoding="utf-8")
        save(folder / "a.png", 100, 200)
    [note] = open_dataset(mix(tmp_path / "a", tmp_path / "b")).notes
    assert note.startswith("1 lines of b, test") and "'one'" in note
    assert any(found.what == "text" for found in look(DataOptions(mix(tmp_path / "a", tmp_path / "b"))).shared)
