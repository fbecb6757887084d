"""The study that writes text into pages and reads it back with two readers, without kraken's environment."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_pages import page_line, page_xml

from benchmarks import results
from benchmarks.studies import pages_back as study
from benchmarks.studies.pages_back import PagesBack, PagesBackOptions, pages_back
from htrcompress.catalogue import DEFAULT
from htrcompress.errors import HtrError
from htrcompress.pages.files import read_page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of two lines."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 100), np.uint8)).save(tmp_path / "a.png")
    file = tmp_path / "x.xml"
    file.write_text(page_xml(page_line("l", "one") + page_line("m", "two")), encoding="utf-8")
    return file


def test_lines_that_two_readers_read_differently_are_told(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(python: Path, filled: list[tuple[Path, Path]], schemas: Path | None) -> dict[str, Any]:
        [(before, after)] = filled
        assert before == page
        texts = {line.id: line.text for line in read_page(after).lines} | {"m": "another"}
        row = {"file": str(after), "before": True, "after": False, "new": ["no such element"]}
        return {"texts": {str(after): texts}, "schemas": [row], "versions": {"kraken": "7"}}

    monkeypatch.setattr(study, "interpreter", lambda name, folder: Path("python"))
    monkeypatch.setattr(study, "_ask", ask)
    out = tmp_path / "back.json"
    found = pages_back(PagesBackOptions([page], DEFAULT, schemas=tmp_path, threads=1, out=out))
    assert (found.pages, found.lines, found.same, found.errors) == ({"PAGE": 1}, 2, 1, [])
    [(file, line, _, theirs)] = found.different
    assert (file, line, theirs) == ("x.xml", "m", "another")
    assert found.schemas and found.schemas.valid_before == 1 and found.schemas.worse == ["x.xml: no such element"]
    assert results.read(out, PagesBack) == found


def test_an_environment_that_is_not_there_is_named(page: Path, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="--setup kraken"):
        pages_back(PagesBackOptions([page], DEFAULT, folder=tmp_path))
