"""The decode that exports carry equals the NumPy oracle, in PyTorch and in ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from htrcompress.decoding import greedy, reference

Decoder = Callable[[NDArray[np.float32], NDArray[np.int64]], list[NDArray]]


class Greedy(nn.Module):
    def forward(self, logits: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return greedy.greedy(logits, frames)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    if request.param == "torch":
        return lambda logits, frames: [t.numpy() for t in greedy.greedy(torch.tensor(logits), torch.tensor(frames))]
    path = tmp_path_factory.mktemp("decode") / "greedy.onnx"
    session = onnxruntime.InferenceSession(_export(path), providers=["CPUExecutionProvider"])
    return lambda logits, frames: session.run(None, {"logits": logits, "frames": frames})


def _export(path: Path) -> Path:
    free = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        Greedy().eval(),
        (torch.randn(3, 11, 9), torch.tensor([3, 11, 5])),
        path,
        input_names=["logits", "frames"],
        dynamic_shapes=({0: free, 1: free, 2: free}, {0: free}),
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return path


def _check(decoder: Decoder, logits: NDArray, frames: NDArray) -> None:
    logits, frames = np.asarray(logits, np.float32), np.asarray(frames, np.int64)
    expected = reference.greedy(logits, frames)
    found = decoder(logits, frames)
    assert [array.dtype for array in found] == [np.int32, np.int32, np.float32]
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2], atol=1e-5)


def test_random_logits_of_every_shape(decoder: Decoder) -> None:
    rng = np.random.default_rng(0)
    for _ in range(1000):
        batch, steps, classes = rng.integers(1, 6), rng.integers(1, 50), rng.integers(2, 14)
        logits = 3 * rng.normal(size=(batch, steps, classes))
        logits[..., 0] += rng.choice([0, 3])  # with and without many blanks
        _check(decoder, logits, rng.integers(1, steps + 1, batch))


def test_ties_go_to_the_lowest_label(decoder: Decoder) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        _check(decoder, rng.integers(0, 2, (4, 30, 7)), np.array([30, 1, 17, 29]))
    _check(decoder, np.zeros((2, 5, 4)), np.array([5, 2]))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 3e38])
def test_what_lies_beyond_the_frames_is_ignored(decoder: Decoder, garbage: float) -> None:
    logits = np.random.default_rng(2).normal(size=(3, 20, 6))
    frames = np.array([1, 13, 20])
    for row, count in enumerate(frames):
        logits[row, count:] = garbage
    _check(decoder, logits, frames)


def test_all_blank_all_same_and_one_frame(decoder: Decoder) -> None:
    for label in (0, 3):
        logits = np.zeros((2, 9, 5))
        logits[..., label] = 4
        _check(decoder, logits, np.array([9, 4]))
        _check(decoder, logits[:, :1], np.array([1, 1]))


def test_a_blank_between_equal_labels_separates_them(decoder: Decoder) -> None:
    logits = np.eye(4)[[[2, 2, 0, 2, 1, 1, 0, 0, 1]]] * 5
    _check(decoder, logits, np.array([9]))
    assert decoder(logits.astype(np.float32), np.array([9]))[0].tolist() == [[2, 2, 1, 1, -1, -1, -1, -1, -1]]


def test_long_lines_keep_their_order(decoder: Decoder) -> None:
    """Half precision holds integers to 2,048 only; the keys that order the emitted frames are integers."""
    logits = np.random.default_rng(3).normal(size=(1, 5000, 3))
    _check(decoder, logits, np.array([4999]))


def test_half_precision_logits_are_read_in_fp32() -> None:
    logits = torch.randn(2, 40, 9, generator=torch.Generator().manual_seed(4)).half()
    expected = reference.greedy(logits.float().numpy(), np.array([40, 20]))
    labels, lengths, scores = greedy.greedy(logits, torch.tensor([40, 20]))
    assert labels.tolist() == expected[0].tolist() and lengths.tolist() == expected[1].tolist()
    np.testing.assert_allclose(scores.numpy(), expected[2], atol=1e-6)
