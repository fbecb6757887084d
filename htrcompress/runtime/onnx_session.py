"""ONNX Runtime sessions on the device that was asked for, and never quietly on another.

`cpu`, `cuda`, `tensorrt` and `openvino` are providers of one or another build of ONNX Runtime. `tensorrt-rtx` is a
library of its own, registered with a plain ONNX Runtime, or built in. Where no device is named, CUDA or the CPU is
taken: the TensorRT providers build engines when they first read, for seconds or minutes.
"""

import contextlib
from pathlib import Path
from typing import Any

from htrcompress.card import Card
from htrcompress.errors import HtrError, Unavailable, first_line
from htrcompress.runtime.forking import keep_in_children
from htrcompress.utils.machine import cores

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
INSTALL = {
    "cpu": "pip install 'htrcompress[cpu]'",
    "cuda": "pip uninstall onnxruntime && pip install 'htrcompress[gpu]'",
    "openvino": "pip uninstall onnxruntime && pip install 'htrcompress[openvino]'",
    "tensorrt": "pip uninstall onnxruntime && pip install 'htrcompress[gpu,tensorrt]'",
    "tensorrt-rtx": "pip install 'htrcompress[rtx-ep]'",
}
OPTION_PREFIXES = {"tensorrt": "trt", "tensorrt-rtx": "nv"}
"""Providers that build engines, and how the names of their options begin."""
ENGINE_BATCH, ENGINE_WIDTH = 32, 1024
"""The largest batch and the typical width of these engines."""
ERRORS_ONLY = 3
HEAVY = frozenset(
    "Conv ConvTranspose FusedConv ConvInteger QLinearConv MatMul FusedMatMul MatMulInteger QLinearMatMul Gemm "
    "FusedGemm QGemm LSTM GRU Attention MultiHeadAttention".split()
)
"""Operators that must not be computed elsewhere; sizes of shapes are computed on the CPU by every provider."""


def open_session(
    model: Path | bytes,
    where: str,
    device: str | None = None,
    threads: int | None = None,
    optimized: Path | None = None,
) -> tuple[Any, str]:
    """An InferenceSession, and the device that it computes on.

    Args:
        model: an exported ONNX file, or its bytes.
        where: what to call it in an error.
        device: one of `PROVIDERS`; `cuda` where it works, else `cpu`, if not given.
        threads: CPU threads; by default one for each core that the process may use.
        optimized: where ONNX Runtime writes the graph that it runs; a device must be given.

    Raises:
        Unavailable: ONNX Runtime is not installed, the device is not there, or it does not run the whole network.
        HtrError: the file is damaged.
    """
    threads = threads or cores()
    if device:
        return _open(model, where, device, threads, optimized), device
    if PROVIDERS["cuda"] in onnxruntime().get_available_providers():
        with contextlib.suppress(HtrError):  # no driver; a fault of the file is reported when the CPU opens it
            return _open(model, where, "cuda", threads), "cuda"
    return _open(model, where, "cpu", threads), "cpu"


def stored_card(session: Any, where: str) -> Card:
    """The card in the metadata of an opened model.

    Raises:
        HtrError: see `Card.from_metadata`; or the metadata is not UTF-8.
    """
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise HtrError(f"{where} is damaged: its metadata is not UTF-8; export the model again") from None
    return Card.from_metadata(metadata, where)


def present() -> list[str]:
    """The devices whose providers are installed and find their driver."""
    found = [name for name, provider in PROVIDERS.items() if provider in onnxruntime().get_available_providers()]
    return found + ["tensorrt-rtx"] * ("tensorrt-rtx" not in found and bool(_plugin_devices()))


