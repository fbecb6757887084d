"""A TensorRT engine from an exported ONNX graph, with TensorRT-RTX or TensorRT: one code path for both.

TensorRT-RTX builds on any machine, without a GPU, for several generations of RTX cards at once; TensorRT builds for the
GPU of the machine it runs on. Beside `model.engine` there is `model.engine.meta` with the model's card and how the
engine was built. This is the one place in `export/` that knows which of the two is installed.
"""

import hashlib
import importlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from htrcompress.errors import HtrError, missing_extra
from htrcompress.export.graph import WIDTH, Graph, copy_of
from htrcompress.export.options import Profile, TrtFlavour
from htrcompress.export.package import LIBRARY
from htrcompress.export.precision import Island, half_share, islands, require_half, tensorrt_shares
from htrcompress.runtime.cuda import Cuda
from htrcompress.runtime.engine_file import write_document
from htrcompress.runtime.tensorrt_engine import load_plugin
from htrcompress.utils.io import write_atomic

CAPABILITIES = ("SM86", "SM89", "SM120")
"""GPU generations that an RTX engine is built for: Ampere, Ada and Blackwell."""


@dataclass(frozen=True)
class Runtime:
    """TensorRT in one of its two forms.

    Attributes:
        name: `tensorrt-rtx` or `tensorrt`.
        version: its version; an engine runs on this version only.
        module: the Python module.
    """

    name: str
    version: str
    module: Any


@dataclass(frozen=True)
class EngineInfo:
    """How an engine was built, as written to the document beside it.

    Attributes:
        runtime: `tensorrt-rtx` or `tensorrt`.
        version: version of the runtime that built it; it runs on this one only.
        capabilities: the GPU generations it runs on, or `local` for the GPU that built it.
        precision: `fp16`, `int8` or `fp32`; FP32 without TF32, so it computes what the ONNX file computes.
        profile: the inputs it takes.
        half_share: share of its multiplications in half precision.
        integer_share: share of its multiplications in INT8.
        islands: the FP32 parts of an FP16 engine.
        plugin: the library beside the engine that decodes; empty if standard operators decode.
        seconds: time to build.
        bytes: size of the file.
        sha256: of the file.
    """

    runtime: str
    version: str
    capabilities: tuple[str, ...]
    precision: str
    profile: Profile
    half_share: float
    integer_share: float
    islands: tuple[Island, ...]
    plugin: str
    seconds: float
    bytes: int
    sha256: str


def find_runtime(name: TrtFlavour = "auto") -> Runtime:
    """The installed TensorRT.

    Args:
        name: `tensorrt-rtx`, `tensorrt`, or `auto` for the first of these that is installed.

    Raises:
        HtrError: it is not installed, or cannot be loaded here.
    """
    for module in {"auto": _MODULES["tensorrt-rtx"] + _MODULES["tensorrt"], **_MODULES}[name]:
        found = _load(module)
        if found is not None:
            return Runtime("tensorrt" if module == "tensorrt" else "tensorrt-rtx", found.__version__, found)
    if name == "tensorrt":
        raise missing_extra("tensorrt", "tensorrt")
    raise missing_extra("tensorrt-rtx-cu13-libs and tensorrt-rtx-cu13-bindings", "rtx")


