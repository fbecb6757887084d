"""The rules of the package that no linter knows: it never prints, imports no command, stays in small files, and its
commands explain themselves where PyTorch is not installed."""

import ast
import importlib
import runpy
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from htrcompress.errors import HtrError
from htrcompress.parsing import options_from

PACKAGE = Path(__file__).parent.parent / "htrcompress"
SOURCES = sorted(PACKAGE.rglob("*.py"))
COMMANDS = {"train", "distill", "prune", "evaluate", "transcribe", "lm", "calibrate", "native"}
COMMANDS |= {"catalogue.__main__", "data.__main__", "export.__main__", "export.verify", "web.__main__"}
PARTS = {"__main__", "cli", "parsing", "run_start", "runs", "export.commands"}
"""What commands consist of besides."""
MOST_LINES = 350


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Every plain or dotted name that a file loads, imports or calls, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield node.lineno, f"{ast.unparse(node.func)}()"
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_the_library_neither_prints_nor_imports_a_command() -> None:
    forbidden = {"print", "sys.stdout", "sys.stderr", "rich.print", "Console()"}
    forbidden |= {f"htrcompress.{name}" for name in COMMANDS | PARTS}
    found = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in SOURCES
        if name_of(path) not in COMMANDS | PARTS
        for line, name in names(path)
        if name in forbidden or name.rpartition(".")[0] in forbidden - {"print"}
    ]
    assert found == []


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a plain install: nothing of `htrcompress` is loaded yet, and what its extras install cannot be imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "htrcompress"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("torch", "onnx", "onnxruntime", "accelerate", "kornia", "safetensors", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself_without_torch(
    command: str, without_torch: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"htrcompress.{command.removesuffix('.__main__')}", run_name="__main__", alter_sys=True)
    assert ended.value.code == 0, capsys.readouterr().err
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_defaults_of_every_command_are_options_that_it_takes(command: str) -> None:
    """An empty string, for example, is a default that the parser refuses."""
    module = importlib.import_module(f"htrcompress.{command}")
    named = [kind for name, kind in vars(module).items() if name.endswith("Options")]
    kinds = [kind for kind in named if isinstance(kind, type) and is_dataclass(kind)]
    own = [kind for kind in kinds if kind.__module__ == module.__name__]
    for kind in own:
        required = {
            field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
        }
        try:
            options_from(kind, {name: ["x"] for name in required})
        except HtrError as error:  # a command that asks for one of several options
            assert "empty" not in str(error)


def test_a_command_names_its_logger() -> None:
    """`python -m` calls the module __main__, and what it logs under that name is not printed."""
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in SOURCES}
    assert [name for name, text in texts.items() if '"__main__"' in text and "getLogger(__name__)" in text] == []


def test_the_package_itself_imports_no_torch(without_torch: None) -> None:
    assert importlib.import_module("htrcompress").load
