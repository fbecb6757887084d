"""INT8: what is quantised, that both files read, and that what the guard measures is what the runtime runs."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from htrcompress.card import Card
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import Refused
from htrcompress.export import int8
from htrcompress.export.accuracy_guard import VERSIONS, Guard, logits, scores, versions
from htrcompress.export.commands import export, verify
from htrcompress.export.graph import Graph, copy_of, make_graph
from htrcompress.export.graph_passes import fuse_gelu, without_pooling
from htrcompress.export.int8 import FILES, OPTIONS, Quantised, quantise
from htrcompress.export.onnx_export import make_onnx
from htrcompress.export.options import ExportOptions, VerifyOptions
from htrcompress.export.quantization import optimized
from htrcompress.image import pad
from htrcompress.models.serialization import load_model
from htrcompress.runtime import Backend, load, onnx_session
from htrcompress.runtime.backend import open_backend

ROOT = Path(__file__).parent.parent
STUDENT = ROOT / "models/tiny-student.safetensors"


@pytest.fixture(scope="module")
def card() -> Card:
    return load_model(STUDENT)[1]


@pytest.fixture(scope="module")
def source(card: Card) -> Graph:
    """The trained student that ships, as an FP32 graph."""
    return make_onnx(*load_model(STUDENT), "model.onnx")


@pytest.fixture(scope="module")
def lines(card: Card) -> dict[str, EncodedLines]:
    splits = open_synthetic({"train": 24, "valid": 48, "test": 8}).splits
    return {name: encode_lines(splits[name], card.characters(), 32, 4096) for name in ("train", "valid")}


def opened(graph: Graph, folder: Path) -> Backend:
    return open_backend(graph.write(folder), OPTIONS)


@pytest.fixture(scope="module")
def guard(source: Graph, lines: dict[str, EncodedLines], tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(opened(source, tmp_path_factory.mktemp("fp32")), lines["valid"], limit=0.1, min_lines=48)


@pytest.fixture(scope="module")
def made(
    source: Graph, lines: dict[str, EncodedLines], guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Quantised]:
    left = load_model(STUDENT)[0].float_layers()
    return {
        runtime: quantise(source, left, lines["train"], guard, runtime, tmp_path_factory.mktemp("int8"))
        for runtime in FILES
    }


def test_convolutions_run_in_integers_and_the_rest_does_not(made: dict[str, Quantised], source: Graph) -> None:
    for target, done in made.items():
        assert done.share >= 0.9 and done.layers > 10 and done.vouched.rise <= 0.1
        assert (done.vouched.lines, done.vouched.available) == (24, 48)
        graph = done.graph.proto
        operators = {node.op_type for node in graph.graph.node}
        assert {"QuantizeLinear", "DequantizeLinear", "Softmax", "TopK"} <= operators
        types = {weight.name: weight.data_type for weight in graph.graph.initializer}
        weights = {weight.name for weight in source.proto.graph.initializer}
        for node in graph.graph.node:
            if ".excite." in node.name and node.op_type == "Gemm":
                assert node.input[1] in weights  # squeeze-and-excitation is as it was
        integer_bias = any(kind == onnx.TensorProto.INT32 and "bias" in name for name, kind in types.items())
        assert integer_bias == (target == "cpu")
        assert len(done.graph.data) < 0.45 * len(source.data)


def test_what_onnx_runtime_makes_of_the_file_for_the_cpu(made: dict[str, Quantised], tmp_path: Path) -> None:
    graph = made["cpu"].graph
    operators = Counter(node.op_type for node in optimized(graph.data, graph.name, tmp_path).graph.node)
    assert operators["Conv"] == operators["QuickGelu"] == 1  # the stem
    assert operators["QLinearSigmoid"] == operators["QLinearMul"] == 5  # gates of three reductions and two blocks
    assert operators["QLinearAveragePool"] == operators["AveragePool"] == 0  # pools went into the gates
    assert operators["QLinearMatMul"] == 0 < operators["MatMulIntegerToFloat"]  # products hand on their exact sums
    assert operators["Erf"] == 0 < operators["Gelu"] == operators["BiasGelu"]


def test_the_residual_stream_is_not_rounded(made: dict[str, Quantised]) -> None:
    for done in made.values():
        graph = done.graph.proto
        rounded = {node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear"}
        weights = {weight.name for weight in graph.graph.initializer}
        sums = [node for node in graph.graph.node if node.op_type == "Add" and "network." in node.name]
        streams = [node for node in sums if not weights & set(node.input)]  # others add a bias
        assert any("stages" in node.name for node in streams) and any("sequence" in node.name for node in streams)
        assert not [node.name for node in streams if set(node.input) & rounded]


def test_the_residual_stream_is_the_same_in_every_batch_to_the_last_bit(
    made: dict[str, Quantised], lines: dict[str, EncodedLines]
) -> None:
    """Rounding to 8 bits makes a step of what the last bit of a sum decides, so no sum may depend on the batch."""
    images = sorted(lines["valid"].images, key=lambda image: image.shape[1])
    graph = copy_of(made["cpu"].graph.proto)
    sums = [node.output[0] for node in graph.graph.node if re.match(r"network\.stages.*/Add_", node.name)]
    assert sums
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sums)
    running, _ = onnx_session.open_session(graph.SerializeToString(), "the INT8 graph", "cpu")
    for image in images[:-1]:
        alone, beside = (
            running.run(sums, dict(zip(("pixels", "widths"), pad(batch), strict=True)))
            for batch in ([image], [image, images[-1]])
        )
        for first, second in zip(alone, beside, strict=True):
            row = second[0, ..., : first.shape[-1]] if first.ndim > 2 else second[0]  # columns, or sums over them
            assert np.array_equal(first[0], row)


def assert_same_logits(source: Graph, changed: onnx.ModelProto, lines: EncodedLines, folder: Path) -> None:
    other = make_graph("changed.onnx", changed, source.card)
    for a, b in zip(logits(opened(source, folder), lines), logits(opened(other, folder), lines), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_fused_gelu_computes_the_same(source: Graph, lines: dict[str, EncodedLines], tmp_path: Path) -> None:
    fused = copy_of(source.proto)
    fuse_gelu(fused)
    before, after = (Counter(node.op_type for node in some.graph.node) for some in (source.proto, fused))
    assert after["Gelu"] == before["Erf"] > 0 == after["Erf"]
    assert_same_logits(source, fused, lines["valid"].subset(range(4)), tmp_path)


def test_a_folded_pool_computes_the_same(source: Graph, lines: dict[str, EncodedLines], tmp_path: Path) -> None:
    folded = without_pooling(source.proto)
    before, after = (Counter(node.op_type for node in some.graph.node) for some in (source.proto, folded))
    assert before["AveragePool"] == 3 and after == before - Counter(AveragePool=3)
    assert_same_logits(source, folded, lines["valid"].subset(range(4)), tmp_path)


def test_a_short_split_is_read_in_several_versions(
    lines: dict[str, EncodedLines], source: Graph, card: Card, tmp_path: Path
) -> None:
    several = versions(lines["valid"], card.stride)
    assert len(several) == VERSIONS and several[0] is lines["valid"]
    first, second = several[1].images, several[2].images
    assert all(a.shape != b.shape or (a != b).any() for a, b in zip(first, second, strict=True))
    read = scores(opened(source, tmp_path), several)
    assert max(score.cer for score in read) < read[0].cer + 0.05  # they read about as well as the line itself


def test_scales_are_per_channel_and_symmetric_for_tensorrt(made: dict[str, Quantised]) -> None:
    graph = made["trt"].graph.proto
    values = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.graph.initializer}
    scales = [node.input for node in graph.graph.node if node.op_type == "DequantizeLinear"]
    assert any(values[inputs[1]].size > 1 for inputs in scales)
    assert all(not np.any(values[inputs[2]]) for inputs in scales if len(inputs) > 2)
    activations = [node.input for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    assert {values[inputs[2]].dtype for inputs in activations} == {np.dtype(np.int8)}


def test_both_files_read_and_carry_the_card(made: dict[str, Quantised], card: Card, tmp_path: Path) -> None:
    pictures = [line.pixels() for line in open_synthetic({"test": 6}).splits["test"]]
    before = [reading.text for reading in load(STUDENT).read(pictures)]
    for done in made.values():
        recognizer = load(done.graph.write(tmp_path))
        assert recognizer.card == card
        texts = [reading.text for reading in recognizer.read(pictures)]
        same = sum(a == b for line in zip(texts, before, strict=True) for a, b in zip(*line, strict=False))
        assert same > 0.5 * sum(map(len, before))


def test_the_guard_measures_the_graph_that_the_runtime_runs(
    made: dict[str, Quantised], lines: dict[str, EncodedLines], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session factory for the guard, verification and the runtime: the optimised graphs are equal."""
    graph, few = made["cpu"].graph, lines["valid"].subset(range(2))
    expected = _nodes(optimized(graph.data, graph.name, tmp_path))
    session, seen = onnx_session._session, []

    def watched(model: bytes, where: str, options: Any, **chosen: Any) -> Any:
        seen.append(tmp_path / f"seen-{len(seen)}.onnx")
        options.optimized_model_filepath = str(seen[-1])
        return session(model, where, options, **chosen)

    monkeypatch.setattr(onnx_session, "_session", watched)
    scores(opened(graph, tmp_path), [few])
    recognizer = load(graph.write(tmp_path), device="cpu", threads=2)
    recognizer.backend.stream().run(*pad(few.images[:1]))
    assert len(seen) == 3 and all(_nodes(onnx.load(path)) == expected for path in seen)


