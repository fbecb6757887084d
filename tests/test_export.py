"""Exports compute what PyTorch computes, read a line the same in any batch, and are as half as they say."""

import copy
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import nn

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export import exporter, onnx_export, writer
from htrcompress.export.deployable import deployable, sample
from htrcompress.export.onnx_export import export_onnx, read_onnx, run
from htrcompress.export.precision import half_share, islands, largest_activation, require_half
from htrcompress.models import architecture
from htrcompress.models.gated import GatedConfig, GatedRecognizer
from htrcompress.models.hybrid import HybridConfig, HybridRecognizer
from htrcompress.models.serialization import save_model

CHARSET = tuple(" abcdefghij")
HEIGHT = 16


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A very small network whose gains, biases and norms are not those of a fresh one."""
    torch.manual_seed(1)
    config = GatedConfig(HEIGHT, (4, 8, 8, 12), (1, 1, 0), dim=24, layers=1, heads=2)
    network = GatedRecognizer(config, len(CHARSET) + 1).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        network.head.weight *= 2  # far from ties, so that labels can be compared
    return network


@pytest.fixture(scope="module")
def card(model: nn.Module) -> Card:
    sizes = {k: list(v) if isinstance(v, tuple) else v for k, v in architecture(model).items()}
    return Card("small", sizes, CHARSET, height=HEIGHT, stride=4, max_width=800)


@pytest.fixture(scope="module")
def full(model: nn.Module, card: Card, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, card, path, logits=True)
    return path


@pytest.fixture(scope="module")
def half(model: nn.Module, card: Card, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.fp16.onnx"
    export_onnx(model, card, path, half=True)
    return path


def test_onnx_computes_what_pytorch_computes(model: nn.Module, full: Path) -> None:
    graph, _ = read_onnx(full)
    module = deployable(model)
    for batch, width in ((1, 1), (1, 7), (5, 130), (3, 260)):
        pixels, widths = sample(HEIGHT, batch, width)
        with torch.inference_mode():
            logits, frames = model(pixels, widths)  # not folded
            labels, lengths, scores, _ = module(pixels, widths)
        found = run(graph, pixels.numpy(), widths.numpy())
        valid = np.arange(logits.shape[1]) < frames.numpy()[:, None]
        np.testing.assert_allclose(found[3][valid], logits.numpy()[valid], atol=1e-4)
        np.testing.assert_array_equal(found[0], labels.numpy())
        np.testing.assert_array_equal(found[1], lengths.numpy())
        np.testing.assert_allclose(found[2], scores.numpy(), atol=1e-4)


def test_a_line_reads_the_same_alone_and_beside_longer_lines(model: nn.Module, full: Path) -> None:
    graph, _ = read_onnx(full)
    module = deployable(model)

    def by_torch(pixels: torch.Tensor, widths: torch.Tensor) -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.numpy() for output in module(pixels, widths)]

    for forward in (by_torch, lambda pixels, widths: run(graph, pixels.numpy(), widths.numpy())):
        for width in range(41, 49):  # every residue modulo the stride, twice
            pixels, widths = sample(HEIGHT, 3, 111)
            widths[1] = width
            together, alone = forward(pixels, widths), forward(pixels[1:2, ..., :width], widths[1:2])
            frames = alone[0].shape[1]
            assert frames == -(-width // 4)
            np.testing.assert_allclose(together[3][1, :frames], alone[3][0], atol=1e-4)
            assert together[0][1, : together[1][1]].tolist() == alone[0][0, : alone[1][0]].tolist()


def test_each_gelu_is_one_operator_in_onnx_runtime(full: Path, tmp_path: Path) -> None:
    before = [node.op_type for node in onnx.load(full).graph.node].count("Erf")
    onnx_export.session(onnx.load(full), "the graph", tmp_path / "optimised.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert operators.count("Gelu") + operators.count("BiasGelu") == before and "Erf" not in operators


def test_the_card_travels_and_nothing_of_this_machine_does(full: Path, half: Path, card: Card) -> None:
    for path in (full, half):
        graph, found = read_onnx(path)
        assert found == card
        assert b".py" not in graph.SerializeToString()
        assert not any(weight.external_data for weight in graph.graph.initializer)
        axes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.graph.input]
        assert axes == [["batch", 1, HEIGHT, "width"], ["batch"]]
    assert [output.name for output in read_onnx(half)[0].graph.output] == ["labels", "lengths", "scores"]


def test_fp16_is_proven_and_its_islands_are_named(full: Path, half: Path) -> None:
    graph, _ = read_onnx(half)
    assert half_share(graph) >= 0.99
    assert half_share(read_onnx(full)[0]) == 0
    weights = [w for w in graph.graph.initializer if np.prod(w.dims) > 64]
    assert {w.data_type for w in weights} == {TensorProto.FLOAT16}
    kinds = [island.kind for island in islands(graph)]
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {
        "grey levels": 1,
        "masked mean": 2,
        "norm": 5,
        "positions": 1,
        "attention mask": 1,
        "softmax": 1,
        "decode and score": 1,
    }


def test_a_recurrent_network_exports_with_a_node_for_each_layer_and_direction(tmp_path: Path) -> None:
    """Rows of unequal length in one batch: the backward direction starts at each row's own last frame."""
    torch.manual_seed(1)
    config = HybridConfig(HEIGHT, (4, 8, 8, 12), (1, 1, 1), dim=16, heads=2, hidden=8, layers=2)
    network = HybridRecognizer(config, len(CHARSET) + 1).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        network.head.weight *= 4
    card = Card("small", architecture(network), CHARSET, height=HEIGHT, stride=4, max_width=800)
    export_onnx(network, card, tmp_path / "model.fp16.onnx", half=True)  # compares logits with those of PyTorch
    graph, _ = read_onnx(tmp_path / "model.fp16.onnx")
    assert half_share(graph) >= 0.99
    nodes = [node for node in graph.graph.node if node.op_type == "LSTM"]
    assert len(nodes) == 4 and not any(node.op_type == "Loop" for node in graph.graph.node)
    assert all(node.input[5] and node.input[6] and not node.input[4] for node in nodes)  # states, and no lengths
    kinds = {island.kind for island in islands(graph)}
    assert kinds == {"grey levels", "attention mask", "softmax", "norm", "decode and score"}
    for width in (41, 43, 45, 48):
        pixels, widths = sample(HEIGHT, 3, 111)
        widths[1] = width
        together = run(graph, pixels.numpy(), widths.numpy())
        alone = run(graph, pixels[1:2, ..., :width].numpy(), widths[1:2].numpy())
        assert together[0][1, : together[1][1]].tolist() == alone[0][0, : alone[1][0]].tolist()
        np.testing.assert_allclose(together[2][1], alone[2][0], atol=2e-3)


