"""The TensorRT back end without a GPU: the engine and CUDA are stand-ins, everything around them is real."""

import contextlib
import gc
import itertools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from standins import VERSION, pretend, write_engine

from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.runtime import load, tensorrt_engine
from htrcompress.runtime.backend import Open, open_backend
from htrcompress.runtime.cuda import Cuda
from htrcompress.runtime.engine_file import document_path, read_document


@pytest.fixture
def engine(tiny_model: Path, tmp_path: Path) -> Path:
    """A file that stands for an engine, its card beside it; its labels are 0 to 255."""
    card = replace(load_card(tiny_model), charset=tuple(chr(0x100 + i) for i in range(255)))
    return write_engine(tmp_path / "model.engine", card.to_json())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """TensorRT and CUDA that are not there."""
    return pretend(monkeypatch)


def test_lines_of_all_widths_are_read(engine: Path, machine: SimpleNamespace) -> None:
    recognizer = load(engine)
    assert recognizer.backend.device == "cuda" and recognizer.backend.name == "TensorRT-RTX"
    rng = np.random.default_rng(0)
    lines = [rng.integers(0, 256, (32, width), dtype=np.uint8) for width in (300, 5, 61, 800, 16, 1, 62)]
    readings = recognizer.read(lines)  # four at a time, which is all that the engine takes
    expected = [recognizer.card.characters().decode(line[0, ::4].tolist()) for line in lines]
    assert [reading.text for reading in readings] == expected
    wide = np.zeros((32, 801), np.uint8)
    errors = [isinstance(found, HtrError) for found in recognizer.read_each([lines[0], wide, lines[1]])]
    assert errors == [False, True, False]
    with pytest.raises(HtrError, match=r"4 lines of 800 pixels.*5 of 16"):
        recognizer.read_batch(np.zeros((5, 1, 32, 16), np.uint8), np.full(5, 16, np.int32))


