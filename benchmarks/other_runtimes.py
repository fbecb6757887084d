"""Runtimes that the toolkit itself does not run models in, measured beside those that it does.

`openvino`: OpenVINO's own package reads the exported ONNX files and computes in FP32, in BF16 where the processor has
it, and in INT8. `torch-tensorrt`: PyTorch's compiler for TensorRT, on an NVIDIA GPU. Each is a row with the reason
where it is not installed or finds no device.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.artefacts import Artefact
from htrcompress.card import Card
from htrcompress.errors import HtrError, Unavailable
from htrcompress.runtime import Recognizer
from htrcompress.runtime.backend import LINES_PER_THREAD, UNLIMITED, Output

OPENVINO, TORCH_TENSORRT = "OpenVINO", "Torch-TensorRT"
HINTS = {"FP32": "f32", "BF16": "bf16", "INT8": "f32"}
"""Arithmetic to the hint that OpenVINO gets; the products of an INT8 graph are integer ones with any hint."""
INT8_FILES = ("model.int8.trt.onnx", "model.int8.cpu.onnx")
"""Symmetric weights and activations first, which OpenVINO is fastest with."""


class OpenVinoBackend:
    """One exported file in OpenVINO; `Backend` says what it must do.

    Args:
        path: an ONNX file with the decode inside.
        card: of the model.
        threads: CPU threads, each of which runs batches of its own.
        arithmetic: one of `HINTS`.

    Raises:
        Unavailable: OpenVINO is not installed, or the processor lacks the arithmetic.
    """

    name = OPENVINO
    device = "cpu"
    max_width = UNLIMITED

    def __init__(self, path: Path, card: Card, threads: int, arithmetic: str):
        try:
            import openvino
        except ImportError:
            raise Unavailable("openvino is not installed: pip install openvino") from None
        core = openvino.Core()
        if arithmetic not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise Unavailable(f"OpenVINO finds no {arithmetic} in this processor")
        settings = {"INFERENCE_PRECISION_HINT": HINTS[arithmetic], "INFERENCE_NUM_THREADS": threads}
        model = core.read_model(path)
        self._compile = lambda streams: core.compile_model(model, "CPU", settings | {"NUM_STREAMS": streams})
        self._compiled, self._requests = self._compile(1), threading.local()
        self._stream: OpenVinoBackend | None = None
        self.card, self.arithmetic, self.num_streams = card, arithmetic, threads
        self.max_batch: float = LINES_PER_THREAD * threads

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32], logits: bool | None = None) -> Output:
        """One batch, without logits; see `Backend.run`."""
        if not hasattr(self._requests, "own"):  # a request serves one thread at a time
            self._requests.own = self._compiled.create_infer_request()
        found = self._requests.own.infer({"pixels": pixels, "widths": widths})
        labels, lengths, scores = (np.array(found[name]) for name in ("labels", "lengths", "scores"))
        return Output(labels, lengths, scores)

    def stream(self) -> "OpenVinoBackend":
        """The same network, compiled for batches on one thread each."""
        if self.num_streams == 1:
            return self
        if self._stream is None:
            stream = object.__new__(type(self))
            stream.__dict__.update(self.__dict__)
            stream._compiled, stream._requests = self._compile(self.num_streams), threading.local()
            stream.num_streams, stream.max_batch = 1, LINES_PER_THREAD
            self._stream = stream
        return self._stream

    def close(self) -> None:
        """See `Backend.close`."""
        del self._compiled, self._requests, self._stream


def torch_tensorrt(path: Path, threads: int) -> Recognizer:
    """A trained model, its network compiled by Torch-TensorRT; the decode stays in PyTorch. Never run by us.

    Raises:
        Unavailable: Torch-TensorRT is not installed, or there is no GPU.
    """
    try:
        import torch_tensorrt  # noqa: F401
    except ImportError:
        raise Unavailable("torch-tensorrt is not installed: pip install torch-tensorrt") from None
    import torch

    from htrcompress.runtime.backend import Open
    from htrcompress.runtime.torch_backend import TorchBackend

    if not torch.cuda.is_available():
        raise Unavailable("Torch-TensorRT finds no GPU here")
    backend: Any = TorchBackend(path, Open(threads, "cuda"))
    backend.name = TORCH_TENSORRT
    backend.model.encode = torch.compile(backend.model.encode, backend="torch_tensorrt", dynamic=True)
    return Recognizer(backend, threads=threads)


def with_runtimes(artefacts: list[Artefact], names: list[str], threads: int) -> list[Artefact]:
    """The artefacts, and after those of each model its rows in other runtimes.

    Args:
        artefacts: what there is already.
        names: of `RUNTIMES`.
        threads: CPU threads.

    Raises:
        HtrError: there is no runtime of that name.
    """
    for name in names:
        if name not in RUNTIMES:
            raise HtrError(f"--runtimes knows no '{name}': choose {', '.join(RUNTIMES)}")
    found = []
    for model in dict.fromkeys(artefact.model for artefact in artefacts):
        found += [artefact for artefact in artefacts if artefact.model == model]
        original = next(artefact for artefact in found if artefact.model == model and artefact.is_original)
        found += [row for name in names for row in RUNTIMES[name](original, threads)]
    return found


def _openvino(original: Artefact, threads: int) -> list[Artefact]:
    folder = original.file.parent / "export" / original.model
    int8 = next((folder / name for name in INT8_FILES if (folder / name).is_file()), None)
    files = {"FP32": folder / "model.onnx", "BF16": folder / "model.onnx", "INT8": int8}
    rows = []
    for arithmetic, file in files.items():
        if file is None or not file.is_file():
            continue  # not exported
        precision = "INT8" if arithmetic == "INT8" else "FP32"
        try:
            assert original.recognizer is not None  # originals are always executed
            backend = OpenVinoBackend(file, original.recognizer.card, threads, arithmetic)
        except Unavailable as error:
            rows.append(Artefact(original.model, OPENVINO, file, precision, None, str(error)))
            if not rows[0].recognizer:
                break  # the same reason for all
            continue
        recognizer = Recognizer(backend, threads=threads)
        rows.append(Artefact(original.model, OPENVINO, file, precision, recognizer, is_loadable=False))
    return rows


def _torch_tensorrt(original: Artefact, threads: int) -> list[Artefact]:
    try:
        recognizer = torch_tensorrt(original.file, threads)
    except Unavailable as error:
        return [Artefact(original.model, TORCH_TENSORRT, original.file, "FP32", None, str(error))]
    return [Artefact(original.model, TORCH_TENSORRT, original.file, "FP32", recognizer, is_loadable=False)]


RUNTIMES: dict[str, Callable[[Artefact, int], list[Artefact]]] = {
    "openvino": _openvino,
    "torch-tensorrt": _torch_tensorrt,
}
"""Name to what gives a model's rows in that runtime."""
