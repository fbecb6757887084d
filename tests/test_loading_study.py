"""The study of loading: made lines, and what is measured of a dataset of files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import results
from benchmarks.studies import loading
from benchmarks.studies.loading import Loading, LoadingOptions, MadeLines, measure_loading
from htrcompress.errors import HtrError


def test_made_lines_have_names_and_texts_that_fit() -> None:
    lines = MadeLines(range(500), 64, 16)
    assert len({line.id for line in lines}) == 500 and len({line.text for line in lines}) > 100
    assert max(len(line.text) for line in lines) <= 64 // 4
    assert lines[70].pixels().shape == (16, 64) and np.array_equal(lines[70].pixels(), lines[6].pixels())


def test_files_shards_and_sets_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (80, 40), 200).save(tmp_path / name)
    (tmp_path / "train.tsv").write_text("a.png\tone\nb.png\ttwo\n")
    (tmp_path / "valid.tsv").write_text("b.png\ttwo\n")
    alone = {"imports": 1.0, "seconds": 2.0, "mib": 3.0}
    monkeypatch.setattr(loading, "_in_a_process", lambda *_: alone)
    options = {"sizes": (30,), "height": 32, "threads": 1, "rounds": 1, "model": None, "folder": tmp_path}
    out = tmp_path / "loading.json"
    found = measure_loading(LoadingOptions(str(tmp_path), out=out, **options))  # type: ignore[arg-type]
    assert found.packed.median > 0 and found.files.median > 0 and found.training is None
    assert found.sets["30"].bytes > 30 * 32 * 64 and found.sets["30"].opened.median == 2.0
    assert results.read(out, Loading) == found
    with pytest.raises(HtrError, match="--rounds"):
        measure_loading(LoadingOptions(str(tmp_path), rounds=0))
