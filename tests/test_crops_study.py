"""Lines cut or scanned in another way: the study's changes, rates and table, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.studies.crops import CHANGES, CropsOptions, read_changed
from htrcompress.errors import HtrError
from tools.tables import render


def test_every_model_reads_every_change(
    tiny_onnx: Path, picture: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    for number in range(3):
        Image.fromarray(picture(60 + 30 * number, 40)).save(tmp_path / f"{number}.png")
    (tmp_path / "valid.tsv").write_text("".join(f"{number}.png\tab\n" for number in range(3)))
    out = tmp_path / "out.json"
    found = read_changed(CropsOptions(str(tiny_onnx), str(tmp_path), lines=2, out=out))
    (rates,) = found.rows[tiny_onnx.name].values()
    assert list(rates) == list(CHANGES) and all(rate["cer"] >= 0 for rate in rates.values())
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert all(change in "\n".join(render(document)) for change in CHANGES)


def test_changes_do_what_they_say() -> None:
    picture = np.full((40, 100), 200, np.uint8)
    picture[10:30, 20:80] = 20
    changed = {change: make(picture) for change, make in CHANGES.items()}
    assert changed["30 % of paper added above and below"].shape == (64, 100)
    assert changed["15 % cut off above and below"].shape == (28, 100)
    assert changed["half the resolution"].shape == (20, 50) and changed["a fifth narrower"].shape == (40, 80)
    assert set(np.unique(changed["black and white"])) == {0, 255}
    assert (changed["30 % of paper added above and below"][:12] == 200).all()


@pytest.mark.parametrize(("options", "flag"), [({}, "--models"), ({"models": "a"}, "--data")], ids=str)
def test_what_is_missing_is_named(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(HtrError, match=flag):
        CropsOptions(**options)


def test_models_of_one_name_are_refused(tiny_onnx: Path) -> None:
    with pytest.raises(HtrError, match="--models"):
        read_changed(CropsOptions(f"{tiny_onnx},{tiny_onnx}", "synthetic"))
