"""`export/python/embed.py` spells as the library does; TensorRT and CUDA are stand-ins here."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from standins import VERSION, Device, Engine, write_engine

from htrcompress.card import Card
from htrcompress.charset import Charset

FOLDER = Path(__file__).parents[1] / "export" / "python"
CHARSET = tuple(chr(0x100 + i) for i in range(255))
CARD = Card("tiny", {"family": "gated"}, CHARSET, height=32, stride=4, max_width=1000).to_json()


@pytest.fixture(scope="module")
def embed() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("embed")
        for name in ("embed", "line_image"):
            del sys.modules[name]


def test_nothing_of_the_library_is_imported() -> None:
    lines = [line for file in FOLDER.glob("*.py") for line in file.read_text().splitlines()]
    assert not [line for line in lines if "import" in line.split() and "htrcompress" in line]


def test_labels_become_the_text_that_they_are_here(embed: ModuleType) -> None:
    charset = Charset(tuple(" abcdé"))
    for labels in ([1, 2, 6, 6, -1, -1], [6, 0, 5], [], [-1]):
        row = np.array(labels, np.int32)
        length = sum(label >= 0 for label in labels)
        assert embed.text_of(row, length, list(charset.characters)) == charset.decode(labels[:length])


def test_batches_keep_every_line_its_text(embed: ModuleType) -> None:
    charset = [chr(0x100 + i) for i in range(255)]
    device = Device()
    reader = embed.Reader(Engine(device), {"height": 32, "max_width": 1000, "charset": charset}, device)
    assert (reader.height, reader.max_width, reader.max_batch) == (32, 800, 4)
    rng = np.random.default_rng(2)
    widths = (300, 5, 61, 800, 16, 1, 17, 62, 400, 120)
    lines = [rng.integers(0, 256, (32, width), dtype=np.uint8) for width in widths]
    expected = [Charset(tuple(charset)).decode(line[0, ::4].tolist()) for line in lines]
    assert reader.read(lines) == expected
    assert reader.read(lines[:3]) == expected[:3]
    assert reader.read([]) == []


class PyCuda(Device):
    """pycuda.driver, which makes nothing before there is a context."""

    class Error(Exception):
        pass

    class Memory(int):
        def free(self) -> None:
            pass

    def __init__(self) -> None:
        super().__init__()
        self.has_context, self.spoilt = False, ""

    def make_context(self) -> None:
        """What importing pycuda.autoprimaryctx does."""
        if self.spoilt == "device":
            raise self.Error("cuInit failed: no CUDA-capable device is detected")
        self.has_context = True

    def _call(self, name: str) -> None:
        if not self.has_context or self.spoilt == name:
            raise self.Error(f"{name} failed: invalid device context")

    def Stream(self) -> SimpleNamespace:
        self._call("cuStreamCreate")
        return SimpleNamespace(handle=self.stream, synchronize=lambda: self._call("cuStreamSynchronize"))

    def mem_alloc(self, size: int) -> Memory:
        self._call("cuMemAlloc")
        return self.Memory(self.allocate(size))

    def memcpy_htod(self, memory: Memory, array: np.ndarray) -> None:
        self.upload(memory, array)

    def memcpy_dtoh(self, array: np.ndarray, memory: Memory) -> None:
        self.download(array, memory)


class Undecoded(Engine):
    NAMES = ("pixels", "widths", "logits", "frames")
    num_io_tensors = len(NAMES)


class TensorRt(SimpleNamespace):
    """TensorRT: it deserialises in a context only, and `a plan with the plugin` only once that is loaded."""

    def __init__(self, device: PyCuda):
        super().__init__(__version__=VERSION, all_creators=[], loaded=[], device=device)

    Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})

    def Runtime(self, log: object) -> "TensorRt":
        return self

    def get_plugin_registry(self) -> "TensorRt":
        return self

    def load_library(self, path: str) -> None:
        self.loaded.append(path)
        if Path(path).read_bytes() == b"the plugin":
            self.all_creators.append(SimpleNamespace(name="CtcGreedyDecode"))

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        assert self.device.has_context
        if plan == b"a plan" or (plan == b"a plan with the plugin" and self.all_creators):
            return Engine(self.device)
        return Undecoded(self.device) if plan == b"a plan without decode" else None


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRt:
    """Puts pycuda and TensorRT-RTX where `embed` imports them from, and takes cuda-python away."""
    driver = PyCuda()
    package = ModuleType("pycuda")
    package.driver, package.__path__ = driver, [str(tmp_path / "pycuda")]
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "autoprimaryctx.py").write_text("import pycuda.driver as cuda\ncuda.make_context()\n")
    trt = TensorRt(driver)
    for name, module in (("pycuda", package), ("pycuda.driver", driver), ("pycuda.autoprimaryctx", None)):
        monkeypatch.setitem(sys.modules, name, module)
    del sys.modules["pycuda.autoprimaryctx"]  # and again after the test
    for name, module in (("cuda", None), ("tensorrt_rtx_libs", trt), ("tensorrt_rtx_bindings", trt)):
        monkeypatch.setitem(sys.modules, name, module)
    return trt


@pytest.fixture
def tell(embed: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    """`tell(engine)`: the one sentence that reading a line with it ends with."""
    Image.new("L", (60, 32), 7).save(tmp_path / "line.png")

    def told(engine: Path) -> str:
        assert embed.main([str(engine), str(tmp_path / "line.png")]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
        return captured.err

    return told


@pytest.mark.parametrize("plugin", ["", "libhtr_ctc.so"])
def test_a_file_is_read_through_pycuda(
    embed: ModuleType,
    trt: TensorRt,
    plugin: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = b"a plan with the plugin" if plugin else b"a plan"
    write_engine(tmp_path / "model.engine", CARD, plan, plugin=plugin)
    monkeypatch.chdir(tmp_path)  # a plugin must be loaded by its whole path: a bare name is searched for elsewhere
    (tmp_path / "libhtr_ctc.so").write_bytes(b"the plugin")
    Image.fromarray(np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)).save(tmp_path / "line.png")
    for _ in range(2):
        assert embed.main(["model.engine", str(tmp_path / "line.png")]) == 0
        text = Charset(CHARSET).decode(list(range(0, 48, 4)))
        assert capsys.readouterr().out == f"{tmp_path / 'line.png'}\t{text}\n"
    assert trt.loaded == [str(tmp_path / plugin)] * bool(plugin)


def test_a_plugin_is_loaded_from_beside_the_engine_only(
    trt: TensorRt, tell: Callable[[Path], str], tmp_path: Path
) -> None:
    engine = tmp_path / "model.engine"
    (tmp_path / "other.so").write_bytes(b"nothing")
    for plugin, words in (("none.so", "missing"), ("other.so", "cannot load the plugin"), ("..", "missing")):
        assert words in tell(write_engine(engine, CARD, b"a plan with the plugin", plugin=plugin))
    for plugin in ("../libhtr_ctc.so", f"{tmp_path}/other.so", "./other.so"):
        assert "not beside the engine" in tell(write_engine(engine, CARD, plugin=plugin))
    assert trt.loaded == [str(tmp_path / "other.so")]


def test_what_the_gpu_refuses_is_told_in_one_sentence(
    trt: TensorRt, tell: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = write_engine(tmp_path / "model.engine", CARD)
    for spoilt in ("device", "cuStreamCreate", "cuMemAlloc", "cuStreamSynchronize"):
        sys.modules.pop("pycuda.autoprimaryctx", None)
        trt.device.has_context, trt.device.spoilt = False, spoilt
        assert ("no usable NVIDIA GPU" in tell(engine)) == (spoilt in ("device", "cuStreamCreate"))
    trt.device.spoilt = ""
    assert f"cannot load {tmp_path / 'cut.engine'} on this GPU" in tell(
        write_engine(tmp_path / "cut.engine", CARD, b"a")
    )
    monkeypatch.setitem(sys.modules, "pycuda", None)
    assert "neither cuda-python nor pycuda" in tell(engine)
    runtime = SimpleNamespace(
        cudaError_t=SimpleNamespace(cudaSuccess=0), cudaGetErrorString=lambda _: (0, b"no device")
    )
    runtime.cudaStreamCreate = lambda: (100, None)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime))
    assert "no usable NVIDIA GPU here: cudaStreamCreate failed: no device" in tell(engine)


def test_engines_that_do_not_fit_are_refused(trt: TensorRt, tell: Callable[[Path], str], tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    assert "without --decode none" in tell(write_engine(engine, CARD, b"a plan without decode"))
    assert f"needs tensorrt-rtx 9.9, and {VERSION} is installed" in tell(write_engine(engine, CARD, version="9.9"))
    assert "of height 32, its card says 64" in tell(write_engine(engine, CARD.replace("32", "64")))
    small = json.dumps({**json.loads(CARD), "charset": ["a"]})
    assert "label 7 is outside a charset of 1" in tell(write_engine(engine, small))


def test_damaged_documents_are_refused_before_anything_is_loaded(
    tell: Callable[[Path], str], tmp_path: Path, embed: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    card, built = json.loads(CARD), {"runtime": "tensorrt-rtx", "version": VERSION}
    spoilt = [{key: value for key, value in card.items() if key != "charset"}, [], None]
    spoilt += [{**card, "charset": wrong} for wrong in ("abc", [], [1], 5, None)]
    spoilt += [{**card, name: wrong} for name in ("height", "max_width") for wrong in ("32", 0, True, 3.5, None)]
    texts = ["nothing", "[]", '{"card": {}}', "[" * 200_000, '{"card":' * 200_000, "\ud800"]
    texts += [json.dumps({"card": wrong, "engine": built}) for wrong in spoilt]
    for wrong in ({"runtime": "other"}, {"runtime": []}, {"version": 3}, {"plugin": 5}, {"plugin": ["a"]}):
        texts.append(json.dumps({"card": card, "engine": {**built, **wrong}}))
    for text in texts:
        (tmp_path / "a.engine.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        assert "is damaged or belongs to no engine" in tell(tmp_path / "a.engine"), text[:80]
    tell(tmp_path / "none.engine")
    assert embed.main([]) == 2 and capsys.readouterr().err.startswith("usage: ")