def test_a_graph_with_an_fp32_convolution_is_not_fp16(half: Path) -> None:
    graph = with_fp32_convolution(read_onnx(half)[0])
    onnx.checker.check_model(graph, full_check=True)
    with pytest.raises(HtrError, match=r"not FP16: only .* of its multiplications"):
        require_half(half_share(graph), "the graph")


def with_fp32_convolution(graph: ModelProto) -> ModelProto:
    """The FP16 graph with the convolution that has the most weights computed in FP32."""
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in graph.graph.initializer}
    nodes = list(graph.graph.node)
    conv = max((n for n in nodes if n.op_type == "Conv"), key=lambda n: sizes[n.input[1]])
    at, output = nodes.index(conv), conv.output[0]
    casts = [helper.make_node("Cast", [n], [f"{n}_{i}_fp32"], to=TensorProto.FLOAT) for i, n in enumerate(conv.input)]
    for i, cast in enumerate(casts):
        conv.input[i] = cast.output[0]
    conv.output[0] = f"{output}_fp32"
    back = helper.make_node("Cast", [conv.output[0]], [output], to=TensorProto.FLOAT16)
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes[:at], *casts, conv, back, *nodes[at + 1 :]])
    return graph


def test_activations_that_half_precision_cannot_hold_are_refused(model: nn.Module) -> None:
    lines = [sample(HEIGHT, 2, 60)]
    assert 0.5 < largest_activation(model, lines) < 1000
    large = GatedRecognizer(model.config, len(CHARSET) + 1)  # type: ignore[arg-type]
    with torch.no_grad():
        large.sequence[0].pointwise.weight *= 1e6  # type: ignore[index,union-attr,operator]
    with pytest.raises(HtrError, match="pointwise reaches"):
        largest_activation(large, lines)
    with pytest.raises(HtrError, match="no lines"):
        largest_activation(model, [])


def test_half_precision_reads_what_fp32_reads(model: nn.Module) -> None:
    pixels, widths = sample(HEIGHT, 4, 200)
    with torch.inference_mode():
        expected = deployable(model)(pixels, widths)
        found = deployable(model, torch.float16)(pixels, widths)
    frames = (widths + 3) // 4
    for row, count in enumerate(frames.tolist()):
        assert (found[3] - expected[3])[row, :count].abs().max() < 0.05 * expected[3].abs().max()


