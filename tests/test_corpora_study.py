"""Models on several corpora: the study's rates, comparisons and table, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.studies.corpora import CorporaOptions, read_corpora
from htrcompress.errors import HtrError
from tools.tables import render


@pytest.fixture
def corpora(picture: Callable[..., NDArray[np.uint8]], tmp_path: Path) -> str:
    """Two corpora of three lines each."""
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(3):
            Image.fromarray(picture(60 + 30 * number, 40)).save(folder / f"{number}.png")
        (folder / "test.tsv").write_text("".join(f"{number}.png\tab\n" for number in range(3)))
    return f"{tmp_path / 'one'},{tmp_path / 'two'}"


def test_every_model_reads_every_corpus(tiny_onnx: Path, corpora: str, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_onnx.read_bytes())
    models, out = f"{tiny_onnx},{other}", tmp_path / "out.json"
    found = read_corpora(CorporaOptions(models, corpora, str(other), lines=4, rounds=1, out=out))
    assert list(found.splits) == ["one/test", "two/test"] and found.settings["lines"] == 4
    one, two = found.rows
    assert found.beside == "other.onnx" == two.file and one.files is not None
    assert all(row.scores["two/test"]["difference"] == (0, 0, 0) for row in (one, two))
    assert one.scores["one/test"]["cer"] == two.scores["one/test"]["cer"]
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert "CER % two/test" in "\n".join(render(document))


@pytest.mark.parametrize(
    ("options", "flag"),
    [({}, "--models"), ({"models": "a"}, "--data"), ({"models": "a", "data": "d", "beside": "b"}, "--beside")],
    ids=str,
)
def test_what_makes_no_sense_is_told(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(HtrError, match=flag):
        CorporaOptions(**options)


def test_corpora_of_one_name_are_refused(tiny_onnx: Path, corpora: str) -> None:
    first = corpora.partition(",")[0]
    with pytest.raises(HtrError, match="one"):
        read_corpora(CorporaOptions(str(tiny_onnx), f"{first},{first}", rounds=1))
