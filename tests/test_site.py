"""The folder of files that `export/web/build.py` makes; what it reads in a browser is tested in `test_browser.py`."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from htrcompress import HtrError
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import locate
from htrcompress.runtime import load
from htrcompress.web.server import PAGE

FOLDER = Path(__file__).parent.parent / "export" / "web"


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`build.py`, with empty files in the place of ONNX Runtime."""
    spec = importlib.util.spec_from_file_location("build_site", FOLDER / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_site", module)
    spec.loader.exec_module(module)
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in module.RUNTIME_FILES:
        (runtime / name).touch()
    monkeypatch.setattr(module, "RUNTIME", runtime)
    return module


def test_the_folder_has_all_that_the_page_needs(builder: ModuleType, tmp_path: Path) -> None:
    site = builder.build(builder.BuildOptions(tmp_path / "site", DEFAULT))
    [entry] = json.loads((site.path / "models.json").read_text(encoding="utf-8"))
    card = load(threads=1).card
    assert entry["name"] == DEFAULT and tuple(entry["charset"]) == card.charset
    assert (entry["height"], entry["stride"], entry["max_width"]) == (card.height, card.stride, card.max_width)
    assert (site.path / entry["file"]).read_bytes() == locate(DEFAULT).read_bytes()
    assert (site.path / "index.html").read_bytes() == (PAGE / "index.html").read_bytes()
    assert (site.path / "page.js").read_bytes() == (PAGE / "page.js").read_bytes()
    assert (site.path / "engine.js").read_bytes() == (FOLDER / "engine.js").read_bytes()
    assert "CC BY" in (site.path / "NOTICE.txt").read_text(encoding="utf-8")


def test_what_a_browser_cannot_read_with_is_refused(builder: ModuleType, tmp_path: Path) -> None:
    twins = [tmp_path / place / "letters.onnx" for place in ("here", "there")]
    for twin in twins:
        twin.parent.mkdir()
        twin.write_bytes(locate(DEFAULT).read_bytes())
    for models, reason in (
        ("letters.safetensors", r"\.onnx"),
        (",".join(map(str, twins)), "two models"),
        ("nothing", "nothing"),
    ):
        with pytest.raises(HtrError, match=reason):
            builder.build(builder.BuildOptions(tmp_path / "site", models))
    assert not (tmp_path / "site").exists()


def test_a_missing_runtime_is_told(builder: ModuleType, tmp_path: Path) -> None:
    (builder.RUNTIME / builder.RUNTIME_FILES[0]).unlink()
    with pytest.raises(HtrError, match="npm ci"):
        builder.build(builder.BuildOptions(tmp_path / "site"))


def test_the_runtime_is_pinned() -> None:
    package = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in package["dependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(entry["integrity"].startswith("sha512-") for name, entry in locked.items() if name)
