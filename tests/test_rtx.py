"""`make rtx` without a GPU: the card is a fake, engines are stand-ins, and every step's failure is one of many."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standins import pretend, write_engine

from benchmarks.engines import rtx
from benchmarks.engines.gpu import Gpu, find_gpu
from benchmarks.engines.timing import build_kernel, time_engine, time_kernel
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import HtrError, Unavailable
from htrcompress.export.options import ExportOptions
from htrcompress.models.serialization import load_card
from tools import tables

ROOT = Path(__file__).parent.parent
TINY = ROOT / "models/tiny-student.safetensors"
CARD = Gpu("NVIDIA GeForce RTX 4090", "580.95.05", "8.9", "24564 MiB")

Smi = Callable[[str, int], None]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    """`smi(says, status)`: puts an nvidia-smi on the path."""

    def write(says: str, status: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


@pytest.mark.parametrize(
    ("row", "extra", "slug"),
    [
        ("NVIDIA GeForce RTX 4090, 580.95.05, 8.9, 24564 MiB", "rtx-run", "rtx-4090"),
        ("NVIDIA RTX A4000, 550.54, 8.6, 16376 MiB", "rtx-run-cu12", "rtx-a4000"),
        ("NVIDIA GeForce RTX 5070 Ti, 600.10, 12.0, 16303 MiB", "rtx-run", "rtx-5070-ti"),
    ],
)
def test_the_driver_says_which_wheels_fit(smi: Smi, row: str, extra: str, slug: str) -> None:
    smi(row, 0)
    gpu = find_gpu()
    assert (gpu.extra, gpu.slug) == (extra, slug)


@pytest.mark.parametrize(("says", "status"), [("NVIDIA-SMI has failed", 9), ("No devices were found", 0), ("", 0)])
def test_no_gpu_is_one_sentence(smi: Smi, says: str, status: int) -> None:
    smi(says, status)
    with pytest.raises(Unavailable, match=f"no NVIDIA GPU here: nvidia-smi says {says or 'no answer'}"):
        find_gpu()


def test_every_extra_that_is_named_exists() -> None:
    import re
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "htrcompress").rglob("*.py"))
    named = {name for names in re.findall(r"htrcompress\[([a-z0-9,-]+)\]", code) for name in names.split(",")}
    assert {"rtx-run", "rtx-run-cu12"} | named <= set(extras)


def test_an_engine_is_timed_step_by_step(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    path = write_engine(tmp_path / "model.fp16.engine", load_card(tiny_model).to_json())
    row = time_engine(path, np.zeros((2, 1, 32, 100), np.uint8), np.array([100, 50], np.int32))
    assert (row.engine, row.decode, row.precision, row.batch, row.width) == (path.name, "graph", "FP16", 2, 100)
    assert (row.bytes_up, row.bytes_down) == (2 * 3200 + 8, 2 * 25 * 4 + 8 + 8)
    assert row.host_ms == 0 < row.execute_range[0] <= row.execute_ms <= row.execute_range[1]
    assert row.total_ms == row.upload_ms + row.execute_ms + row.download_ms


def test_the_kernel_is_timed_by_its_own_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = tmp_path / "ctc_check"
    check.write_text('#!/bin/sh\necho "$1 lines, $2 frames, $3 classes: FP32 4.5 us, FP16 3.0 us (median of 200)"\n')
    check.chmod(0o755)
    assert [(row.batch, row.fp32_us, row.fp16_us) for row in time_kernel(tmp_path)] == [(1, 4.5, 3.0), (32, 4.5, 3.0)]
    check.write_text("#!/bin/sh\necho DIFFERENT from the plain loop\nexit 1\n")
    with pytest.raises(HtrError, match=r"ctc_check.*DIFFERENT"):
        time_kernel(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="cmake is not installed"):
        build_kernel(tmp_path, "8.9")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The steps of `rtx.py` that take minutes replaced; what they were called with."""
    called: dict[str, Any] = {"export": []}

    def export(options: ExportOptions) -> Any:
        called["export"].append(options)
        model = options.run
        assert model is not None
        folder = model.parent / "export" / model.stem
        folder.mkdir(parents=True, exist_ok=True)
        kind = "" if options.decode == "graph" else f".{options.decode}"
        for half in ("", ".fp16"):
            write_engine(folder / f"model{half}{kind}.engine", load_card(model).to_json())
        return type("Result", (), {"refused": ("tiny-student: INT8 is not written",)})

    few = open_synthetic({"train": 2, "valid": 2, "test": 4})
    monkeypatch.setattr("htrcompress.data.synthetic.open_synthetic", lambda: few)
    monkeypatch.setattr(rtx, "export", export)
    monkeypatch.setattr(rtx, "verify", lambda *_, **__: type("Result", (), {"checks": ()}))
    monkeypatch.setattr(rtx, "build_kernel", lambda folder, capability: folder)
    monkeypatch.setattr(rtx, "time_kernel", lambda folder: [])
    monkeypatch.setattr(rtx, "_benchmark", lambda *_: 1 / 0)
    monkeypatch.setattr(rtx, "RESULTS", tmp_path / "results")
    return called


