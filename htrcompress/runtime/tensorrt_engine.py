"""A TensorRT engine on an NVIDIA GPU, run by the kind of TensorRT that built it: upload, execute, download.

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
from htrcompress.runtime.cuda import Cuda
from htrcompress.runtime.engine_file import EXTRA, read_document, read_plan

DTYPES = {
    "labels": np.int32,
    "lengths": np.int32,
    "scores": np.float32,
    "logits": np.float32,
    "frames": np.int32,
}
KIND = re.compile(r"format|data_?type", re.IGNORECASE)
TYPES = {
    "FP16": re.compile(r"\bhalf\b|fp16", re.IGNORECASE),
    "FP32": re.compile(r"\bfloat\b|fp32", re.IGNORECASE),
    "INT8": re.compile(r"\bint8\b", re.IGNORECASE),
}
"""Data types and how the engine inspector calls them."""
PLUGIN = "CtcGreedyDecode"

Arrays = dict[str, NDArray[Any]]


class Engine:
    """An engine on the GPU: `upload`, `execute` and `download` are its three steps.

    Args:
        path: an `.engine` file, its `.meta` beside it.

    Attributes:
        card: the model's card.
        name: the TensorRT that runs it, for tables.
        outputs: the names of its outputs.
        max_batch: the most lines that it takes at once.
        max_width: the widest line in pixels that it takes.

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
                f"{path} needs {self.name} {built['version']}, and {trt.__version__} is installed: build it again"
            )
        self._cuda = Cuda(built["runtime"])
        try:
            self._load(path, plan, trt, built.get("plugin"))
        except BaseException:
            self._cuda.close()
            raise

    def _load(self, path: Path, plan: bytes, trt: Any, plugin: str | None) -> None:
        if plugin:
            load_plugin(trt, path.resolve().parent / plugin)
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
        self._min_batch, self._min_width = least[0], least[3]
        self.max_batch, self.max_width = most[0], most[3]
        self._memory: dict[str, tuple[int, int]] = {}
        self._results: Arrays = {}

    def upload(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> int:
        """Copies a batch to the GPU, uint8 (B, 1, H, W) and int32 (B,), and returns the number of bytes.

        Raises:
            HtrError: the engine was not built for so many lines, or such wide ones.
        """
        lines, _, _, width = pixels.shape
        if not self._min_batch <= lines <= self.max_batch or width > self.max_width:
            fewest = f"{self._min_batch} to " if self._min_batch > 1 else "up to "
            raise HtrError(
                f"the engine takes {fewest}{self.max_batch} lines of {self.max_width} pixels, not {lines} of {width}: "
                "read as many at a time, or build it with a larger --profile"
            )
        if width < self._min_width:
            pixels = np.pad(pixels, ((0, 0),) * 3 + ((0, self._min_width - width),), constant_values=PAPER)
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
        """The named outputs of the last batch, as arrays."""
        for name in names:
            self._cuda.download(self._results[name], self._memory[name][1])
        return {name: self._results[name] for name in names}

    def inspect(self) -> dict[str, int]:
        """How many layers give `FP16`, `FP32` or `INT8`, as the engine inspector says; empty where it says nothing.

        TensorRT calls the entry `Format/Datatype`, `Format` or `DataType`, by version.
        """
        document = self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON)
        counts: dict[str, int] = {}
        for layer in json.loads(document).get("Layers", []):
            outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
            entries = [str(value) for output in outputs for key, value in output.items() if KIND.search(key)]
            for name in {name for name, words in TYPES.items() if words.search(" ".join(entries))}:
                counts[name] = counts.get(name, 0) + 1
        return counts

    def close(self) -> None:
        """Frees the engine, its memory on the GPU and its stream; may be called twice."""
        self._memory.clear()
        self._context = self._engine = None  # before the stream that they compute on
        self._cuda.close()

    def _buffer(self, name: str, size: int) -> int:
        """The address of device memory for a tensor, as large as any batch needed so far."""
        if self._memory.get(name, (0, 0))[0] < size:
            if name in self._memory:
                self._cuda.free(self._memory.pop(name)[1])
            self._memory[name] = (size, self._cuda.allocate(size))
        return self._memory[name][1]


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
