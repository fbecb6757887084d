"""Language models for several models in several corpora: the study's rates and table, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies.ngrams import NgramsOptions, compare_ngrams
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import locate
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model
from tools.tables import render


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 9, encoding="utf-8")
    return make_language_model(LmOptions([str(tmp_path / "text.txt")], order=3, out=tmp_path / "words.ngram")).path


@pytest.mark.parametrize("rounds", [0, 1])
def test_every_decoder_reads_every_corpus(lines: str, words: Path, tmp_path: Path, rounds: int) -> None:
    out = tmp_path / "out.json"
    options = NgramsOptions(DEFAULT, str(words), lines, wide=20, lines=4, rounds=rounds, out=out)
    found = compare_ngrams(options)
    decoders = found.models[locate(DEFAULT).name]["decoders"]
    assert list(decoders) == ["greedy", "beam", f"beam, {words}", f"beam of 20, {words}"]
    split = next(iter(found.splits))
    assert decoders["greedy"]["scores"][split]["difference"] == (0, 0, 0)
    assert all((row["files"] is None) == (rounds == 0) for row in decoders.values())
    assert found.lms[str(words)]["order"] == 3
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    page = "\n".join(render(document))
    assert f"CER % {split}" in page and ("not measured" in page) == (rounds == 0)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({}, "--models"),
        ({"models": "a"}, "--lms"),
        ({"models": "a", "lms": "b"}, "--data"),
        ({"models": "a", "lms": "b", "data": "c", "rounds": -1}, "--rounds"),
        ({"models": "a", "lms": "b", "data": "c", "wide": 0}, "--wide"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_told(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(HtrError, match=flag):
        NgramsOptions(**options)