def onnxruntime() -> Any:
    """The module of that name.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import onnxruntime as module
    except ImportError:
        raise Unavailable(
            "onnxruntime is not installed: run `pip install 'htrcompress[cpu]'`, or on a machine with an NVIDIA GPU "
            "`pip install 'htrcompress[gpu]'`; never both, since they share one module"
        ) from None
    return module


def _open(model: Path | bytes, where: str, device: str, threads: int, optimized: Path | None = None) -> Any:
    ort, provider = onnxruntime(), PROVIDERS[device]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    if optimized:
        options.optimized_model_filepath = str(optimized)
    # a thread that waits by spinning takes its core from whoever could use it, the session's other threads included
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cpu":  # its kernel for the two in one takes six times as long as either
        options.add_session_config_entry("optimization.disable_specified_optimizers", "SkipLayerNormFusion")
    else:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    chosen: dict[str, Any] = {}
    if provider in ort.get_available_providers():
        chosen["providers"] = [(provider, _settings(model, where, device, threads))]
    elif device == "tensorrt-rtx" and (devices := _plugin_devices()):
        options.add_provider_for_devices(devices, _settings(model, where, device, threads))
    else:
        raise _absent(device)
    session = _session(model, where, options, **chosen)
    if session.get_providers()[0] != provider:  # the provider is installed, and its driver or a library is not
        raise _absent(device)
    if device != "cpu":
        _check_placement(session, where, device)
    return session


def _check_placement(session: Any, where: str, device: str) -> None:
    """Refuses a session whose provider left some of the network to the CPU, which ONNX Runtime does in silence.

    `session.disable_cpu_ep_fallback` would refuse every graph, since sizes of shapes are always computed on the CPU.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):  # ONNX Runtime before 1.24 does not say
        return
    parts = [part for part in session.get_provider_graph_assignment_info() if part.ep_name == PROVIDERS["cpu"]]
    elsewhere = sorted({node.op_type for part in parts for node in part.get_nodes()} & HEAVY)
    if elsewhere:
        raise Unavailable(
            f"ONNX Runtime would compute {', '.join(elsewhere)} of {where} on the CPU, not on {device}: export the "
            f"model in another precision, or choose the device cpu"
        )


def _session(model: Path | bytes, where: str, options: Any, **chosen: Any) -> Any:
    try:
        session = onnxruntime().InferenceSession(model, options, enable_fallback=0, **chosen)
    except Exception as error:  # its exception classes have no common base
        raise HtrError(f"{where} is damaged or not an ONNX model: {first_line(error)}") from None
    keep_in_children(session)
    return session


def _settings(model: Path | bytes, where: str, device: str, threads: int) -> dict[str, str]:
    """A provider's options."""
    if device == "cuda":
        return {"use_tf32": "0"}  # FP32 is FP32
    if device == "openvino":
        return {"device_type": "CPU", "num_of_threads": str(threads)}
    if device not in OPTION_PREFIXES:
        return {}
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(model, where, options, providers=[PROVIDERS["cpu"]])  # for the card alone
    card = stored_card(session, where)
    sizes = {
        "min": (1, 1),
        "opt": (ENGINE_BATCH, min(ENGINE_WIDTH, card.max_width)),
        "max": (ENGINE_BATCH, card.max_width),
    }
    return {
        f"{OPTION_PREFIXES[device]}_profile_{name}_shapes": f"pixels:{lines}x1x{card.height}x{width},widths:{lines}"
        for name, (lines, width) in sizes.items()
    }


def _plugin_devices() -> list[Any]:
    """The GPUs of TensorRT-RTX's own library, registered with ONNX Runtime; none where either is missing."""
    try:
        import onnxruntime_ep_nv_tensorrt_rtx as plugin
    except ImportError:
        return []
    ort, name = onnxruntime(), PROVIDERS["tensorrt-rtx"]
    try:
        if not any(device.ep_name == name for device in ort.get_ep_devices()):
            ort.register_execution_provider_library(name, plugin.get_library_path())
        return [device for device in ort.get_ep_devices() if device.ep_name == name]
    except Exception:  # no driver, or an ONNX Runtime too old for it
        return []


def _absent(device: str) -> Unavailable:
    there = ", ".join(present())
    return Unavailable(f"ONNX Runtime finds no usable {device} here, only {there}; for {device}: {INSTALL[device]}")
