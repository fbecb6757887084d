"""Runtimes that are measured beside the toolkit's own: rows with figures, or with the reason why not."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.artefacts import Size, find
from benchmarks.other_runtimes import OpenVinoBackend, with_runtimes
from benchmarks.rows import Findings, make_rows
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.runtime import Recognizer, load


@pytest.fixture
def run(tiny_model: Path, tiny_onnx: Path, tmp_path: Path) -> Path:
    shutil.copy(tiny_model, tmp_path / "student.safetensors")
    (tmp_path / "export" / "student").mkdir(parents=True)
    shutil.copy(tiny_onnx, tmp_path / "export" / "student" / "model.onnx")
    return tmp_path


def test_what_is_not_installed_has_a_row_with_the_reason(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openvino", "torch_tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    found = with_runtimes(find(run, 1), ["openvino", "torch-tensorrt"], 1)
    assert [artefact.runtime for artefact in found] == ["PyTorch", "ONNX Runtime", "OpenVINO", "Torch-TensorRT"]
    rows = make_rows(found, Findings({"student": Size(7, 1.5)}, {}, {}, {}), run)
    assert "pip install openvino" in rows[2].status and "pip install torch-tensorrt" in rows[3].status
    assert rows[2].lines_per_second is None


def test_openvino_reads_like_onnx_runtime(
    tiny_model: Path, tiny_onnx: Path, picture: Callable[..., NDArray[np.uint8]]
) -> None:
    pytest.importorskip("openvino")
    pictures = [picture(60 + 17 * number, 40) for number in range(12)]
    backend = OpenVinoBackend(tiny_onnx, load_card(tiny_model), 2, "FP32")
    texts = [reading.text for reading in Recognizer(backend, threads=2).read(pictures, 4)]
    assert texts == [reading.text for reading in load(tiny_onnx, 1, "cpu").read(pictures, 4)]


def test_a_runtime_of_no_such_name_is_refused(run: Path) -> None:
    with pytest.raises(HtrError, match="--runtimes"):
        with_runtimes(find(run, 1), ["tvm"], 1)
