"""Reads line images with a TensorRT engine that htrcompress built; nothing of htrcompress is imported.

    pip install numpy pillow tensorrt cuda-python       # or pycuda in the place of cuda-python
    python embed.py model.engine LINE.png...            # prints path<TAB>text

For an engine of TensorRT-RTX install tensorrt-rtx-cu13-libs and tensorrt-rtx-cu13-bindings in the place of
tensorrt. `model.engine.json` stands beside the engine and holds the card: characters, height, greatest width.
Copy this file into your program and change it freely. An engine is code: load only those that you trust.

The project's tests run everything here except TensorRT and CUDA themselves, which they replace by stand-ins.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE = 255
DTYPES = {"pixels": np.uint8, "widths": np.int32, "labels": np.int32, "lengths": np.int32, "scores": np.float32}


def area_sums(values: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """(m, k) to (n, k): sums over n equal intervals of the first axis, in units of 1/n of an input row."""
    whole, part = np.divmod(np.arange(n + 1) * len(values), n)
    none = np.zeros_like(values[:1], np.int64)
    before = np.concatenate((none, np.cumsum(values, 0, dtype=np.int64)))
    following = np.concatenate((values, none))
    return np.diff(n * before[whole] + part[:, None] * following[whole], axis=0)


def scale(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resizes uint8 (h, w) to uint8 (height, width): the exact mean over each pixel's area, rounded half up."""
    area = pixels.size
    sums = area_sums(area_sums(pixels, height).T, width).T
    return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def load_line(path: str, height: int, max_width: int) -> NDArray[np.uint8]:
    """A picture of dark ink on light paper, without transparency, as uint8 (height, width in proportion)."""
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("L"))
    h, w = pixels.shape
    width = max(1, (2 * w * height + h) // (2 * h))
    if width > max_width:
        raise ValueError(f"{path} is {width} pixels wide at height {height}; the model reads up to {max_width}")
    return scale(pixels, height, width)


def text_of(labels: NDArray[np.int32], length: int, charset: list[str]) -> str:
    """The first `length` of labels int32 (T,) as text; label i is character i - 1, and 0 the blank."""
    return "".join(charset[label - 1] for label in labels[:length].tolist() if label > 0)


class CudaPython:
    """Device memory through cuda-python."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self.cuda = runtime
        self.stream = int(self._call("cudaStreamCreate"))

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self.cuda, name)(*arguments)
        if status != self.cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"{name} failed: {self.cuda.cudaGetErrorString(status)[1].decode()}")
        return results[0] if results else None

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, memory: int) -> None:
        self._call("cudaFree", memory)

    def upload(self, memory: int, array: NDArray) -> None:
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpy", memory, array.ctypes.data, array.nbytes, kind)

    def download(self, array: NDArray, memory: int) -> None:
        self._call("cudaStreamSynchronize", self.stream)
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpy", array.ctypes.data, memory, array.nbytes, kind)


class PyCuda:
    """The same through pycuda."""

    def __init__(self) -> None:
        import pycuda.driver as cuda

        self.cuda, self._stream = cuda, cuda.Stream()
        self.stream = self._stream.handle
        self.allocate, self.upload = cuda.mem_alloc, cuda.memcpy_htod

    def free(self, memory: Any) -> None:
        memory.free()

    def download(self, array: NDArray, memory: Any) -> None:
        self._stream.synchronize()
        self.cuda.memcpy_dtoh(array, memory)


def find_device() -> CudaPython | PyCuda:
    """Device memory through the package that is installed."""
    for kind in (CudaPython, PyCuda):
        try:
            return kind()
        except ImportError:
            continue
    raise RuntimeError("neither cuda-python nor pycuda is installed: run `pip install cuda-python`")


class Reader:
    """Reads lines with an engine.

    Args:
        engine: an ICudaEngine.
        card: `card` of the `.json` beside it.
        device: CudaPython() or PyCuda().
    """

    def __init__(self, engine: Any, card: dict[str, Any], device: Any):
        self.engine, self.device, self.charset = engine, device, card["charset"]
        self.context = engine.create_execution_context()
        least, _, most = engine.get_tensor_profile_shape("pixels", 0)
        self.max_batch, self.min_width = most[0], least[3]
        self.height, self.max_width = card["height"], min(card["max_width"], most[3])
        self.memory: dict[str, tuple[int, Any]] = {}

    def read(self, lines: list[NDArray[np.uint8]]) -> list[str]:
        """The texts of lines that `load_line` made, in their order; batches are of similar widths."""
        texts = [""] * len(lines)
        order = sorted(range(len(lines)), key=lambda i: lines[i].shape[1])
        for start in range(0, len(order), self.max_batch):
            chosen = order[start : start + self.max_batch]
            widths = np.array([lines[i].shape[1] for i in chosen], np.int32)
            pixels = np.full((len(chosen), 1, self.height, max(widths.max(), self.min_width)), WHITE, np.uint8)
            for row, i in zip(pixels, chosen, strict=True):
                row[0, :, : lines[i].shape[1]] = lines[i]
            labels, lengths = self.run(pixels, widths)
            for row, length, i in zip(labels, lengths, chosen, strict=True):
                texts[i] = text_of(row, length, self.charset)
        return texts

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """One batch, uint8 (B, 1, H, W) and int32 (B,), to labels int32 (B, T) and lengths int32 (B,)."""
        for name, array in (("pixels", pixels), ("widths", widths)):
            if not self.context.set_input_shape(name, array.shape):
                raise RuntimeError(f"the engine does not take {name} of shape {array.shape}")
            self.device.upload(self._memory(name, array.nbytes), array)
        results = {}
        for name in map(self.engine.get_tensor_name, range(self.engine.num_io_tensors)):
            if name not in ("pixels", "widths"):
                shape = tuple(self.context.get_tensor_shape(name))
                results[name] = np.empty(shape, DTYPES.get(name, np.float32))
                self._memory(name, results[name].nbytes)
            self.context.set_tensor_address(name, int(self.memory[name][1]))
        if not self.context.execute_async_v3(self.device.stream):
            raise RuntimeError("TensorRT failed to run the engine; it says more above")
        for name in ("labels", "lengths"):
            self.device.download(results[name], self.memory[name][1])
        return results["labels"], results["lengths"]

    def _memory(self, name: str, size: int) -> Any:
        """Device memory for a tensor, as large as any batch needed so far."""
        if name not in self.memory or self.memory[name][0] < size:
            if name in self.memory:
                self.device.free(self.memory.pop(name)[1])
            self.memory[name] = (size, self.device.allocate(size))
        return self.memory[name][1]


def open_reader(path: str) -> Reader:
    """Opens an engine with the kind of TensorRT that built it."""
    try:
        document = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        card, built = document["card"], document["engine"]
        kind, version = built["runtime"], built["version"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}.json is damaged or belongs to no engine: export the model again") from None
    if kind == "tensorrt-rtx":
        importlib.import_module("tensorrt_rtx_libs")  # loads the libraries that the bindings link to
        trt = importlib.import_module("tensorrt_rtx_bindings")
    else:
        trt = importlib.import_module("tensorrt")
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(Path(path).read_bytes())
    if engine is None:
        raise RuntimeError(f"TensorRT {trt.__version__} cannot load {path}, built with {version}")
    return Reader(engine, card, find_device())


def main(arguments: list[str]) -> int:
    """Prints the text of each line image; the exit status."""
    if len(arguments) < 2:
        print("usage: python embed.py MODEL.engine LINE.png...", file=sys.stderr)
        return 2
    try:
        reader = open_reader(arguments[0])
        lines = [load_line(path, reader.height, reader.max_width) for path in arguments[1:]]
        for path, text in zip(arguments[1:], reader.read(lines), strict=True):
            print(f"{path}\t{text}")
    except (OSError, ImportError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
