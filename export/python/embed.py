"""Reads line images with a TensorRT engine that htrcompress built; nothing of htrcompress is imported.

    pip install numpy pillow tensorrt cuda-python       # or pycuda in the place of cuda-python
    python embed.py model.engine LINE.png...            # prints path<TAB>text

For an engine of TensorRT-RTX install tensorrt-rtx-cu13-libs and tensorrt-rtx-cu13-bindings in the place of
tensorrt. `model.engine.json` stands beside the engine and holds the card: characters, height, greatest width.
`libhtr_ctc.so` stands there too where the engine was exported with --decode plugin. Copy this file and line_image.py
into your program and change them freely. An engine, and a plugin, is code: load only those that you trust.

The project's tests run everything here except TensorRT and CUDA themselves, which they replace by stand-ins.
"""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from line_image import WHITE, load_line
from numpy.typing import NDArray

PLUGIN = "CtcGreedyDecode"
DTYPES = {"pixels": np.uint8, "widths": np.int32, "labels": np.int32, "lengths": np.int32, "scores": np.float32}


def text_of(labels: NDArray[np.int32], length: int, charset: list[str]) -> str:
    """The first `length` of labels int32 (T,) as text; label i is character i - 1, and 0 the blank."""
    found = labels[:length].tolist()
    if max(found, default=0) > len(charset):
        raise ValueError(f"label {max(found)} is outside a charset of {len(charset)}: the engine has another's card")
    return "".join(charset[label - 1] for label in found if label > 0)


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

        self.cuda = cuda
        self._call(importlib.import_module, "pycuda.autoprimaryctx")  # pycuda makes no context, TensorRT uses this one
        self._stream = self._call(cuda.Stream)
        self.stream = self._stream.handle

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self.cuda.Error as error:
            raise RuntimeError(f"pycuda failed: {error}") from None

    def allocate(self, size: int) -> Any:
        return self._call(self.cuda.mem_alloc, size)

    def free(self, memory: Any) -> None:
        self._call(memory.free)

    def upload(self, memory: Any, array: NDArray) -> None:
        self._call(self.cuda.memcpy_htod, memory, array)

    def download(self, array: NDArray, memory: Any) -> None:
        self._call(self._stream.synchronize)
        self._call(self.cuda.memcpy_dtoh, array, memory)


def find_device() -> CudaPython | PyCuda:
    """Device memory through the package that is installed."""
    for kind in (CudaPython, PyCuda):
        try:
            return kind()
        except ModuleNotFoundError:
            continue
        except (ImportError, RuntimeError) as error:  # a driver's library that is missing, or its answer
            raise RuntimeError(f"there is no usable NVIDIA GPU here: {error}") from None
    raise RuntimeError("neither cuda-python nor pycuda (2021.1 or later) is installed: run `pip install cuda-python`")


class Reader:
    """Reads lines with an engine.

    Args:
        engine: an ICudaEngine.
        card: `card` of the `.json` beside it.
        device: CudaPython() or PyCuda().
    """

    def __init__(self, engine: Any, card: dict[str, Any], device: Any):
        self.engine, self.device, self.charset = engine, device, card["charset"]
        self.names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        if not {"labels", "lengths"} <= set(self.names):
            raise ValueError("the engine gives logits and no labels: export the model without --decode none")
        least, _, most = engine.get_tensor_profile_shape("pixels", 0)
        if least[2] != card["height"]:
            raise ValueError(f"the engine reads lines of height {least[2]}, its card says {card['height']}: copy both")
        self.context = engine.create_execution_context()
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
        for name in self.names:
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


def read_document(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The card beside an engine, and how it was built, with the entries that are used here checked."""
    try:
        document = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        card, built = document["card"], document["engine"]
        texts = [built["version"], built.get("plugin", ""), *card["charset"]]
        good = isinstance(card["charset"], list) and built["runtime"] in ("tensorrt-rtx", "tensorrt")
        good = good and all(isinstance(text, str) for text in texts) and texts[2:] != []
        good = good and all(type(card[name]) is int and card[name] > 0 for name in ("height", "max_width"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise ValueError(f"{path}.json is damaged or belongs to no engine: export the model again")
    return card, built


def load_plugin(trt: Any, library: Path) -> None:
    """Makes TensorRT know the decode of an engine that was exported with --decode plugin."""
    if not library.is_file():
        raise ValueError(f"the engine decodes with the plugin {library}, which is missing: copy it beside the engine")
    registry = trt.get_plugin_registry()
    if not any(creator.name == PLUGIN for creator in registry.all_creators):
        registry.load_library(str(library.resolve()))  # a bare name would be searched for elsewhere
    if not any(creator.name == PLUGIN for creator in registry.all_creators):
        raise RuntimeError(f"TensorRT cannot load the plugin {library}: build it with this TensorRT's headers")


def open_reader(path: str) -> Reader:
    """Opens an engine with the kind of TensorRT that built it, and the plugin that it decodes with."""
    card, built = read_document(path)
    version, plugin = built["version"], built.get("plugin", "")
    if plugin != Path(plugin).name:
        raise ValueError(f"{path}.json names the plugin {plugin!r}, which is not beside the engine: export it again")
    plan = Path(path).read_bytes()
    if built["runtime"] == "tensorrt-rtx":
        importlib.import_module("tensorrt_rtx_libs")  # loads the libraries that the bindings link to
        trt = importlib.import_module("tensorrt_rtx_bindings")
    else:
        trt = importlib.import_module("tensorrt")
    if trt.__version__ != version:
        raise RuntimeError(f"{path} needs {built['runtime']} {version}, and {trt.__version__} is installed")
    device = find_device()  # first: without a GPU, or a context, TensorRT says nothing that helps
    if plugin:
        load_plugin(trt, Path(path).with_name(plugin))
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError(f"{built['runtime']} {version} cannot load {path} on this GPU: export the model on it")
    return Reader(engine, card, device)


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
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
