"""A line reads the same alone and beside longer lines: trained weights, whole test splits, PyTorch and ONNX.

The widths of a test split cover every residue modulo the stride; each line is read alone and in batches of 32
that mix short and long lines. Texts must be identical, FP32 logits within 1e-4; `pytest -s` shows how close.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from htrcompress.data.batching import pad
from htrcompress.data.readers.open import open_dataset
from htrcompress.export.deployable import deployable
from htrcompress.export.onnx_export import export_onnx
from htrcompress.image import resize_to_height
from htrcompress.models.serialization import load_model

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "tiny-student.safetensors"
HOOKER = ROOT.parent / "shared" / "data" / "hooker_en"
TOLERANCE = 1e-4

Pixels = NDArray[np.uint8]


def lines_of(source: str, most: int) -> list[Pixels]:
    if source != "synthetic" and not Path(source).is_dir():
        pytest.skip(f"the corpus {Path(source).name} is not on this machine")
    _, card = load_model(MODEL)
    lines = open_dataset(source).split("test")[:most]
    return [resize_to_height(line.pixels(), card.height, card.max_width, line.id) for line in lines]


def mixed(images: list[Pixels]) -> list[list[int]]:
    """Batches of 32 that put the narrowest beside the widest."""
    order = np.argsort([image.shape[1] for image in images])
    order = np.stack([order[: len(order) // 2], order[len(order) // 2 : len(order) // 2 * 2][::-1]], 1).ravel()
    return [order[at : at + 32].tolist() for at in range(0, len(order), 32)]


def run_torch(path: Path):  # type: ignore[no-untyped-def]
    module = deployable(load_model(path)[0])

    def run(pixels: Pixels, widths: NDArray[np.int32]) -> list[NDArray]:
        with torch.inference_mode():
            return [t.numpy() for t in module(torch.from_numpy(pixels), torch.from_numpy(widths))]

    return run


def run_onnx(path: Path, folder: Path):  # type: ignore[no-untyped-def]
    import onnxruntime

    export_onnx(*load_model(path), folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda pixels, widths: session.run(None, {"pixels": pixels, "widths": widths})


@pytest.mark.parametrize("source", ["synthetic", str(HOOKER)])
@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_whole_split(runtime: str, source: str, tmp_path: Path) -> None:
    images = lines_of(source, most=400)
    assert {image.shape[1] % 4 for image in images} == {0, 1, 2, 3}
    run = run_torch(MODEL) if runtime == "torch" else run_onnx(MODEL, tmp_path)
    largest = 0.0
    for group in mixed(images):
        labels, lengths, _, logits, *_ = run(*pad([images[i] for i in group]))
        for row, i in enumerate(group):
            alone, [length], _, alone_logits, *_ = run(*pad([images[i]]))
            assert labels[row, : lengths[row]].tolist() == alone[0, :length].tolist(), f"line {i}"
            frames = -(-images[i].shape[1] // 4)
            largest = max(largest, float(np.abs(logits[row, :frames] - alone_logits[0, :frames]).max()))
    print(f"{runtime}, {Path(source).name}: {len(images)} lines, largest logit difference {largest:.2g}")
    assert largest <= TOLERANCE
