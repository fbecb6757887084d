"""INT8: what is quantised, what the guard refuses, and that both files read."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from htrcompress.card import Card
from htrcompress.data.batching import pad
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import Refused
from htrcompress.export.accuracy_guard import VERSIONS, logits, scores, versions
from htrcompress.export.exporter import export
from htrcompress.export.graph_passes import fuse_gelu, without_pooling
from htrcompress.export.int8 import FILES, Quantised, quantise
from htrcompress.export.onnx_export import export_onnx, session
from htrcompress.export.verification import verify
from htrcompress.models.serialization import load_model
from htrcompress.runtime import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def card() -> Card:
    return load_model(ROOT / "models/tiny-student.safetensors")[1]


@pytest.fixture(scope="module")
def source(card: Card, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained student that ships, as an FP32 ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(*load_model(ROOT / "models/tiny-student.safetensors"), path)
    return path


@pytest.fixture(scope="module")
def lines(card: Card) -> dict[str, EncodedLines]:
    splits = open_synthetic({"train": 24, "valid": 24, "test": 8}).splits
    return {name: encode_lines(splits[name], card.characters(), 32, 4096) for name in ("train", "valid")}


@pytest.fixture(scope="module")
def made(
    source: Path, lines: dict[str, EncodedLines], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Quantised]:
    folder = tmp_path_factory.mktemp("int8")
    return {target: quantise(source, folder, lines["train"], lines["valid"], 0.1, target) for target in FILES}


def test_convolutions_run_in_integers_and_the_rest_does_not(made: dict[str, Quantised], source: Path) -> None:
    for target, done in made.items():
        assert done.share >= 0.9 and done.layers > 10 and done.rise <= 0.1
        path = done.path
        graph = onnx.load(path)
        operators = {node.op_type for node in graph.graph.node}
        assert {"QuantizeLinear", "DequantizeLinear", "Softmax", "TopK"} <= operators
        types = {weight.name: weight.data_type for weight in graph.graph.initializer}
        weights = {weight.name for weight in onnx.load(source).graph.initializer}
        for node in graph.graph.node:
            if ".excite." in node.name and node.op_type == "Gemm":
                assert node.input[1] in weights  # squeeze-and-excitation is as it was
        integer_bias = any(kind == onnx.TensorProto.INT32 and "bias" in name for name, kind in types.items())
        assert integer_bias == (target == "cpu")
        assert path.stat().st_size < 0.45 * source.stat().st_size


def test_what_onnx_runtime_makes_of_the_file_for_the_cpu(made: dict[str, Quantised], tmp_path: Path) -> None:
    session(onnx.load(made["cpu"].path), "the file", tmp_path / "optimised.onnx")
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert operators["Conv"] == operators["QuickGelu"] == 1  # the stem
    assert operators["QLinearSigmoid"] == operators["QLinearMul"] == 5  # gates of three reductions and two blocks
    assert operators["QLinearAveragePool"] == operators["AveragePool"] == 0  # pools went into the gates
    assert operators["QLinearMatMul"] == 0 < operators["MatMulIntegerToFloat"]  # products hand on their exact sums
    assert operators["Erf"] == 0 < operators["Gelu"] == operators["BiasGelu"]


def test_the_residual_stream_is_not_rounded(made: dict[str, Quantised]) -> None:
    for done in made.values():
        graph = onnx.load(done.path)
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
    graph = onnx.load(made["cpu"].path)
    sums = [node.output[0] for node in graph.graph.node if re.match(r"network\.stages.*/Add_", node.name)]
    assert sums
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sums)
    running = session(graph, "the INT8 graph")
    for image in images[:-1]:
        alone, beside = (
            running.run(sums, dict(zip(("pixels", "widths"), pad(batch), strict=True)))
            for batch in ([image], [image, images[-1]])
        )
        for first, second in zip(alone, beside, strict=True):
            assert np.array_equal(first[0], second[0, ..., : first.shape[3]])


def test_a_fused_gelu_computes_the_same(source: Path, lines: dict[str, EncodedLines]) -> None:
    graph, fused = onnx.load(source), onnx.load(source)
    fuse_gelu(fused)
    before, after = (Counter(node.op_type for node in some.graph.node) for some in (graph, fused))
    assert after["Gelu"] == before["Erf"] > 0 == after["Erf"]
    few = lines["valid"].subset(range(4))
    for a, b in zip(logits(graph, few), logits(fused, few), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_folded_pool_computes_the_same(source: Path, lines: dict[str, EncodedLines]) -> None:
    graph = onnx.load(source)
    folded = without_pooling(graph)
    before, after = (Counter(node.op_type for node in some.graph.node) for some in (graph, folded))
    assert before["AveragePool"] == 3 and after == before - Counter(AveragePool=3)
    few = lines["valid"].subset(range(4))
    for a, b in zip(logits(graph, few), logits(folded, few), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_short_split_is_read_in_several_versions(lines: dict[str, EncodedLines], source: Path, card: Card) -> None:
    several = versions(lines["valid"], card.stride)
    assert len(several) == VERSIONS and several[0] is lines["valid"]
    first, second = several[1].images, several[2].images
    assert all(a.shape != b.shape or (a != b).any() for a, b in zip(first, second, strict=True))
    read = scores(onnx.load(source), card, several)
    assert max(score.cer for score in read) < read[0].cer + 0.05  # they read about as well as the line itself


def test_scales_are_per_channel_and_symmetric_for_tensorrt(made: dict[str, Quantised]) -> None:
    graph = onnx.load(made["trt"].path)
    values = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.graph.initializer}
    scales = [node.input for node in graph.graph.node if node.op_type == "DequantizeLinear"]
    assert any(values[inputs[1]].size > 1 for inputs in scales)
    assert all(not np.any(values[inputs[2]]) for inputs in scales if len(inputs) > 2)
    activations = [node.input for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    assert {values[inputs[2]].dtype for inputs in activations} == {np.dtype(np.int8)}


def test_both_files_read_and_carry_the_card(made: dict[str, Quantised], card: Card) -> None:
    pictures = [line.pixels() for line in open_synthetic({"test": 6}).splits["test"]]
    before = [reading.text for reading in load(ROOT / "models/tiny-student.safetensors").read(pictures)]
    for done in made.values():
        recognizer = load(done.path)
        assert recognizer.card == card
        texts = [reading.text for reading in recognizer.read(pictures)]
        same = sum(a == b for line in zip(texts, before, strict=True) for a, b in zip(*line, strict=False))
        assert same > 0.5 * sum(map(len, before))


def test_the_guard_ships_nothing_past_its_limit(source: Path, lines: dict[str, EncodedLines], tmp_path: Path) -> None:
    few = {name: examples.subset(range(4)) for name, examples in lines.items()}
    for target, name in FILES.items():
        with pytest.raises(Refused, match=rf"{name} is not written: no mixture .*--max-cer-drop"):
            quantise(source, tmp_path, few["train"], few["valid"], -1.0, target)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_and_the_proof(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").write_bytes((ROOT / "models/tiny-student.safetensors").read_bytes())
    result = export(tmp_path, int8=True, trt=True, max_cer_drop=20.0)
    assert result.exit_code == 0
    names = {file.path.name: file.precision for file in result.files}
    assert {name: names[name] for name in FILES.values()} == dict.fromkeys(FILES.values(), "int8")
    assert names["model.int8.trt.engine"] == "int8"
    checks = {check.form: check for check in verify(tmp_path, lines=8, max_cer_rise=20.0).checks}
    assert checks[FILES["cpu"]].arithmetic == "INT8" and checks[FILES["cpu"]].logits > 0
    assert "not executed" in checks["model.int8.trt.engine"].note
    refused = export(tmp_path, int8=True, max_cer_drop=0.0)
    assert refused.exit_code == 1 and "--max-cer-drop" in refused.refused[0]
    assert not (tmp_path / "export/student" / FILES["cpu"]).exists()
