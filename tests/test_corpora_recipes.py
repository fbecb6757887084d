"""The recipe that rebuilds our corpora: which lines of a clone are chosen, and how copies are compared."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError

RECIPES = Path(__file__).parent.parent / "recipes" / "corpora"
PAGE = """<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="{}.png" imageWidth="420" imageHeight="400">{}</Page></PcGts>"""
LINE = """<TextLine id="l{0}"><Coords points="10,{1} {3},{1} {3},{2} 10,{2}"/><Baseline points="10,{2} {3},{4}"/>
<TextEquiv><Unicode>{5}</Unicode></TextEquiv></TextLine>"""


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import compare
    import rebuild

    yield rebuild, compare
    for name in ("rebuild", "compare"):
        sys.modules.pop(name, None)


def page(folder: Path, name: str, texts: list[str], rises: Mapping[int, int] = {}) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((400, 420), 220, np.uint8)).save(folder / f"{name}.png")
    lines = []
    for number, text in enumerate(texts):
        bottom = 40 + 40 * number
        right = 10 + 10 * max(len(text), 3)
        lines.append(LINE.format(number, bottom - 30, bottom, right, bottom + rises.get(number, 0), text))
    (folder / f"{name}.xml").write_text(PAGE.format(name, "".join(lines)), encoding="utf-8")


def test_every_corpus_has_lists_and_names_its_source(recipes) -> None:
    build, _ = recipes
    known = build.corpora()
    assert {"hooker_en", "copiste_fr"} < known.keys()
    for name, corpus in known.items():
        assert build.lists_in(RECIPES / name), name
        assert len(corpus.commit) == 40 and corpus.repository.startswith("github.com/") and corpus.licence


def test_lines_are_chosen_by_page_text_and_shape(recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, compare = recipes
    clone = tmp_path / "clone"
    page(
        clone / "data", "a", ["l’été — ſa", "struck &gt;out&lt;", "again", "again", "again", "odd ☞", "steep"], {6: 90}
    )
    page(clone / "data", "b", ["to test"])
    page(clone / "data", "c", ["in no list"])
    lists = tmp_path / "lists" / "mine"
    lists.mkdir(parents=True)
    (lists / "train.lst").write_text("data_a\n", encoding="utf-8")
    (lists / "test.lst").write_text("b\n", encoding="utf-8")
    monkeypatch.setattr(build, "HERE", lists.parent)
    corpus = build.Corpus("github.com/x/y", "0" * 40, "CC0", "page_xml", plain=True, repeats=2)
    monkeypatch.setattr(build, "corpora", lambda: {"mine": corpus})
    built = build.build(build.BuildOptions("mine", clone, tmp_path / "out"))
    dataset = open_dataset(str(tmp_path / "out"))
    assert [line.text for line in dataset.split("train")] == ["l'été - sa", "again", "again"]
    assert built.splits == {"train": 3, "test": 1}
    assert built.dropped == {
        "with editors' marks": 1,
        "repeated too often": 1,
        "with unusual characters": 1,
        "too steep": 1,
        "on other pages": 1,
    }
    other = tmp_path / "other"
    for name in ("mine/b-000.png", "theirs/b-001.png"):
        (other / name).parent.mkdir(parents=True)
        Image.new("L", (60, 32)).save(other / name)
    (other / "test.tsv").write_text("mine/b-000.png\tto test\ntheirs/b-001.png\tmore\n", encoding="utf-8")
    compared = compare.compare(compare.CompareOptions(str(tmp_path / "out"), str(other), split="test,train"))
    assert (compared.lines, compared.built, compared.same) == (2, 4, 1)
    compared = compare.compare(compare.CompareOptions(str(tmp_path / "out"), str(other), "mine"))
    assert (compared.lines, compared.built, compared.same) == (1, 1, 1)
    with pytest.raises(HtrError, match="yours"):
        compare.compare(compare.CompareOptions(str(tmp_path / "out"), str(other), "yours"))
    with pytest.raises(HtrError, match="mine"):
        build.build(build.BuildOptions("yours", clone, tmp_path / "out"))
    with pytest.raises(HtrError, match="github"):
        build.build(build.BuildOptions("mine", tmp_path / "clone" / "data" / "c.xml", tmp_path / "new"))
