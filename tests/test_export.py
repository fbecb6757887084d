"""Exported graphs compute what PyTorch computes, read a line the same in any batch, and are as half as they say."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exports import CHARSET, HEIGHT
from onnx import ModelProto, TensorProto, helper
from torch import nn

from htrcompress.card import Card
from htrcompress.errors import HtrError, Refused
from htrcompress.export import onnx_export
from htrcompress.export.activations import largest_activation
from htrcompress.export.deployable import deployable, sample
from htrcompress.export.graph import Graph, copy_of, make_graph, read_graph
from htrcompress.export.onnx_export import export_onnx, make_onnx
from htrcompress.export.options import Decode
from htrcompress.export.precision import half_share, islands, require_half
from htrcompress.export.quantization import optimized
from htrcompress.models.gated import GatedRecognizer
from htrcompress.models.hybrid import HybridConfig, HybridRecognizer
from htrcompress.models.registry import architecture

pytest_plugins = ["exports"]


def test_onnx_computes_what_pytorch_computes(small: nn.Module, full: Graph) -> None:
    module, run = deployable(small), full.runner()
    for batch, width in ((1, 1), (1, 7), (5, 130), (3, 260)):
        pixels, widths = sample(HEIGHT, batch, width)
        with torch.inference_mode():
            logits, frames = small(pixels, widths)  # not fused
            labels, lengths, scores, *_ = module(pixels, widths)
        found = list(run(pixels.numpy(), widths.numpy()).values())
        valid = np.arange(logits.shape[1]) < frames.numpy()[:, None]
        np.testing.assert_allclose(found[3][valid], logits.numpy()[valid], atol=1e-4)
        np.testing.assert_array_equal(found[0], labels.numpy())
        np.testing.assert_array_equal(found[1], lengths.numpy())
        np.testing.assert_allclose(found[2], scores.numpy(), atol=1e-4)


def test_a_line_reads_the_same_alone_and_beside_longer_lines(small: nn.Module, full: Graph) -> None:
    module, run = deployable(small), full.runner()

    def by_torch(pixels: torch.Tensor, widths: torch.Tensor) -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.numpy() for output in module(pixels, widths)]

    def by_onnx(pixels: torch.Tensor, widths: torch.Tensor) -> list[np.ndarray]:
        return list(run(pixels.numpy(), widths.numpy()).values())

    for forward in (by_torch, by_onnx):
        for width in range(41, 49):  # every residue modulo the stride, twice
            pixels, widths = sample(HEIGHT, 3, 111)
            widths[1] = width
            together, alone = forward(pixels, widths), forward(pixels[1:2, ..., :width], widths[1:2])
            frames = alone[0].shape[1]
            assert frames == -(-width // 4)
            np.testing.assert_allclose(together[3][1, :frames], alone[3][0], atol=1e-4)
            assert together[0][1, : together[1][1]].tolist() == alone[0][0, : alone[1][0]].tolist()


def test_each_gelu_is_one_operator_in_onnx_runtime(full: Graph, tmp_path: Path) -> None:
    before = [node.op_type for node in full.proto.graph.node].count("Erf")
    operators = [node.op_type for node in optimized(full.data, full.name, tmp_path).graph.node]
    assert operators.count("Gelu") + operators.count("BiasGelu") == before and "Erf" not in operators


def test_the_card_travels_and_nothing_of_this_machine_does(full: Graph, half: Graph, small_card: Card) -> None:
    for graph in (full, half):
        assert graph.card == small_card
        metadata = {entry.key: entry.value for entry in graph.proto.metadata_props}
        assert metadata == small_card.to_metadata()
        for private in (b".py", str(Path.home()).encode() + b"/", str(Path(__file__).parents[1]).encode(), b"/tmp"):
            assert private not in graph.data
        inner = graph.proto.graph
        assert not any(weight.external_data for weight in inner.initializer)
        axes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in inner.input]
        assert axes == [["batch", 1, HEIGHT, "width"], ["batch"]]
        assert graph.outputs == ["labels", "lengths", "scores", "logits"]


def test_fp16_is_proven_and_its_islands_are_named(full: Graph, half: Graph) -> None:
    assert half_share(half) >= 0.99
    assert half_share(full) == 0
    weights = [w for w in half.proto.graph.initializer if np.prod(w.dims) > 64]
    assert {w.data_type for w in weights} == {TensorProto.FLOAT16}
    kinds = [island.kind for island in islands(half)]
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


def test_a_recurrent_network_exports_with_a_node_for_each_layer_and_direction() -> None:
    """Rows of unequal length in one batch: the backward direction starts at each row's own last frame."""
    torch.manual_seed(1)
    config = HybridConfig(HEIGHT, (4, 8, 8, 12), (1, 1, 1), dim=16, heads=2, hidden=8, layers=2)
    network = HybridRecognizer(config, len(CHARSET) + 1).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        network.head.weight *= 4
    card = Card("small", architecture(network), CHARSET, height=HEIGHT, stride=4, max_width=800)
    graph = make_onnx(network, card, "model.fp16.onnx", half=True)  # compares logits with those of PyTorch
    assert half_share(graph) >= 0.99
    nodes = [node for node in graph.proto.graph.node if node.op_type == "LSTM"]
    assert len(nodes) == 4 and not any(node.op_type == "Loop" for node in graph.proto.graph.node)
    assert all(node.input[5] and node.input[6] and not node.input[4] for node in nodes)  # states, and no lengths
    kinds = {island.kind for island in islands(graph)}
    assert kinds == {"grey levels", "attention mask", "softmax", "norm", "decode and score"}
    run = graph.runner()
    for width in (41, 43, 45, 48):
        pixels, widths = sample(HEIGHT, 3, 111)
        widths[1] = width
        together = run(pixels.numpy(), widths.numpy())
        alone = run(pixels[1:2, ..., :width].numpy(), widths[1:2].numpy())
        texts = [found["labels"][row, : found["lengths"][row]].tolist() for found, row in ((together, 1), (alone, 0))]
        assert texts[0] == texts[1]
        np.testing.assert_allclose(together["scores"][1], alone["scores"][0], atol=2e-3)


