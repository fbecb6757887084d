"""A TensorRT engine, decoder included, run on an NVIDIA GPU by the kind of TensorRT that built it.

`model.engine.meta` beside the engine holds the card and says whether `tensorrt` or `tensorrt_rtx` built it, and in
which version: an engine runs on that version only. An engine is code: load only those that you trust.
"""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError, Unavailable, missing_extra
from htrcompress.image import PAPER
from htrcompress.runtime.backend import Open, Output
from htrcompress.runtime.engine_file import EXTRA, read_document, read_plan
from htrcompress.runtime.onnx_backend import precision_of

DTYPES = {
    "labels": np.int32,
    "lengths": np.int32,
    "scores": np.float32,
    "logits": np.float32,
    "frames": np.int32,
}
DECODED = ("labels", "lengths", "scores")
KIND = re.compile(r"format|data_?type", re.IGNORECASE)
TYPES = {
    "FP16": re.compile(r"\bhalf\b|fp16", re.IGNORECASE),
    "FP32": re.compile(r"\bfloat\b|fp32", re.IGNORECASE),
    "INT8": re.compile(r"\bint8\b", re.IGNORECASE),
}
"""What the engine inspector calls the types that matter here."""
PLUGIN = "CtcGreedyDecode"

Arrays = dict[str, NDArray[Any]]


class Engine:
    """An engine on the GPU: `upload`, `execute` and `download` are its three steps.

    Args:
        path: an `.engine` file, its `.json` beside it.

    Attributes:
        card: what the model says of itself.
        name: the TensorRT that runs it, for people.
        outputs: the names of what it gives.
        most: the most lines, and the widest in pixels, that it takes at once.

    Raises:
        Unavailable: its TensorRT is not installed or of another version, or there is no usable GPU.
        HtrError: the engine, its card or its plugin is missing or damaged, or of another kind of GPU.
    """

    def __init__(self, path: Path):
        self.card, built = read_document(path)
        self.name = "TensorRT-RTX" if built["runtime"] == "tensorrt-rtx" else "TensorRT"
        plan = read_plan(path, built)
        trt = _module(built["runtime"])
        if trt.__version__ != built["version"]:
            raise Unavailable(
                f"{path} needs {self.name} {built['version']}, and {trt.__version__} is installed: build it anew"
            )
        self._cuda = Cuda(built["runtime"])
        if built.get("plugin"):
            load_plugin(trt, path.resolve().parent / built["plugin"])
        engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
        if engine is None:
            raise HtrError(f"{self.name} cannot load {path} on this GPU: build it here with `htrcompress.export --trt`")
        self._trt, self._engine, self._context = trt, engine, engine.create_execution_context()
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        self.outputs = tuple(name for name in names if name in DTYPES)
        least, _, most = engine.get_tensor_profile_shape("pixels", 0)
        if most[2] != self.card.height:
            raise HtrError(
                f"{path} reads lines of height {most[2]}, and its card says {self.card.height}: export it again"
            )
        self._least, self.most = (least[0], least[3]), (most[0], most[3])
        self._memory: dict[str, tuple[int, int]] = {}
        self._results: Arrays = {}

    def upload(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> int:
        """Takes a batch to the GPU, uint8 (B, 1, H, W) and int32 (B,); the bytes that travel.

        Raises:
            HtrError: the engine was not built for so many lines, or such wide ones.
        """
        lines, _, _, width = pixels.shape
        if not self._least[0] <= lines <= self.most[0] or width > self.most[1]:
            fewest = f"{self._least[0]} to " if self._least[0] > 1 else "up to "
            raise HtrError(
                f"the engine takes {fewest}{self.most[0]} lines of {self.most[1]} pixels, not {lines} of {width}: read "
                "as many at a time, or build it with a larger --profile"
            )
        if width < self._least[1]:
            pixels = np.pad(pixels, ((0, 0),) * 3 + ((0, self._least[1] - width),), constant_values=PAPER)
        for name, array in (("pixels", pixels), ("widths", widths)):
            if not self._context.set_input_shape(name, array.shape):
                raise HtrError(f"the engine refuses {name} of shape {array.shape}: build it with a larger --profile")
            self._cuda.upload(self._buffer(name, array.nbytes), np.ascontiguousarray(array))
        self._results = {}
        for name in self.outputs:
            self._results[name] = np.empty(tuple(self._context.get_tensor_shape(name)), DTYPES[name])
            self._buffer(name, self._results[name].nbytes)
        for name, (_, address) in self._memory.items():
            self._context.set_tensor_address(name, address)
        return pixels.nbytes + widths.nbytes

    def execute(self) -> None:
        """Computes what was uploaded, and waits for it."""
        if not self._context.execute_async_v3(self._cuda.stream):
            raise HtrError(f"{self.name} failed on this batch; a smaller one may pass")
        self._cuda.wait()

    def download(self, names: tuple[str, ...]) -> Arrays:
        """Some of the results."""
        for name in names:
            self._cuda.download(self._results[name], self._memory[name][1])
        return {name: self._results[name] for name in names}

    def inspect(self) -> dict[str, int]:
        """How many layers give `FP16`, `FP32` or `INT8`, as the engine inspector says; empty where it says nothing.

        TensorRT calls the entry `Format/Datatype`, `Format` or `DataType`, by version.
        """
        told = self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON)
        counts: dict[str, int] = {}
        for layer in json.loads(told).get("Layers", []):
            outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
            entries = [str(value) for output in outputs for key, value in output.items() if KIND.search(key)]
            for name in {name for name, words in TYPES.items() if words.search(" ".join(entries))}:
                counts[name] = counts.get(name, 0) + 1
        return counts

    def _buffer(self, name: str, size: int) -> int:
        """Device memory for a tensor, as large as any batch needed so far."""
        if self._memory.get(name, (0, 0))[0] < size:
            if name in self._memory:
                self._cuda.free(self._memory.pop(name)[1])
            self._memory[name] = (size, self._cuda.allocate(size))
        return self._memory[name][1]


