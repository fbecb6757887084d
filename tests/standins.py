"""Stand-ins for TensorRT and CUDA where there is no GPU: they keep shapes, addresses and copies honest, and compute
nothing but a label that is read off the pixels, or what ONNX Runtime computes in the engine's place."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.runtime import tensorrt_engine
from htrcompress.runtime.engine_file import write_document

VERSION = "1.7.1"


class Device:
    """Device memory that is host memory, by number."""

    def __init__(self) -> None:
        self.stream, self.bytes = 7, {}

    def allocate(self, size: int) -> int:
        self.bytes[number := len(self.bytes) + 1] = bytearray(size)
        return number

    def free(self, memory: int) -> None:
        self.bytes[memory] = None

    def close(self) -> None:
        self.bytes, self.stream = {}, None

    def wait(self) -> None:
        """All is done at once."""

    def upload(self, memory: int, array: NDArray) -> None:
        self.bytes[memory][: array.nbytes] = array.tobytes()

    def download(self, array: NDArray, memory: int) -> None:
        array[...] = np.frombuffer(self.bytes[memory], array.dtype, array.size).reshape(array.shape)


class Engine:
    """An ICudaEngine and its IExecutionContext; the label of a frame is the first pixel of its four columns."""

    NAMES = ("pixels", "widths", "labels", "lengths", "scores")
    num_io_tensors = len(NAMES)
    type = "Float"

    def __init__(self, device: Device):
        self.device, self.shapes, self.addresses = device, {}, {}

    def create_execution_context(self) -> "Engine":
        return self

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [(1, 1, 32, 16), (4, 1, 32, 100), (4, 1, 32, 800)]

    def create_engine_inspector(self) -> SimpleNamespace:
        """Of TensorRT 11's JSON, what is read here."""
        outputs = [{"Name": "x", "Dimensions": [1, 8], "Format": "Row major linear", "DataType": self.type}]
        told = json.dumps({"Layers": ["a layer of which only the name is told", {"Name": "conv", "Outputs": outputs}]})
        return SimpleNamespace(get_engine_information=lambda kind: told)

    def get_tensor_name(self, place: int) -> str:
        return self.NAMES[place]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return name == "widths" or (shape[0] <= 4 and 16 <= shape[3] <= 800)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        lines, _, _, width = self.shapes["pixels"]
        return (lines, -(-width // 4)) if name == "labels" else (lines,)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def _read_output(self, name: str, shape: tuple[int, ...]) -> NDArray:
        array = np.empty(shape, np.int32)
        self.device.download(array, self.addresses[name])
        return array

    def _read(self, name: str, dtype: type) -> NDArray:
        array = np.empty(self.shapes[name], dtype)
        self.device.download(array, self.addresses[name])
        return array

    def execute_async_v3(self, stream: int) -> bool:
        pixels, lengths = self._read("pixels", np.uint8), (self._read("widths", np.int32) + 3) // 4
        labels = pixels[:, 0, 0, ::4].astype(np.int32)
        labels[np.arange(labels.shape[1]) >= lengths[:, None]] = -1
        for name, result in (("labels", labels), ("lengths", lengths)):
            self.device.upload(self.addresses[name], result)
        return stream == self.device.stream


class OnnxEngine(Engine):
    """An engine that reads what an ONNX file reads."""

    NAMES = (*Engine.NAMES, "logits")
    num_io_tensors = len(NAMES)

    def __init__(self, device: Device, path: Path):
        super().__init__(device)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.height = self.session.get_inputs()[0].shape[2]
        self.classes = self.session.get_outputs()[3].shape[2]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (
            (*super().get_tensor_shape("labels"), self.classes) if name == "logits" else super().get_tensor_shape(name)
        )

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [(1, 1, self.height, 1), (8, 1, self.height, 512), (32, 1, self.height, 4096)]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def execute_async_v3(self, stream: int) -> bool:
        inputs = {"pixels": self._read("pixels", np.uint8), "widths": self._read("widths", np.int32)}
        for name, result in zip(self.NAMES[2:], self.session.run(list(self.NAMES[2:]), inputs), strict=True):
            self.device.upload(self.addresses[name], result)
        return stream == self.device.stream


def pretend(monkeypatch: pytest.MonkeyPatch, onnx: Path | None = None) -> SimpleNamespace:
    """Puts the stand-ins in the places of TensorRT and CUDA; only `a plan` is an engine that can be loaded."""
    device = Device()
    built = SimpleNamespace(engine=OnnxEngine(device, onnx) if onnx else Engine(device))

    def deserialize(plan: bytes) -> Any:
        return built.engine if plan == b"a plan" else None

    logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})

    def runtime(log: object) -> SimpleNamespace:
        return SimpleNamespace(deserialize_cuda_engine=deserialize)

    formats = SimpleNamespace(JSON=1)
    module = SimpleNamespace(__version__=VERSION, Runtime=runtime, Logger=logger, LayerInformationFormat=formats)
    monkeypatch.setattr(tensorrt_engine, "_module", lambda name: module)
    monkeypatch.setattr(tensorrt_engine, "Cuda", lambda runtime: device)
    return built


def write_engine(path: Path, card: str, plan: bytes = b"a plan", **built: str) -> Path:
    """A file that stands for an engine, with the card beside it."""
    path.write_bytes(plan)
    digest = hashlib.sha256(plan).hexdigest()
    engine = {"runtime": "tensorrt-rtx", "version": VERSION, "precision": "fp32", "sha256": digest} | built
    write_document(path, Card.from_json(card, "the engine"), engine)
    return path