def test_damaged_and_foreign_files_are_refused(full: Path, card: Card, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(full.read_bytes()[:-500])
    foreign = onnx.load(full)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_text("not a graph")
    for name in ("cut", "foreign", "text", "missing"):
        with pytest.raises(HtrError, match=name):
            read_onnx(tmp_path / f"{name}.onnx")


def test_a_graph_that_differs_from_pytorch_is_not_written(
    model: nn.Module, card: Card, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _ = read_onnx(full)
    monkeypatch.setattr(onnx_export, "_trace", lambda module, height, outputs: graph)
    with pytest.raises(HtrError, match="not written: the decode"):
        export_onnx(model, dataclasses.replace(card, stride=8), tmp_path / "model.onnx")
    other = copy.deepcopy(model)
    torch.nn.init.zeros_(other.head.bias)  # type: ignore[union-attr,arg-type]
    with pytest.raises(HtrError, match="not written: its logits differ"):
        export_onnx(other, card, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_fills_a_folder_or_leaves_none(
    model: nn.Module, card: Card, full: Path, half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "student.safetensors", model, card)
    folder = tmp_path / "export" / "student"

    def copied(model: nn.Module, card: Card, path: Path, *, half: bool, logits: bool, decode: str) -> None:
        shutil.copy(files[half], path)

    files = {False: full, True: half}
    monkeypatch.setattr(writer, "export_onnx", copied)
    monkeypatch.setattr(writer, "_batches", lambda lines, card: iter([sample(HEIGHT, 2, 90)]))
    files[True] = full  # an FP16 export that is not FP16
    with pytest.raises(HtrError, match=r"model\.fp16\.onnx is not FP16"):
        exporter.export(tmp_path, fp16=True)
    assert not (tmp_path / "export/student").exists()

    files[True] = half
    result = exporter.export(tmp_path, fp16=True)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["card.json", "labels.txt", "model.fp16.onnx", "model.onnx", "model_repository"]
    assert [file.precision for file in result.files] == ["fp32", "fp16"]
    assert result.files[1].half_share >= 0.99 and result.activations["student"] > 0
    assert (folder / "labels.txt").read_text().split("\n") == ["<blank>", *CHARSET, ""]
    assert Card.from_json((folder / "card.json").read_text(), "card.json") == card

    (folder / "mine.txt").touch()
    exporter.export(tmp_path / "student.safetensors")  # the same folder: what else is there of the model stays
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "mine.txt"])
    assert [path.name for path in folder.parent.iterdir()] == ["student"]

    large = copy.deepcopy(model)
    with torch.no_grad():  # a form that is refused goes from an earlier export too, and the others are written
        large.sequence[0].pointwise.weight *= 1e6  # type: ignore[index,union-attr,operator]
    save_model(tmp_path / "student.safetensors", large, card)
    result = exporter.export(tmp_path, fp16=True)
    assert result.exit_code == 1 and "half precision is not safe" in result.refused[0]
    assert [file.precision for file in result.files] == ["fp32"]
    assert sorted(path.name for path in folder.iterdir()) == sorted({*names, "mine.txt"} - {"model.fp16.onnx"})


@pytest.mark.parametrize("decode", ["plugin", "none"])
def test_a_graph_without_our_decode(model: nn.Module, card: Card, full: Path, tmp_path: Path, decode: str) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(model, card, path, decode=decode)  # type: ignore[arg-type]
    graph, own = read_onnx(path)
    assert own == card
    names = [output.name for output in graph.graph.output]
    if decode == "plugin":
        assert names == ["labels", "lengths", "scores"]
        node = graph.graph.node[-1]
        attributes = {a.name: a.s.decode() for a in node.attribute}
        assert node.op_type == "CtcGreedyDecode" and list(node.input) == ["logits", "frames"]
        assert attributes == {"plugin_version": "1", "plugin_namespace": "htrcompress"}
        assert not any(other.op_type == "TopK" for other in graph.graph.node)
        return
    assert names == ["logits", "frames"]
    pixels, widths = sample(HEIGHT, 3, 61)
    logits, frames = run(graph, pixels.numpy(), widths.numpy())
    expected = run(read_onnx(full)[0], pixels.numpy(), widths.numpy())[3]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_array_equal(frames, -(-widths.numpy() // 4))


def test_the_triton_repository_names_what_the_graph_takes(model: nn.Module, card: Card, tmp_path: Path) -> None:
    save_model(tmp_path / "student.safetensors", model, card)
    exporter.export(tmp_path)
    repository = tmp_path / "export/student/model_repository/student"
    config = (repository / "config.pbtxt").read_text(encoding="utf-8")
    assert 'input { name: "pixels" data_type: TYPE_UINT8 dims: [ -1, 1, 16, -1 ] }' in config
    assert 'input { name: "widths" data_type: TYPE_INT32 dims: [ -1 ] }' in config
    assert 'output { name: "labels" data_type: TYPE_INT32 dims: [ -1, -1 ] }' in config
    assert 'output { name: "scores" data_type: TYPE_FP32 dims: [ -1 ] }' in config and 'name: "student"' in config
    assert (repository / "1/model.onnx").read_bytes() == (tmp_path / "export/student/model.onnx").read_bytes()
    assert (repository / "labels.txt").read_text(encoding="utf-8").splitlines() == ["<blank>", *CHARSET]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trt": True, "decode": "plugin"}, "an engine with --decode plugin needs --plugin"),
        ({"trt": True, "decode": "plugin", "plugin": Path("no.so")}, r"no plugin library at no\.so: build it"),
        ({"trt": True, "plugin": Path("no.so")}, "add --decode plugin"),
        ({"decode": "plugin", "plugin": Path("no.so")}, "--plugin is for engines: add --trt"),
        ({"int8": True, "decode": "none"}, "--int8 and --decode none do not go together"),
        ({"trt": True, "profile": "1x9,2x8,3x10"}, "--profile 1x9,2x8,3x10 must rise"),
        ({"profile": "1x1,2x2,3x3"}, "--profile is for engines: add --trt"),
        ({"trt": True, "profile": "1,2,3"}, "--profile 1,2,3: give three sizes, lines x pixels"),
        ({"trt": True, "profile": "1x1,8x64,8x4096"}, "ends at 4096 pixels, and small reads up to 800"),
        ({"trt": True, "profile": "4x1,2x64,8x80"}, "--profile 4x1,2x64,8x80 starts at 4 lines: start at 1"),
        ({"onnx": False}, "--no-onnx leaves nothing to write: add --trt"),
        ({"data": "synthetic"}, "--data is for the proofs of --fp16 and --int8"),
        ({"fp16": True, "max_cer_drop": 0.3}, "--max-cer-drop is for --int8"),
        ({"int8": True, "max_cer_drop": -1.0}, "--max-cer-drop is in points, 0 to 100, and is -1"),
        ({"int8": True, "data": "no/where"}, "no/where"),
        ({"fp16": True, "data": "no/where"}, "no/where"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    model: nn.Module, card: Card, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    save_model(tmp_path / "student.safetensors", model, card)
    with pytest.raises(HtrError, match=message):
        exporter.export(tmp_path, **options)  # type: ignore[arg-type]
    assert not list((tmp_path / "export").glob("*"))


def test_a_folder_that_cannot_be_written_is_told(model: nn.Module, card: Card, tmp_path: Path) -> None:
    save_model(tmp_path / "student.safetensors", model, card)
    (tmp_path / "file").touch()
    with pytest.raises(HtrError, match="cannot write the export folder"):
        exporter.export(tmp_path / "student.safetensors", out=tmp_path / "file/out")
    with pytest.raises(HtrError, match="is a file, and an export is a folder"):
        exporter.export(tmp_path / "student.safetensors", out=tmp_path / "file")
    for missing in ("nowhere", "nowhere.safetensors"):
        with pytest.raises(HtrError, match=f"no run folder or model file at .*{missing}"):
            exporter.export(tmp_path / missing)
    (tmp_path / "broken.safetensors").write_bytes((tmp_path / "student.safetensors").read_bytes()[:-9])
    with pytest.raises(HtrError, match=r"broken\.safetensors is damaged"):
        exporter.export(tmp_path / "broken.safetensors")


def test_no_operator_that_runtimes_get_wrong(full: Path, half: Path) -> None:
    """Recurrence is slow or wrong in TensorRT; shapes that depend on data have no runner in TensorRT-RTX."""
    wrong = {"LSTM", "GRU", "RNN", "Loop", "Scan", "If", "NonZero", "Compress", "Unique", "CumSum", "ScatterND"}
    for path in (full, half):
        assert not wrong & {node.op_type for node in onnx.load(path).graph.node}
