"""A very small network and its exported graphs, for tests of exports: one trace in each precision."""

from pathlib import Path

import pytest
import torch
from sharing import Shared

from htrcompress.card import Card
from htrcompress.export.graph import Graph, read_graph
from htrcompress.export.onnx_export import export_onnx
from htrcompress.models.base import LineRecognizer
from htrcompress.models.gated import GatedConfig, GatedRecognizer
from htrcompress.models.serialization import load_model, save_model

CHARSET = tuple(" abcdefghij")
HEIGHT = 16


@pytest.fixture(scope="session")
def small_file(shared: Shared) -> Path:
    """A `.safetensors` file of the network, whose gains, biases and norms are not those of a fresh one."""
    return shared("small", _make_small) / "small.safetensors"


@pytest.fixture(scope="session")
def small(small_file: Path) -> LineRecognizer:
    """The network."""
    return load_model(small_file)[0]  # type: ignore[return-value]


@pytest.fixture(scope="session")
def small_card(small_file: Path) -> Card:
    """Its card."""
    return load_model(small_file)[1]


@pytest.fixture(scope="session")
def full(small: LineRecognizer, small_card: Card, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The network as an FP32 graph, read back from its file."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(small, small_card, path)
    return read_graph(path)


@pytest.fixture(scope="session")
def half(small: LineRecognizer, small_card: Card, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The network as an FP16 graph, read back from its file."""
    path = tmp_path_factory.mktemp("export") / "model.fp16.onnx"
    export_onnx(small, small_card, path, half=True)
    return read_graph(path)


def _make_small(folder: Path) -> None:
    torch.manual_seed(1)
    config = GatedConfig(HEIGHT, (4, 8, 8, 12), (1, 1, 0), dim=24, layers=1, heads=2)
    network = GatedRecognizer(config, len(CHARSET) + 1).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        network.head.weight *= 2  # far from ties, so that labels can be compared
    card = Card("small", {}, CHARSET, height=HEIGHT, stride=4, max_width=800)
    save_model(folder / "small.safetensors", network, card)
