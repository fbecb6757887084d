"""`Backend`, the interface of what runs a network: pixels and widths in, labels and logits out.

A back end is one file with one class that keeps this interface, and one row in `BACKENDS`, the table from a model
file's suffix to what opens it. The recogniser, verification and the benchmarks all run models through it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.errors import HtrError

Device = Literal["cpu", "cuda", "mps", "openvino", "tensorrt", "tensorrt-rtx"]
"""Where a network computes. PyTorch has the first three, ONNX Runtime all but `mps`, engines `cuda`."""
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
UNLIMITED = math.inf
LINES_PER_THREAD = 8
"""Lines in a batch for each CPU thread: with more, the activations of a layer leave the caches."""


class NoLogits(HtrError):
    """A model file that was to be opened with logits holds none."""


@dataclass(frozen=True)
class Output:
    """What a network gives for one batch.

    Attributes:
        labels: int32 (B, T), decoded greedily, padded with -1.
        lengths: int32 (B,), labels of each row.
        scores: float32 (B,), mean log-probability of the labels; -inf in a row without labels.
        logits: float32 (B, T, C), not normalised; None unless the back end was opened with `logits=True`.
        memory: float32 (B, T, M), what an attention decoder reads; None unless it was opened with `memory=True`.
    """

    labels: NDArray[np.int32]
    lengths: NDArray[np.int32]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32] | None = None
    memory: NDArray[np.float32] | None = None


def joined(outputs: Sequence[Output]) -> Output:
    """The outputs of several batches as those of one; shorter rows are filled with -1, and logits with zeros."""
    if len(outputs) == 1:
        return outputs[0]
    labels, lengths, scores = ([getattr(o, name) for o in outputs] for name in ("labels", "lengths", "scores"))
    frames = [[getattr(o, name) for o in outputs] for name in ("logits", "memory")]
    return Output(
        _stacked(labels, -1),
        np.concatenate(lengths),
        np.concatenate(scores),
        *(None if any(array is None for array in arrays) else _stacked(arrays, 0) for arrays in frames),
    )


def _stacked(arrays: Sequence[NDArray], fill: int) -> NDArray:
    """Arrays (B, T, ...) one after the other, filled to the largest T."""
    steps = max(array.shape[1] for array in arrays)
    filled = np.full((sum(map(len, arrays)), steps, *arrays[0].shape[2:]), fill, arrays[0].dtype)
    row = 0
    for array in arrays:
        filled[row : row + len(array), : array.shape[1]] = array
        row += len(array)
    return filled


class Backend(Protocol):
    """One model file, opened. Several threads may call `run` at the same time, on it and on its streams.

    Back ends are pickled by the path and options that they were opened with (`__reduce__`).

    Attributes:
        name: the runtime, for tables: `PyTorch`, `ONNX Runtime`.
        device: where it computes, one of `Device`.
        arithmetic: what convolutions and matrix products are computed in: `FP32`, `FP16` or `INT8`.
        card: the model's card.
        max_batch: the most lines that one call of `run` takes, or that it is fast with; infinity for no limit.
        max_width: the widest line in pixels; infinity for no limit.
        num_streams: how many batches are best run at the same time, each through `stream()`.
    """

    name: str
    device: str
    arithmetic: str
    card: Card
    max_batch: float
    max_width: float
    num_streams: int

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32], logits: bool | None = None) -> Output:
        """Runs one batch, uint8 (B, 1, H, W) and int32 (B,).

        Args:
            pixels, widths: the batch.
            logits: whether `Output.logits` is filled; as the back end was opened, if None.

        Raises:
            NoLogits: logits are asked for, and the file holds none.
            HtrError: the runtime fails on this batch.
        """

    def stream(self) -> "Backend":
        """The same network on one thread, for `num_streams` threads to call at once; itself where that is 1."""

    def close(self) -> None:
        """Frees the network and its memory on the device; may be called twice, and nothing is run afterwards."""


@dataclass(frozen=True)
class Open:
    """How a model file is opened.

    Attributes:
        threads: CPU threads; the cores that the process may use if None.
        device: one of `Device`, and nothing else is used; `cuda` where it works, else `cpu`, if None.
        logits: whether `Output.logits` is filled where `run` is not told.
        memory: whether `Output.memory` is filled.
    """

    threads: int | None = None
    device: str | None = None
    logits: bool = False
    memory: bool = False


TRAINED = ".safetensors"
"""Suffix of a trained model; files of every other suffix in `BACKENDS` are exported from one."""
BACKENDS: dict[str, str | Callable[[Path, Open], Backend]] = {
    ".onnx": "htrcompress.runtime.onnx_backend:OnnxRuntimeBackend",
    ".engine": "htrcompress.runtime.tensorrt_backend:TensorRtBackend",
    ".safetensors": "htrcompress.runtime.torch_backend:TorchBackend",
}
"""Suffix of a model file to the back end that runs it: a class, or `module:class` where importing it is expensive."""


STEP = ".step.onnx"
"""How the name of the graph of an attention decoder's step ends, in the place of the `.onnx` of the model beside it."""


def exported_files(folder: Path) -> list[Path]:
    """The files of a folder that a back end runs, trained models apart, in no order."""
    found = [path for path in folder.iterdir() if path.suffix in BACKENDS and path.suffix != TRAINED]
    return [path for path in found if not path.name.endswith(STEP)]


def open_backend(path: Path, options: Open = Open()) -> Backend:
    """Opens a model file with the back end of its suffix.

    Raises:
        NoLogits: logits are asked for, and the file holds none.
        HtrError: the file is missing, damaged or of no known kind, its runtime is not installed, or the device is
            not there.
    """
    if path.suffix in PICKLES:
        raise HtrError(f"{path} may hold Python code (pickle) and is never read: use a .safetensors or .onnx model")
    if path.suffix not in BACKENDS:
        raise HtrError(f"{path} is not a model: give a {', '.join(BACKENDS)} file")
    if not path.is_file():
        raise HtrError(f"no model at {path}")
    found = BACKENDS[path.suffix]
    if isinstance(found, str):
        module, name = found.split(":")
        found = getattr(import_module(module), name)
    return found(path, options)


def precision_of(path: Path) -> str:
    """What an exported file holds, by its name: `FP16`, `INT8` or `FP32`."""
    return next((name for name in ("FP16", "INT8") if f".{name.lower()}." in path.name), "FP32")