class TensorRtBackend:
    """Reads lines with an `.engine` file that `htrcompress.export --trt` built.

    Raises:
        HtrError: see `Engine`; or the engine gives logits and no labels.
    """

    device = "cuda"
    num_streams = 1

    def __init__(self, path: Path, options: Open = Open()):
        if options.device not in (None, "cuda", "tensorrt", "tensorrt-rtx"):
            raise HtrError(
                f"{path} is a TensorRT engine, which runs on a GPU: use the .onnx model on the {options.device}"
            )
        self._engine = Engine(path)
        self.card, self.name = self._engine.card, self._engine.name
        self.max_batch, self.max_width = self._engine.most
        self.arithmetic = precision_of(path)
        self._names = (*DECODED, "logits") if options.logits else DECODED
        if not set(DECODED) <= set(self._engine.outputs):
            raise HtrError(f"{path} gives no labels: it was exported with --decode none")

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> Output:
        """One batch; see `Backend.run`."""
        self._engine.upload(pixels, widths)
        self._engine.execute()
        return Output(**self._engine.download(self._names))

    def stream(self) -> "TensorRtBackend":
        """Itself: a batch has the whole GPU."""
        return self


class Cuda:
    """A stream and device memory, through cuda-python.

    Args:
        runtime: the TensorRT that they are for, whose extra holds cuda-python.

    Raises:
        Unavailable: cuda-python is not installed, or there is no usable GPU.
    """

    def __init__(self, runtime: str) -> None:
        try:
            from cuda.bindings import runtime as api
        except ImportError:
            raise missing_extra("cuda-python", EXTRA[runtime]) from None
        self.api = api
        self.stream = int(self._call("cudaStreamCreate"))

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            status, *results = getattr(self.api, name)(*arguments)
        except RuntimeError as error:  # no driver
            raise Unavailable(f"there is no usable NVIDIA GPU here: {error}") from None
        if status != self.api.cudaError_t.cudaSuccess:
            reason = self.api.cudaGetErrorString(status)[1].decode()
            if name == "cudaStreamCreate":  # the first call
                raise Unavailable(f"there is no usable NVIDIA GPU here: {reason}")
            raise HtrError(f"the GPU cannot be used: {name} says {reason}")
        return results[0] if results else None

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, memory: int) -> None:
        self._call("cudaFree", memory)

    def upload(self, memory: int, array: NDArray[Any]) -> None:
        kind = self.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpy", memory, array.ctypes.data, array.nbytes, kind)

    def wait(self) -> None:
        self._call("cudaStreamSynchronize", self.stream)

    def download(self, array: NDArray[Any], memory: int) -> None:
        kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpy", array.ctypes.data, memory, array.nbytes, kind)


def load_plugin(trt: Any, library: Path) -> None:
    """Makes TensorRT know the decode of `export/plugin`.

    Raises:
        HtrError: the library is missing, or TensorRT cannot load it.
    """
    if not library.is_file():
        raise HtrError(f"no plugin library at {library}: build it as export/README.md says")
    registry = trt.get_plugin_registry()
    if not any(creator.name == PLUGIN for creator in registry.all_creators):
        registry.load_library(str(library))
    if not any(creator.name == PLUGIN for creator in registry.all_creators):
        raise HtrError(f"TensorRT cannot load the plugin {library}: build it with this TensorRT's headers")


def _module(runtime: str) -> Any:
    """The TensorRT that an engine needs."""
    try:
        if runtime == "tensorrt":
            return importlib.import_module("tensorrt")
        importlib.import_module("tensorrt_rtx_libs")  # loads the libraries that the bindings link to
        return importlib.import_module("tensorrt_rtx_bindings")
    except ModuleNotFoundError:
        raise missing_extra(runtime, EXTRA[runtime]) from None
    except (ImportError, OSError) as error:
        raise Unavailable(f"{runtime} is installed but cannot be loaded: {error}") from None
