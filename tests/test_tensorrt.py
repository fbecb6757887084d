"""TensorRT-RTX builds engines here without a GPU, in the precision of the ONNX file; running them needs one."""

from pathlib import Path

import pytest

from benchmarks.engines.builds import build_preset
from htrcompress.errors import HtrError
from htrcompress.export import tensorrt_build
from htrcompress.export.onnx_export import export_onnx, read_onnx
from htrcompress.export.tensorrt_build import Profile, build_engine, find_runtime
from htrcompress.models.presets import PRESETS
from htrcompress.models.serialization import load_model
from htrcompress.runtime.engine_file import read_document

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install 'htrcompress[rtx]'")

PROFILE = Profile((1, 8, 32), (1, 400, 1000))


@pytest.fixture(scope="module")
def tiny_half(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "tiny.fp16.onnx"
    export_onnx(*load_model(tiny_model), path, half=True)
    return path


def test_engines_are_built_for_three_generations_without_a_gpu(
    tiny_onnx: Path, tiny_half: Path, tmp_path: Path
) -> None:
    for path, precision in ((tiny_onnx, "fp32"), (tiny_half, "fp16")):
        engine_path = tmp_path / f"{precision}.engine"
        engine = build_engine(path, engine_path, profile=PROFILE, runtime="tensorrt-rtx")
        assert engine.precision == precision and engine.bytes == engine_path.stat().st_size > 100_000
        assert (engine.half_share >= 0.99, len(engine.islands) > 10) == (precision == "fp16",) * 2
        card, document = read_document(engine_path)
        assert card == read_onnx(path)[1]
        assert document["capabilities"] == "SM86,SM89,SM120" and document["precision"] == precision
        assert (document["profile.batch"], document["profile.width"]) == ("1,8,32", "1,400,1000")
        assert document["version"] == find_runtime("tensorrt-rtx").version


def test_an_fp16_graph_that_tensorrt_reads_as_fp32_is_refused(
    tiny_half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_build, "tensorrt_shares", lambda trt, network: (0.5, 0.0))
    with pytest.raises(HtrError, match=r"only 50\.0%"):
        build_engine(tiny_half, tmp_path / "x.engine", profile=PROFILE)
    assert not list(tmp_path.iterdir())


def test_tensorrt_messages_become_one_sentence(tiny_onnx: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(tiny_onnx.read_bytes()[:5000])
    with pytest.raises(HtrError, match="cut"):
        build_engine(cut, tmp_path / "x.engine", profile=PROFILE)

    session = tensorrt_build._Session(find_runtime().module, "here.onnx")
    with pytest.raises(HtrError, match=r"TensorRT cannot read the graph for here\.onnx: ."):
        session.parse(b"not a graph")

    graph, card = read_onnx(tiny_onnx)
    session = tensorrt_build._Session(find_runtime().module, "here.onnx")
    with pytest.raises(HtrError, match=r"TensorRT cannot build an engine for here\.onnx: ."):  # another height
        session.build(session.parse(graph.SerializeToString()), PROFILE, card.height * 2, "tensorrt-rtx")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.onnx"]


def test_a_missing_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_build, "_load", lambda module: None)
    with pytest.raises(HtrError, match=r"htrcompress\[rtx\]"):
        find_runtime()
    with pytest.raises(HtrError, match=r"htrcompress\[tensorrt\]"):
        find_runtime("tensorrt")


@pytest.mark.parametrize(("batch", "width"), [((0, 1, 2), (1, 2, 3)), ((1, 2, 3), (9, 8, 10))])
def test_a_profile_rises(batch: tuple[int, int, int], width: tuple[int, int, int]) -> None:
    with pytest.raises(HtrError, match="must rise"):
        Profile(batch, width)


def test_a_plugin_without_a_gpu_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """TensorRT would abort the process."""
    export_onnx(*load_model(tiny_model), tmp_path / "model.plugin.onnx", decode="plugin")
    library = tmp_path / "libhtr_ctc.so"
    library.touch()
    with pytest.raises(HtrError, match=r"cuda-python is not installed|no usable NVIDIA GPU"):
        build_engine(tmp_path / "model.plugin.onnx", tmp_path / "x.engine", profile=PROFILE, plugin=library)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_for_three_generations(preset: str, half: bool, tmp_path: Path) -> None:
    engine = build_preset(preset, half, tmp_path)
    assert engine.precision == ("fp16" if half else "fp32") and engine.capabilities == ("SM86", "SM89", "SM120")
