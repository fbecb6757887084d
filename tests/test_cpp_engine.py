"""`export/cpp` reads the document beside an engine, and loads the runtime and the plugin that it names."""

import importlib.util
import os
from pathlib import Path

import pytest
from cpp_builds import Parts, run
from standins import VERSION, write_engine

from htrcompress.card import Card
from htrcompress.runtime.engine_file import document_path

CARD = Card("tiny", {"family": "gated"}, tuple("abc"), height=32, stride=4, max_width=1000).to_json()
SIZE = len(b"a plan")


def test_documents_are_read_as_they_are_written(parts: Parts, tmp_path: Path) -> None:
    plugin = tmp_path / "libhtr_ctc.so"
    plugin.write_bytes(b"")
    jobs = [[write_engine(tmp_path / "a.engine", CARD)], [write_engine(tmp_path / "b.engine", CARD, plugin="")]]
    jobs.append([write_engine(tmp_path / "c.engine", CARD, plugin=plugin.name, runtime="tensorrt")])
    expected = [f"ok tensorrt-rtx {VERSION} {SIZE} ", f"ok tensorrt {VERSION} {SIZE} {plugin}"]
    assert parts("engine", *jobs) == [expected[0], *expected]


def test_an_engine_that_is_not_the_one_of_its_document_is_refused(parts: Parts, tmp_path: Path) -> None:
    engine = write_engine(tmp_path / "a.engine", CARD, bytes(range(256)) * 50)
    flipped = bytearray(engine.read_bytes())
    flipped[5000] ^= 1
    for data in (bytes(flipped), engine.read_bytes()[:-1], b""):
        engine.write_bytes(data)
        [line] = parts("engine", [engine])
        assert line.startswith("error: ") and str(engine) in line and ".meta" in line


def test_damaged_documents_are_refused_in_one_sentence(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.so").write_bytes(b"")
    (tmp_path / "a.so").write_bytes(b"")
    elsewhere = ("folder/a.so", "./a.so", f"{tmp_path}/a.so", "/", "../a.so")
    missing = ("none.so", "folder", "..", "a" * 300)
    engines = []
    for number, name in enumerate((*elsewhere, *missing)):
        engines.append(write_engine(tmp_path / f"{number}.engine", CARD, plugin=name))
    good = document_path(write_engine(tmp_path / "good.engine", CARD)).read_text(encoding="utf-8")
    texts = [good.replace("engine.runtime=", f"engine.{name}=") for name in ("version", "other")]
    texts += [good.replace("=tensorrt-rtx", f"={name}") for name in ("", "other", "tensorrt\0")]
    texts += [good.replace("engine.sha256=", "engine.sha=", 1), good.replace("engine.version", "engine.vision")]
    texts += [
        "",
        "{}",
        good[: len(good) // 2],
        good.replace("htrcompress.height=32", "htrcompress.height=0"),
        "=" * 99_999,
    ]
    for number, text in enumerate(texts):
        engines.append(tmp_path / f"text-{number}.engine")
        document_path(engines[-1]).write_text(text, encoding="utf-8")
    lines = parts("engine", *([engine] for engine in [*engines, tmp_path / "none.engine"]))
    assert len(lines) == len(engines) + 1 and [line for line in lines if not line.startswith("error: ")] == []
    assert [line for line in lines[: len(elsewhere)] if "plugin" not in line] == []
    assert [line for line in lines[len(elsewhere) :][: len(missing)] if "plugin" not in line] == []


def refusal(demo: Path, engine: Path, libraries: str) -> str:
    """The sentence that reading with an engine ends with, where the loader finds libraries in one more folder."""
    done = run(demo, "a.png", "--model", engine, LD_LIBRARY_PATH=libraries)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_the_runtime_is_the_one_that_the_document_names(demo: Path, tmp_path: Path) -> None:
    if "TENSORRT_ROOT" not in os.environ:
        pytest.skip("TENSORRT_ROOT is not set: the back end is not built without TensorRT's headers")
    for name, library in (("tensorrt-rtx", "libtensorrt_rtx.so.1"), ("tensorrt", "libnvinfer.so.")):
        (tmp_path / f"{library}{'' if library[-1] == '1' else '11'}").write_bytes(b"nothing")  # found, but no library
        assert library in refusal(demo, write_engine(tmp_path / "a.engine", CARD, runtime=name), str(tmp_path))


def test_the_plugin_is_loaded_before_the_engine(demo: Path, built: Path, tmp_path: Path) -> None:
    if "TENSORRT_ROOT" not in os.environ:
        pytest.skip("TENSORRT_ROOT is not set: neither the back end nor the plugin is built")
    found = importlib.util.find_spec("tensorrt_rtx_libs")
    if found is None or found.origin is None:
        pytest.skip("TensorRT-RTX is not installed: pip install 'htrcompress[rtx]'")
    libraries = str(Path(found.origin).parent)
    (tmp_path / "libhtr_ctc.so").write_bytes((built / "libhtr_ctc.so").read_bytes())
    (tmp_path / "other.so").write_bytes(b"nothing")
    engine = tmp_path / "model.engine"
    refused = refusal(demo, write_engine(engine, CARD, plugin="other.so"), libraries)
    assert f"cannot load the plugin {tmp_path / 'other.so'}" in refused
    refused = refusal(demo, write_engine(engine, CARD, plugin="libhtr_ctc.so"), libraries)
    assert "the plugin" not in refused and str(engine) in refused  # the next failure: the engine is not one
