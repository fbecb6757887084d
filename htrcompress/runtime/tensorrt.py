"""A TensorRT engine, decoder included, run on an NVIDIA GPU by the kind of TensorRT that built it.

`model.engine.json` beside the engine holds the card and says whether `tensorrt` or `tensorrt_rtx` built it, and in
which version: an engine runs on that version only. An engine is code: load only those that you trust.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.errors import HtrError, missing_extra

DTYPES = {"labels": np.int32, "lengths": np.int32, "scores": np.float32, "logits": np.float32}
PAPER = 255


class TensorRtBackend:
    """Runs an `.engine` file that `htrcompress.export --trt` built.

    Args:
        path: the engine.

    Raises:
        HtrError: the engine or its card is missing or damaged, its TensorRT is not installed or of another version,
            or there is no usable GPU.
    """

    device = "cuda"

    def __init__(self, path: Path):
        self.card, built = _document(path)
        self.name = "TensorRT-RTX" if built["runtime"] == "tensorrt-rtx" else "TensorRT"
        trt = _module(built["runtime"])
        if trt.__version__ != built["version"]:
            raise HtrError(
                f"{path} needs {self.name} {built['version']}, and {trt.__version__} is installed: build it anew"
            )
        self._cuda = _Cuda()
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise HtrError(f"cannot read {path}: {error.strerror}") from None
        engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
        if engine is None:
            raise HtrError(f"{self.name} cannot load {path} on this GPU: build it here with `htrcompress.export --trt`")
        self._start(engine)

    def _start(self, engine: Any) -> None:
        self._engine, self._context = engine, engine.create_execution_context()
        least, _, most = engine.get_tensor_profile_shape("pixels", 0)
        self._least_width, self._most = least[3], (most[0], most[3])
        self._memory: dict[str, tuple[int, int]] = {}

    def run(
        self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """One batch; shapes as in `recognizer.Backend`."""
        lines, _, _, width = pixels.shape
        if lines > self._most[0] or width > self._most[1]:
            raise HtrError(
                f"the engine takes up to {self._most[0]} lines of {self._most[1]} pixels, not {lines} of {width}: read "
                "fewer at a time, or build it with a larger --profile"
            )
        if width < self._least_width:
            pixels = np.pad(pixels, ((0, 0),) * 3 + ((0, self._least_width - width),), constant_values=PAPER)
        for name, array in (("pixels", pixels), ("widths", widths)):
            self._context.set_input_shape(name, array.shape)
            self._cuda.upload(self._buffer(name, array.nbytes), np.ascontiguousarray(array))
        results = {}
        for name in map(self._engine.get_tensor_name, range(self._engine.num_io_tensors)):
            if name in DTYPES:
                results[name] = np.empty(tuple(self._context.get_tensor_shape(name)), DTYPES[name])
                self._buffer(name, results[name].nbytes)
            self._context.set_tensor_address(name, self._memory[name][1])
        if not self._context.execute_async_v3(self._cuda.stream):
            raise HtrError(f"{self.name} failed on {lines} lines of {width} pixels; a smaller batch may pass")
        for name in ("labels", "lengths", "scores"):
            self._cuda.download(results[name], self._memory[name][1])
        return results["labels"], results["lengths"], results["scores"]

    def _buffer(self, name: str, size: int) -> int:
        """Device memory for a tensor, as large as any batch needed so far."""
        if self._memory.get(name, (0, 0))[0] < size:
            if name in self._memory:
                self._cuda.free(self._memory.pop(name)[1])
            self._memory[name] = (size, self._cuda.allocate(size))
        return self._memory[name][1]


class _Cuda:
    """A stream and device memory, through cuda-python."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError:
            raise missing_extra("cuda-python", "tensorrt") from None
        self.api = runtime
        self.stream = int(self._call("cudaStreamCreate"))

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            status, *results = getattr(self.api, name)(*arguments)
        except RuntimeError as error:  # no driver
            raise HtrError(f"there is no usable NVIDIA GPU here: {error}") from None
        if status != self.api.cudaError_t.cudaSuccess:
            reason = self.api.cudaGetErrorString(status)[1].decode()
            raise HtrError(f"the GPU cannot be used: {name} says {reason}")
        return results[0] if results else None

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, memory: int) -> None:
        self._call("cudaFree", memory)

    def upload(self, memory: int, array: NDArray[Any]) -> None:
        kind = self.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpy", memory, array.ctypes.data, array.nbytes, kind)

    def download(self, array: NDArray[Any], memory: int) -> None:
        self._call("cudaStreamSynchronize", self.stream)
        kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpy", array.ctypes.data, memory, array.nbytes, kind)


def _document(path: Path) -> tuple[Card, dict[str, str]]:
    """The card of an engine, and what built it: `runtime`, `version`."""
    beside = Path(f"{path}.json")
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        card = Card.from_json(json.dumps(document["card"]), str(beside))
        return card, {name: str(document["engine"][name]) for name in ("runtime", "version")}
    except (OSError, ValueError, KeyError, TypeError):
        raise HtrError(f"{beside} is missing or damaged, and with it the card: export the model again") from None


def _module(runtime: str) -> Any:
    """The TensorRT that an engine needs."""
    try:
        if runtime == "tensorrt":
            return importlib.import_module("tensorrt")
        importlib.import_module("tensorrt_rtx_libs")  # loads the libraries that the bindings link to
        return importlib.import_module("tensorrt_rtx_bindings")
    except ModuleNotFoundError:
        raise missing_extra(runtime, "tensorrt" if runtime == "tensorrt" else "rtx") from None
    except (ImportError, OSError) as error:
        raise HtrError(f"{runtime} is installed but cannot be loaded: {error}") from None
