"""`export/cpp` reads what stands beside an engine, and loads the runtime and the plugin that it names."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cpp_builds import Parts, run
from standins import VERSION, write_engine

from htrcompress.card import Card

CARD = Card("tiny", {"family": "gated"}, tuple("abc"), height=32, stride=4, max_width=1000).to_json()


def test_documents_are_read_as_they_are_written(parts: Parts, tmp_path: Path) -> None:
    plugin = tmp_path / "libhtr_ctc.so"
    plugin.write_bytes(b"")
    jobs = [[write_engine(tmp_path / "a.engine", CARD)], [write_engine(tmp_path / "b.engine", CARD, plugin="")]]
    jobs.append([write_engine(tmp_path / "c.engine", CARD, plugin=plugin.name, runtime="tensorrt")])
    expected = [f"ok tiny tensorrt-rtx {VERSION} ", f"ok tiny tensorrt {VERSION} {plugin}"]
    assert parts("engine", *jobs) == [expected[0], *expected]


def test_damaged_documents_are_refused_in_one_sentence(parts: Parts, tmp_path: Path) -> None:
    built: dict[str, Any] = {"runtime": "tensorrt-rtx", "version": VERSION}
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.so").write_bytes(b"")
    (tmp_path / "a.so").write_bytes(b"")
    refused = [{"plugin": name} for name in ("folder/a.so", "./a.so", f"{tmp_path}/a.so", "a.so\0", "/", "../a.so")]
    missing = [{"plugin": name} for name in ("none.so", "folder", "..", "a" * 300)]
    damaged = [{"plugin": 5}, {"plugin": None}, {"runtime": 5}, {"version": []}, {"runtime": "other"}]
    texts = [json.dumps({"card": json.loads(CARD), "engine": built | wrong}) for wrong in refused + missing + damaged]
    texts += [CARD, "{}", "[]", '{"card": 1, "engine": 2}', json.dumps({"card": {}, "engine": built}), "[" * 100_000]
    jobs = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.engine.json").write_text(text, encoding="utf-8")
        jobs.append([tmp_path / f"{number}.engine"])
    lines = parts("engine", *jobs, [tmp_path / "none.engine"])
    assert len(lines) == len(texts) + 1 and [line for line in lines if not line.startswith("error: ")] == []
    assert [line for line in lines[: len(refused)] if "is not beside the engine" not in line] == []
    assert [line for line in lines[len(refused) :][: len(missing)] if "is missing: copy it there" not in line] == []


def told(installed: Path, engine: Path, libraries: str) -> str:
    """The sentence that reading with an engine ends with, where the loader finds libraries in one more folder."""
    done = run(installed / "bin" / "htr_read", "a.pgm", "--model", engine, LD_LIBRARY_PATH=libraries)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_the_runtime_is_the_one_that_the_document_names(installed: Path, tmp_path: Path) -> None:
    if "TENSORRT_ROOT" not in os.environ:
        pytest.skip("TENSORRT_ROOT is not set: the back end is not built without TensorRT's headers")
    for name, library in (("tensorrt-rtx", "libtensorrt_rtx.so.1"), ("tensorrt", "libnvinfer.so.")):
        (tmp_path / f"{library}{'' if library[-1] == '1' else '11'}").write_bytes(b"nothing")  # found, but no library
        assert f"{library}" in told(installed, write_engine(tmp_path / "a.engine", CARD, runtime=name), str(tmp_path))


def test_the_plugin_is_loaded_before_the_engine(installed: Path, built: Path, tmp_path: Path) -> None:
    if "TENSORRT_ROOT" not in os.environ:
        pytest.skip("TENSORRT_ROOT is not set: neither the back end nor the plugin is built")
    found = importlib.util.find_spec("tensorrt_rtx_libs")
    if found is None or found.origin is None:
        pytest.skip("TensorRT-RTX is not installed: pip install 'htrcompress[rtx]'")
    libraries = str(Path(found.origin).parent)
    (tmp_path / "libhtr_ctc.so").write_bytes((built / "libhtr_ctc.so").read_bytes())
    (tmp_path / "other.so").write_bytes(b"nothing")
    engine = tmp_path / "model.engine"
    refused = told(installed, write_engine(engine, CARD, plugin="other.so"), libraries)
    assert f"cannot load the plugin {tmp_path / 'other.so'}" in refused
    refused = told(installed, write_engine(engine, CARD, plugin="libhtr_ctc.so"), libraries)
    assert "the plugin" not in refused and str(engine) in refused  # on to the engine, which is none
