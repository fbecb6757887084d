"""Shared by the tests: a tiny model with seeded random weights, its ONNX export, and pictures to read."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import built, installed, parts  # noqa: F401
from numpy.typing import NDArray

# PyTorch's threads wait by spinning: on cores that others use too, two are a hundred times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A command under test may set PyTorch's threads, and bits depend on their number: back to one after each test."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.safetensors` file of a `tiny-student` for lower-case letters and the space; reads lines of height 32."""
    import torch

    from htrcompress import models
    from htrcompress.card import Card
    from htrcompress.models.serialization import save_model

    charset = tuple(" abcdefghijklmnopqrstuvwxyz")
    torch.manual_seed(0)
    model = models.create("tiny-student", len(charset) + 1)
    card = Card("tiny", models.architecture(model), charset, height=32, stride=models.STRIDE, max_width=1000)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, model, card)
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tiny_model: Path) -> Path:
    """The same model as an `.onnx` file."""
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.models.serialization import load_model

    path = tiny_model.with_suffix(".onnx")
    export_onnx(*load_model(tiny_model), path)
    return path


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
def lines(tmp_path_factory: pytest.TempPathFactory, write_lines: Callable[[Path, dict[str, int]], Path]) -> str:
    """A folder with a few lines to train on."""
    return str(write_lines(tmp_path_factory.mktemp("data") / "lines", {"train": 24, "valid": 6, "test": 4}))


@pytest.fixture(scope="session")
def round_ste(lines: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run that nothing interrupted."""
    from trainings import SHORT

    from htrcompress.train import train_network

    run = tmp_path_factory.mktemp("whole") / "run"
    train_network(lines, "tiny-student", out=run, train=SHORT)
    return run


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model as users have it: a folder."""
    from languages import write_llama

    return write_llama(tmp_path_factory.mktemp("llm") / "llama")