def test_what_cannot_run_is_told(engine: Path, machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HtrError, match=r"runs on a GPU: use the \.onnx model"):
        load(engine, device="cpu")
    beside, (card, _) = document_path(engine), read_document(engine)
    engine.write_bytes(b"a plan"[:-1])
    with pytest.raises(HtrError, match=r"is damaged, or not the engine .*\.meta"):
        load(engine)
    write_engine(engine, card.to_json(), b"another plan")
    with pytest.raises(HtrError, match=r"cannot load .*on this GPU"):
        load(engine)
    write_engine(engine, replace(card, height=48).to_json())
    with pytest.raises(HtrError, match=r"reads lines of height 32, and its card says 48"):
        load(engine)
    write_engine(engine, card.to_json(), version="1.6.0")
    with pytest.raises(HtrError, match=r"needs TensorRT-RTX 1\.6\.0, and 1\.7\.1 is installed"):
        load(engine)
    good = beside.read_bytes()
    renamed = good.replace(b"engine.runtime=", b"engine.other=")
    for damaged in (b"", b"{}", good[: len(good) // 2], good + b"\xff", renamed):
        beside.write_bytes(damaged)
        with pytest.raises(HtrError, match=r"model\.engine\.meta"):
            load(engine)
    if hasattr(os, "mkfifo"):
        beside.unlink()
        os.mkfifo(beside)
        with pytest.raises(HtrError, match=r"model\.engine\.meta"):
            load(engine)


def test_without_cuda_it_is_one_sentence(engine: Path, machine: SimpleNamespace, monkeypatch: Any) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(tensorrt_engine, "_module", lambda name: SimpleNamespace(__version__=VERSION))
    with pytest.raises(HtrError, match=r"cuda-python is not installed|no usable NVIDIA GPU|the GPU cannot be used"):
        load(engine)


def test_a_device_that_engines_do_not_know_is_refused(engine: Path, machine: SimpleNamespace) -> None:
    assert load(engine, device="tensorrt-rtx").backend.device == load(engine, device="cuda").backend.device == "cuda"
    for device in ("cpu", "mps", "openvino"):
        with pytest.raises(HtrError, match=f"use the \\.onnx model on the {device}"):
            load(engine, device=device)


def test_an_engine_without_a_decoder_is_decoded_here(
    tiny_model: Path, tmp_path: Path, machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_engine(tmp_path / "model.none.engine", load_card(tiny_model).to_json())
    engine = machine.engine
    engine.NAMES, engine.num_io_tensors = ("pixels", "widths", "logits", "frames"), 4
    classes, lines, frames = 27, 2, 4
    logits = np.eye(classes, dtype=np.float32)[[[1, 1, 0, 2], [3, 3, 3, 3]]] * 9
    counts = np.array([4, 2], np.int32)

    def execute(stream: int) -> bool:
        for name, array in (("logits", logits), ("frames", counts)):
            engine.device.upload(engine.addresses[name], array)
        return True

    monkeypatch.setattr(engine, "execute_async_v3", execute)
    shapes = {"logits": (lines, frames, classes), "frames": (lines,)}
    monkeypatch.setattr(engine, "get_tensor_shape", shapes.__getitem__)
    readings = load(path).read([np.zeros((32, 16), np.uint8)] * 2)
    assert [reading.text for reading in readings] == [" a", "b"]
    with pytest.raises(HtrError, match="logits"):
        engine.NAMES = ("pixels", "widths", "labels", "lengths", "scores")
        engine.num_io_tensors = 5
        open_backend(path, Open(logits=True))


def test_threads_do_not_mix_their_batches(engine: Path, machine: SimpleNamespace) -> None:
    """The context and its buffers hold one batch: a lock keeps the threads of one process apart."""
    recognizer = load(engine)
    lines = [np.full((32, width), width % 250, np.uint8) for width in range(16, 116)]
    expected = [recognizer.read([line])[0].text for line in lines]
    waiting, execute = Barrier(2, timeout=0.05), machine.engine.execute_async_v3

    def slow(stream: int) -> bool:
        with contextlib.suppress(BrokenBarrierError):
            waiting.wait()  # gives another thread the time to overwrite the buffers
        return execute(stream)

    machine.engine.execute_async_v3 = slow
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda line: recognizer.read([line])[0].text, lines))
    assert found == expected


def test_closing_frees_the_memory_and_the_stream(engine: Path, machine: SimpleNamespace) -> None:
    device = machine.engine.device
    with load(engine) as recognizer:
        recognizer.read([np.zeros((32, 60), np.uint8)])
        assert any(device.bytes.values())
    assert device.bytes == {} and device.stream is None
    device.stream = 7
    recognizer = load(engine)
    recognizer.read([np.zeros((32, 60), np.uint8)])
    del recognizer
    gc.collect()
    assert device.bytes == {}


class FakeCudaRuntime:
    """The calls of cuda-python that are made here, which keep an account of what is not freed."""

    cudaError_t = SimpleNamespace(cudaSuccess=0)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.memory: set[int] = set()
        self.streams: set[int] = set()
        self.given = itertools.count(1)

    def cudaStreamCreate(self) -> tuple[int, int]:
        self.streams.add(number := next(self.given))
        return 0, number

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        self.streams.remove(stream)
        return (0,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        self.memory.add(number := next(self.given))
        return 0, number

    def cudaFree(self, memory: int) -> tuple[int]:
        self.memory.remove(memory)
        return (0,)


def test_cuda_frees_all_that_it_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeCudaRuntime()
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=api))
    device = Cuda("tensorrt")
    device.free(device.allocate(8))
    device.allocate(16)
    assert api.memory and api.streams
    device.close()
    device.close()
    assert not api.memory and not api.streams


def test_an_engine_with_a_plugin_wants_its_library(engine: Path, machine: SimpleNamespace) -> None:
    card = read_document(engine)[0].to_json()
    write_engine(engine, card, plugin="libhtr_ctc.so")
    with pytest.raises(HtrError, match=rf"no plugin library at {engine.parent}/libhtr_ctc\.so"):
        load(engine)
    write_engine(engine, card, plugin="../libhtr_ctc.so")  # code from elsewhere
    with pytest.raises(HtrError, match=r"model\.engine\.meta"):
        load(engine)