def test_a_graph_with_an_fp32_convolution_is_not_fp16(half: Graph) -> None:
    graph = make_graph("model.fp16.onnx", with_fp32_convolution(copy_of(half.proto)), half.card)
    with pytest.raises(HtrError, match=r"model\.fp16\.onnx"):
        require_half(half_share(graph), graph.name)


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


def test_activations_that_half_precision_cannot_hold_are_refused(small: nn.Module) -> None:
    lines = [sample(HEIGHT, 2, 60)]
    assert 0.5 < largest_activation(small, lines) < 1000
    large = GatedRecognizer(small.config, len(CHARSET) + 1)
    with torch.no_grad():
        large.sequence[0].pointwise.weight *= 1e6
    with pytest.raises(Refused, match="pointwise"):
        largest_activation(large, lines)
    with pytest.raises(HtrError):
        largest_activation(small, [])


def test_half_precision_reads_what_fp32_reads(small: nn.Module) -> None:
    pixels, widths = sample(HEIGHT, 4, 200)
    with torch.inference_mode():
        expected = deployable(small)(pixels, widths)
        found = deployable(small, torch.float16)(pixels, widths)
    frames = (widths + 3) // 4
    for row, count in enumerate(frames.tolist()):
        assert (found[3] - expected[3])[row, :count].abs().max() < 0.05 * expected[3].abs().max()


def test_damaged_and_foreign_files_are_refused(full: Graph, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(full.data[:-500])
    foreign = copy_of(full.proto)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_text("not a graph")
    at = full.data.index(b"htrcompress")  # a key of the metadata
    (tmp_path / "bytes.onnx").write_bytes(full.data[:at] + b"\xff" + full.data[at + 1 :])
    for name in ("cut", "foreign", "text", "bytes", "missing"):
        with pytest.raises(HtrError, match=name):
            read_graph(tmp_path / f"{name}.onnx")


def test_a_graph_that_differs_from_pytorch_is_not_written(
    small: nn.Module, small_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = onnx_export.trace(deployable(small), HEIGHT)
    monkeypatch.setattr(onnx_export, "trace", lambda module, height: copy_of(proto))
    with pytest.raises(HtrError, match=r"model\.onnx .* decode"):
        export_onnx(small, dataclasses.replace(small_card, stride=8), tmp_path / "model.onnx")
    other = copy.deepcopy(small)
    torch.nn.init.zeros_(other.head.bias)
    with pytest.raises(HtrError, match=r"model\.onnx .* logits"):
        export_onnx(other, small_card, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("decode", ["plugin", "none"])
def test_a_graph_without_our_decode(small: nn.Module, small_card: Card, full: Graph, decode: Decode) -> None:
    graph = make_onnx(small, small_card, "model.onnx", decode=decode)
    operators = {node.op_type for node in graph.proto.graph.node}
    used = {name for node in graph.proto.graph.node for name in node.input}
    assert "TopK" not in operators and {weight.name for weight in graph.proto.graph.initializer} <= used
    if decode == "plugin":
        assert graph.outputs == ["labels", "lengths", "scores", "logits"]
        node = graph.proto.graph.node[-1]
        attributes = {a.name: a.s.decode() for a in node.attribute}
        assert node.op_type == "CtcGreedyDecode" and list(node.input) == ["logits", "frames"]
        assert attributes == {"plugin_version": "1", "plugin_namespace": "htrcompress"}
        return
    assert graph.outputs == ["logits", "frames"]
    pixels, widths = (tensor.numpy() for tensor in sample(HEIGHT, 3, 61))
    found, expected = graph.runner()(pixels, widths), full.runner()(pixels, widths)
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)
    np.testing.assert_array_equal(found["frames"], -(-widths // 4))


def test_a_model_is_traced_once_in_each_precision(
    small: nn.Module, small_card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is exported: all other graphs are made from these."""
    from htrcompress.export.lines import ProofLines
    from htrcompress.export.options import ExportOptions
    from htrcompress.export.targets import Job

    traced = []
    trace = onnx_export.trace
    monkeypatch.setattr(onnx_export, "trace", lambda module, height: traced.append(module) or trace(module, height))
    job = Job("small", small, small_card, Path("unused"), ExportOptions(), ProofLines(None, str, {}))
    assert job.fp32() is job.fp32() and list(job.graphs) == ["model.onnx"] and len(traced) == 1


def test_no_operator_that_runtimes_get_wrong(full: Graph, half: Graph) -> None:
    """Recurrence is slow or wrong in TensorRT; shapes that depend on data have no runner in TensorRT-RTX."""
    wrong = {"LSTM", "GRU", "RNN", "Loop", "Scan", "If", "NonZero", "Compress", "Unique", "CumSum", "ScatterND"}
    for graph in (full, half):
        assert not wrong & {node.op_type for node in graph.proto.graph.node}