def _nodes(graph: onnx.ModelProto) -> list[tuple[str, list[str], list[str]]]:
    return [(node.op_type, list(node.input), list(node.output)) for node in graph.graph.node]


def test_layers_are_left_out_by_the_name_of_their_module(source: Graph, tmp_path: Path) -> None:
    """`stem` is a module, and neither `system` nor `stem2` is in it."""
    make = int8._Quantiser
    none = EncodedLines([], [], [], [])
    every = set(make(source, (), none, tmp_path, "trt").layers)
    left = set(make(source, ("stem", "stages.0.1.excite"), none, tmp_path, "trt").layers)
    gone = {name.rpartition("/")[0] for name in every - left}
    assert gone == {"network.stem.conv", "network.stages.0.1.excite.down", "network.stages.0.1.excite.up"}
    assert set(make(source, ("ste", "stages.0.1.exc", "1.excite"), none, tmp_path, "trt").layers) == every


def test_the_guard_ships_nothing_past_its_limit(source: Graph, lines: dict[str, EncodedLines], tmp_path: Path) -> None:
    few = {name: examples.subset(range(4)) for name, examples in lines.items()}
    guard = Guard(opened(source, tmp_path), few["valid"], limit=-1.0, min_lines=1)
    for runtime, name in FILES.items():
        with pytest.raises(Refused, match=rf"{name}.*--max-cer-drop"):
            quantise(source, ("stem",), few["train"], guard, runtime, tmp_path)


@pytest.mark.slow
def test_the_command_and_the_proof(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").write_bytes(STUDENT.read_bytes())
    result = export(ExportOptions(tmp_path, int8=True, trt=True, max_cer_drop=20.0))
    assert result.exit_code == 0
    names = {file.path.name: file.precision for file in result.files}
    assert {name: names[name] for name in FILES.values()} == dict.fromkeys(FILES.values(), "int8")
    assert names["model.int8.trt.engine"] == "int8"
    checks = {check.form: check for check in verify(VerifyOptions(tmp_path, lines=8, max_cer_rise=20.0)).checks}
    assert checks[FILES["cpu"]].arithmetic == "INT8" and checks[FILES["cpu"]].logits > 0
    assert "not executed" in checks["model.int8.trt.engine"].note
    refused = export(ExportOptions(tmp_path, int8=True, max_cer_drop=0.0))
    assert refused.exit_code == 1 and "--max-cer-drop" in refused.refused[0]
    assert not (tmp_path / "export/student" / FILES["cpu"]).exists()
