"""Shared by the tests: a tiny model with seeded random weights, its ONNX export, lines to train on, pictures to read.

Fixtures that take seconds are made once for all of pytest's processes: see `sharing.py`.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import built, demo, installed, parts  # noqa: F401
from numpy.typing import NDArray
from sharing import Shared, share_traces, shared, trace_sources  # noqa: F401

# PyTorch's threads wait by spinning: on cores that others use too, two are a hundred times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, the tests of a file stay in one process, for they share its fixtures."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def traces(shared: Shared) -> None:  # noqa: F811
    """Equal calls of `torch.onnx.export` trace once."""
    if "torch" in sys.modules:  # tests that load no torch start fast
        _share_traces(shared)


def _share_traces(shared: Shared) -> None:  # noqa: F811
    share_traces(shared("traces", lambda folder: None, trace_sources()))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A command under test may set PyTorch's threads, and bits depend on their number: back to one after each test."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(shared: Shared) -> Path:  # noqa: F811
    """A `.safetensors` file of a `tiny-student` for lower-case letters and the space; reads lines of height 32."""
    return shared("tiny", _make_tiny) / "tiny.safetensors"


@pytest.fixture(scope="session")
def tiny_onnx(shared: Shared) -> Path:  # noqa: F811
    """The same model as an `.onnx` file, with a copy of the model beside it."""
    _share_traces(shared)
    return shared("tiny-onnx", _make_tiny_onnx) / "tiny.onnx"


def _make_tiny(folder: Path) -> None:
    import torch

    from htrcompress import models
    from htrcompress.card import Card
    from htrcompress.models.serialization import save_model

    charset = tuple(" abcdefghijklmnopqrstuvwxyz")
    torch.manual_seed(0)
    model = models.create("tiny-student", len(charset) + 1)
    card = Card("tiny", models.architecture(model), charset, height=32, stride=models.STRIDE, max_width=1000)
    save_model(folder / "tiny.safetensors", model, card)


def _make_tiny_onnx(folder: Path) -> None:
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.models.serialization import load_model

    _make_tiny(folder)
    export_onnx(*load_model(folder / "tiny.safetensors"), folder / "tiny.onnx")


@pytest.fixture(scope="session")
def write_lines() -> Callable[[Path, dict[str, int]], Path]:
    """`write_lines(folder, {"train": 24, ...})`: synthetic lines as a real dataset would have them, in a new folder."""
    from PIL import Image

    from htrcompress.data.synthetic import open_synthetic

    def write(root: Path, counts: dict[str, int]) -> Path:
        root.mkdir()
        for split, some in open_synthetic(counts).splits.items():
            rows = []
            for number, line in enumerate(some):
                Image.fromarray(line.pixels()).save(root / f"{split}-{number}.png")
                rows.append(f"{split}-{number}.png\t{line.text}\n")
            (root / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
        return root

    return write


@pytest.fixture(scope="session")
def picture() -> Callable[..., NDArray[np.uint8]]:
    """`picture(width, height=32, seed=0)`: noise to read, uint8 (height, width); each seed gives another."""

    def noise(width: int, height: int = 32, seed: int = 0) -> NDArray[np.uint8]:
        return np.random.default_rng((seed, width)).integers(0, 256, (height, width), dtype=np.uint8)

    return noise


@pytest.fixture(scope="session")
def lines(shared: Shared, write_lines: Callable[[Path, dict[str, int]], Path]) -> str:  # noqa: F811
    """A folder with a few lines to train on."""
    counts = {"train": 24, "valid": 6, "test": 4}
    return str(shared("lines", lambda folder: write_lines(folder / "lines", counts)) / "lines")


@pytest.fixture(scope="session")
def whole(shared: Shared, lines: str, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The folder of a short run that nothing interrupted; each process has a copy, for tests lock and resume it."""
    from trainings import SHORT

    from htrcompress.train import TrainOptions, train

    def make(folder: Path) -> None:
        train(TrainOptions(data=lines, model="tiny-student", out=folder / "run", train=SHORT))

    return shutil.copytree(shared("whole", make) / "run", tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="session")
def llama(shared: Shared) -> Path:  # noqa: F811
    """A language model as users have it: a folder."""
    from languages import write_llama

    return shared("llama", lambda folder: write_llama(folder / "llama")) / "llama"


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets are packed into shards and record batches of a few lines."""
    from htrcompress.data import packing, shards

    monkeypatch.setattr(packing, "SHARD", 5)
    monkeypatch.setattr(shards, "BLOCK", 3)
