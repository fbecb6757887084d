"""TensorRT-RTX builds engines here without a GPU, in the precision of the ONNX file; running them needs one."""

from pathlib import Path

import pytest

from benchmarks.engines.builds import build_preset
from htrcompress.card import Card
from htrcompress.errors import HtrError, Unavailable
from htrcompress.export import tensorrt_build
from htrcompress.export.graph import Graph
from htrcompress.export.onnx_export import make_onnx
from htrcompress.export.options import Profile
from htrcompress.export.tensorrt_build import build_engine, find_runtime
from htrcompress.models.base import LineRecognizer
from htrcompress.models.presets import PRESETS
from htrcompress.runtime.engine_file import read_document

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install 'htrcompress[rtx]'")

pytest_plugins = ["exports"]

PROFILE = Profile((1, 8, 32), (1, 400, 800))


def test_engines_are_built_for_three_generations_without_a_gpu(full: Graph, half: Graph, tmp_path: Path) -> None:
    for graph, precision in ((full, "fp32"), (half, "fp16")):
        path = tmp_path / f"{precision}.engine"
        engine = build_engine(graph, path, profile=PROFILE, runtime="tensorrt-rtx")
        assert engine.precision == precision and engine.bytes == path.stat().st_size > 100_000
        assert (engine.half_share >= 0.99, len(engine.islands) > 10) == (precision == "fp16",) * 2
        card, built = read_document(path)
        assert card == graph.card
        assert built["capabilities"] == "SM86,SM89,SM120" and built["precision"] == precision
        assert (built["profile.batch"], built["profile.width"]) == ("1,8,32", "1,400,800")
        assert (built["runtime"], built["version"]) == ("tensorrt-rtx", find_runtime("tensorrt-rtx").version)


def test_an_fp16_graph_that_tensorrt_reads_as_fp32_is_refused(
    half: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_build, "tensorrt_shares", lambda trt, network: (0.5, 0.0))
    with pytest.raises(HtrError, match=r"model\.fp16\.onnx.* 50\.0%"):
        build_engine(half, tmp_path / "x.engine", profile=PROFILE)
    assert not list(tmp_path.iterdir())


def test_tensorrt_messages_become_one_sentence(full: Graph, capfd: pytest.CaptureFixture) -> None:
    builder = tensorrt_build._Builder(find_runtime().module, "here.onnx")
    with pytest.raises(HtrError, match=r"here\.onnx: ."):
        builder.parse(b"not a graph")
    builder = tensorrt_build._Builder(find_runtime().module, "here.onnx")
    with pytest.raises(HtrError, match=r"here\.onnx: ."):  # another height
        builder.build(builder.parse(full.data), PROFILE, full.card.height * 2, "tensorrt-rtx")
    assert capfd.readouterr() == ("", "")


def test_a_missing_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_build, "_load", lambda module: None)
    with pytest.raises(HtrError, match=r"htrcompress\[rtx\]"):
        find_runtime()
    with pytest.raises(HtrError, match=r"htrcompress\[tensorrt\]"):
        find_runtime("tensorrt")


@pytest.mark.parametrize(("batch", "width"), [((0, 1, 2), (1, 2, 3)), ((1, 2, 3), (9, 8, 10))])
def test_a_profile_rises(batch: tuple[int, int, int], width: tuple[int, int, int]) -> None:
    with pytest.raises(HtrError, match="--profile"):
        Profile(batch, width)


def test_a_plugin_without_a_gpu_is_refused(small: LineRecognizer, small_card: Card, tmp_path: Path) -> None:
    """TensorRT would abort the process."""
    graph = make_onnx(small, small_card, "model.plugin.onnx", decode="plugin")
    library = tmp_path / "libhtr_ctc.so"
    library.touch()
    with pytest.raises(Unavailable):
        build_engine(graph, tmp_path / "x.engine", profile=PROFILE, plugin=library)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_for_three_generations(preset: str, half: bool, tmp_path: Path) -> None:
    engine = build_preset(preset, half, tmp_path)
    assert engine.precision == ("fp16" if half else "fp32") and engine.capabilities == ("SM86", "SM89", "SM120")