def test_a_failing_step_leaves_the_others(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rtx, "find_gpu", lambda: CARD)
    monkeypatch.delenv("TENSORRT_ROOT", raising=False)
    pretend(monkeypatch)
    monkeypatch.setattr(
        "standins.Engine.get_tensor_profile_shape", lambda *_: [(1, 1, 32, 1)] * 2 + [(32, 1, 32, 4096)]
    )
    monkeypatch.setattr(
        "standins.Engine.set_input_shape", lambda self, name, shape: not self.shapes.update({name: shape})
    )
    result = rtx.rtx(rtx.RtxOptions(TINY, lines=2, out=tmp_path / "out"))
    states = {step.name: (step.state, step.reason) for step in result.steps}
    assert states["find the GPU"] == states["time engines of tiny-student"] == ("done", "")
    assert states["benchmark tiny-student"] == ("failed", "ZeroDivisionError: division by zero")
    assert states["build engines of tiny-student in every precision"] == (
        "left out",
        "tiny-student: INT8 is not written",
    )
    assert "TENSORRT_ROOT" in states["build engines with the plugin"][1]
    assert [options.decode for options in quick["export"]] == ["graph", "none"]
    assert result.exit_code == 1 and result.path == tmp_path / "results/rtx-4090.json"

    document = json.loads(result.path.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == document
    rows = document["models"][0]["engines"]
    assert {(row["engine"], row["batch"]) for row in rows} == {
        (f"model{kind}.engine", batch) for kind in ("", ".fp16", ".none", ".fp16.none") for batch in (1, 32)
    }
    assert all((row["decode_share"] is None) == (row["decode"] == "none") for row in rows)
    page = "\n".join(tables.render(document))
    assert "| tiny-student | model.fp16.engine | 32 |" in page
    assert "benchmark tiny-student: failed, ZeroDivisionError" in page


def test_without_a_gpu_the_step_that_needs_one_is_named(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    result = rtx.rtx(rtx.RtxOptions(TINY, lines=2, out=tmp_path / "out"))
    told = " ".join(capsys.readouterr().out.split())
    assert "No engine was executed: 'time engines of tiny-student' needs an NVIDIA GPU" in told
    assert result.exit_code == 1 and result.gpu is None and result.path == tmp_path / "out/rtx.json"
    assert result.path.is_file() and not (tmp_path / "results").exists()
    [timing] = [step for step in result.steps if step.name.startswith("time engines")]
    assert timing.state == "left out" and timing.reason


def test_models_that_are_not_there_are_told(tmp_path: Path) -> None:
    for models in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(HtrError, match=r"no \.safetensors file there"):
            rtx.rtx(rtx.RtxOptions(models))


def test_the_readme_shows_no_speed_of_an_engine_without_its_proof(tmp_path: Path, monkeypatch: Any) -> None:
    row = json.loads((tables.FOLDER / "demo.json").read_text(encoding="utf-8"))["rows"][3]
    assert row["runtime"] == "TensorRT-RTX"
    row["lines_per_second"] = {"median": 9999, "min": 9998, "max": 10000}
    assert tables.NOT_EXECUTED in tables._artefact(row, [])
    (tmp_path / "rtx-4090.json").touch()
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    assert "9999 (9998–10000)" in tables._artefact(row, [])


@pytest.mark.slow
def test_all_that_needs_no_gpu_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install 'htrcompress[rtx]'")
    monkeypatch.setattr(rtx, "find_gpu", lambda: (_ for _ in ()).throw(Unavailable("no GPU in this test")))
    result = rtx.rtx(rtx.RtxOptions(TINY, lines=4, out=tmp_path / "out"))
    states = {step.name: step.state for step in result.steps}
    assert states["build engines of tiny-student"] == states["benchmark tiny-student"] == "done"
    assert states["build engines of tiny-student without decode"] == "done"
    names = {path.name for path in (tmp_path / "out/tiny-student/export/tiny-student").glob("*.engine")}
    assert {"model.engine", "model.fp16.engine", "model.none.engine", "model.fp16.none.engine"} <= names