def build_engine(
    graph: Graph, engine_path: Path, *, profile: Profile, runtime: TrtFlavour = "auto", plugin: Path | None = None
) -> EngineInfo:
    """Builds an engine, strongly typed: every layer computes in the type that the ONNX graph gives it.

    Args:
        graph: an exported graph of any precision.
        engine_path: the engine to write; its card goes to the same name with `.meta` added.
        profile: the range of inputs that it must take.
        runtime: see `find_runtime`.
        plugin: the library of `export/plugin`, for a graph that decodes with it; copied beside the engine.

    Raises:
        HtrError: TensorRT is not installed or refuses the graph, an FP16 graph is not FP16 as TensorRT parses it, or
            there is a plugin and no GPU.
    """
    found = find_runtime(runtime)
    if plugin:
        Cuda(found.name).close()  # without a GPU, TensorRT aborts the process as soon as it meets a plugin
        load_plugin(found.module, plugin)
    builder = _Builder(found.module, graph.name)
    halves = half_share(graph) > 0
    share, integers = tensorrt_shares(found.module, builder.parse(_fixed(graph)))
    if halves:
        require_half(share, f"{graph.name} as {found.name} parses it")
    started = time.perf_counter()
    plan = builder.build(builder.parse(graph.data), profile, graph.card.height, found.name)
    engine = EngineInfo(
        runtime=found.name,
        version=found.version,
        capabilities=CAPABILITIES if found.name == "tensorrt-rtx" else ("local",),
        precision="fp16" if halves else "int8" if integers else "fp32",
        profile=profile,
        half_share=share,
        integer_share=integers,
        islands=islands(graph) if halves else (),
        plugin=LIBRARY if plugin else "",
        seconds=round(time.perf_counter() - started, 2),
        bytes=len(plan),
        sha256=hashlib.sha256(plan).hexdigest(),
    )
    if plugin:
        write_atomic(engine_path.with_name(LIBRARY), plugin.read_bytes())
    write_atomic(engine_path, plan)
    write_document(engine_path, graph.card, asdict(engine))
    return engine


_MODULES = {"tensorrt-rtx": ["tensorrt_rtx", "tensorrt_rtx_bindings"], "tensorrt": ["tensorrt"]}


def _load(module: str) -> Any:
    """A TensorRT module, or None where it is not installed."""
    try:
        if module == "tensorrt_rtx_bindings":
            importlib.import_module("tensorrt_rtx_libs")  # loads the libraries that the bindings link to
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError) as error:
        raise HtrError(f"{module} is installed but cannot be loaded: {error}") from None


def _fixed(graph: Graph) -> bytes:
    """The graph for one line of `WIDTH` pixels, so that TensorRT knows every shape."""
    fixed = copy_of(graph.proto)
    for value in fixed.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_value = WIDTH if axis.dim_param == "width" else 1
    return bytes(fixed.SerializeToString())


class _Builder:
    """A builder whose messages are collected instead of printed."""

    def __init__(self, trt: Any, where: str):
        messages: list[str] = []
        serious = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

        class Log(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in serious:
                    messages.append(message)

        self.trt, self.where, self.messages, self.log = trt, where, messages, Log()
        try:
            self.builder = trt.Builder(self.log)
        except (RuntimeError, TypeError) as error:  # TensorRT without a GPU gives no builder
            raise self._failure("cannot start here", str(error)) from None

    def parse(self, data: bytes) -> Any:
        """An INetworkDefinition from the bytes of an ONNX graph."""
        network = self.builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = self.trt.OnnxParser(network, self.log)
        if not parser.parse(data):
            raise self._failure("cannot read the graph", parser.get_error(0).desc() if parser.num_errors else "")
        self.parser = parser  # owns weights that the network refers to
        return network

    def build(self, network: Any, profile: Profile, height: int, runtime: str) -> bytes:
        """The serialised engine."""
        trt, config = self.trt, self.builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the engine inspector
        if hasattr(trt.BuilderFlag, "TF32"):
            config.clear_flag(trt.BuilderFlag.TF32)
        if runtime == "tensorrt-rtx":
            config.num_compute_capabilities = len(CAPABILITIES)
            for place, name in enumerate(CAPABILITIES):
                config.set_compute_capability(getattr(trt.ComputeCapability, name), place)
        shapes = self.builder.create_optimization_profile()
        sizes = list(zip(profile.batch, profile.width, strict=True))
        shapes.set_shape("pixels", *((batch, 1, height, width) for batch, width in sizes))
        shapes.set_shape("widths", *((batch,) for batch, _ in sizes))
        config.add_optimization_profile(shapes)
        plan = self.builder.build_serialized_network(network, config)
        if plan is None:
            raise self._failure("cannot build an engine", "")
        return bytes(plan)

    def _failure(self, what: str, message: str) -> HtrError:
        reason = (self.messages or [message])[0] or "no reason given"
        return HtrError(f"TensorRT {what} for {self.where}: {reason.splitlines()[0]}")
