"""`export/python/read_engine.py`: the example reads what `htrcompress.load` reads; TensorRT and CUDA are stand-ins."""

import ctypes
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from standins import Device, OnnxEngine, write_engine

import htrcompress
from htrcompress.runtime.engine_file import document_path

EXAMPLE = Path(__file__).parents[1] / "export" / "python" / "read_engine.py"
SUCCESS = 0


def cuda(device: Device) -> SimpleNamespace:
    """cuda-python's functions over host memory: each gives a status, and its result if it has one."""

    def copy(target: int, source: int, size: int, kind: int) -> tuple[int]:
        if kind == 1:
            device.bytes[target][:size] = ctypes.string_at(source, size)
        else:
            ctypes.memmove(target, bytes(device.bytes[source][:size]), size)
        return (SUCCESS,)

    def free(memory: int) -> tuple[int]:
        device.free(memory)
        return (SUCCESS,)

    return SimpleNamespace(
        cudaError_t=SimpleNamespace(cudaSuccess=SUCCESS),
        cudaStreamCreate=lambda: (SUCCESS, device.stream),
        cudaStreamSynchronize=lambda stream: (SUCCESS,),
        cudaMalloc=lambda size: (SUCCESS, device.allocate(size)),
        cudaMemcpy=copy,
        cudaFree=free,
    )


def test_the_example_reads_what_the_recogniser_reads(
    tiny_onnx: Path,
    tmp_path: Path,
    picture: Callable[..., NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = [tmp_path / f"{width}.png" for width in (300, 61, 40)]
    for path in images:
        Image.fromarray(picture(int(path.stem), height=50)).save(path)
    device = Device()
    loaded = SimpleNamespace(deserialize_cuda_engine=lambda plan: OnnxEngine(device, tiny_onnx))
    trt: Any = SimpleNamespace(Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda *_: None}))
    trt.Runtime = lambda logger: loaded
    bindings = SimpleNamespace(runtime=cuda(device))
    modules = {"tensorrt": trt, "cuda": SimpleNamespace(bindings=bindings), "cuda.bindings": bindings}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    recognizer = htrcompress.load(tiny_onnx)
    engine = write_engine(tmp_path / "model.engine", recognizer.card.to_json())
    monkeypatch.setattr(sys, "argv", ["read_engine.py", str(engine), *map(str, images)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    expected = [f"{path}\t{found.text}" for path, found in zip(images, recognizer.read(images), strict=True)]
    assert capsys.readouterr().out.splitlines() == expected
    assert all(memory is None for memory in device.bytes.values())  # all is freed
    assert document_path(engine).name == "model.engine.meta"
