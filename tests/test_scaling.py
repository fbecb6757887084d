"""How reading time grows: the fit, the sweeps on a tiny model, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.studies.scaling import ScalingOptions, fit, measure_scaling
from htrcompress.errors import HtrError
from tools.tables import render


def test_a_power_law_is_found() -> None:
    found = fit([10, 100, 1000], [[0.01, 0.011], [0.1, 0.11], [1.0, 1.1]])
    assert found.exponent == pytest.approx(1, abs=0.02) and found.interval[0] <= 1 <= found.interval[1]
    square = fit([2, 4, 8], [[4.0], [16.0], [64.0]])
    assert square.exponent == pytest.approx(2) and square.interval == pytest.approx((2, 2))


def test_every_sweep(tiny_onnx: Path, picture: Callable[..., NDArray[np.uint8]], tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(picture(60 + 30 * number, 40)).save(tmp_path / f"{number}.png")
    (tmp_path / "test.tsv").write_text("".join(f"{number}.png\ta\n" for number in range(4)))
    sweeps: dict[str, Any] = {"batches": "1,2", "cores": "1,2", "widths": "32,64", "corpus": "2,8"}
    options = ScalingOptions(tiny_onnx, str(tmp_path), **sweeps, lines=4, rounds=2, out=tmp_path / "out.json")
    found = measure_scaling(options)
    assert {name: sweep.values for name, sweep in found.sweeps.items()} == {
        "batch": [1, 2],
        "threads": [1, 2],
        "width": [32, 64],
        "corpus": [2, 8],
    }
    assert found.sweeps["corpus"].lines == [2, 8] and found.sweeps["width"].lines == [4, 4]
    assert all(len(some) == 2 for sweep in found.sweeps.values() for some in sweep.seconds)
    assert [name for name, sweep in found.sweeps.items() if sweep.fit] == ["width", "corpus"]
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert "exponent" in "\n".join(render(document))


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"sweeps": "batch,height"}, "--sweeps"), ({"sweeps": ""}, "--sweeps"), ({"rounds": 0}, "--rounds")],
    ids=str,
)
def test_what_makes_no_sense_is_told(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(HtrError, match=flag):
        ScalingOptions(**options)


def test_values_are_whole_numbers() -> None:
    with pytest.raises(HtrError, match="--widths"):
        ScalingOptions(widths="64,wide").values("width")
    assert ScalingOptions(corpus="100, 10,100").values("corpus") == [10, 100]
