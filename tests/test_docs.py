"""What the README and the pages of `docs/` name exists: links, their anchors, modules, scripts, make targets."""

import importlib
import re
import shlex
import sys
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

from htrcompress.__main__ import COMMANDS, main
from tools.website_check import table_faults

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "CONTRIBUTING.md", "models/README.md", "data/README.md", "export/README.md", "examples/README.md")
PAGES = [path for name in NAMES if (path := ROOT / name).is_file()] + sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(r"python -m (htrcompress[.\w]*)")
SCRIPT = re.compile(r"\b((?:benchmarks|tools|recipes|tests)/[\w/]+\.(?:py|sh))\b")
IMPORT = re.compile(r"^from (htrcompress[.\w]*) import (.+)$", re.MULTILINE)
MAKE = re.compile(r"^(?:make|  *make) ([\w-]+)", re.MULTILINE)


def anchors(page: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert table_faults(text) == []
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link
    for module in MODULE.findall(text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    written = text.partition("<!--")[0]  # the commands of committed results are history
    for script in SCRIPT.findall(written):
        assert (ROOT / script).is_file(), script
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in MAKE.findall(text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_imports_exists(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for module, names in IMPORT.findall(block):
            for name in names.split(", "):
                assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_the_tables_that_new_parts_go_into_are_in_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "htrcompress").rglob("*.py"))
    names = re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", (ROOT / "docs" / "adding.md").read_text(encoding="utf-8"))
    assert len(names) >= 6
    for name in names:
        assert re.search(rf"^{name}\b", code, re.MULTILINE), name


@cache
def flags_of(command: str) -> frozenset[str]:
    """The flags in a command's help."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit), redirect_stdout(StringIO()) as text:
        patch.setattr(sys, "argv", ["htrcompress", command, "--help"])
        main()
    return frozenset(flag.replace("-", "_") for flag in re.findall(r"(?<![\w-])--[\w.-]+", text.getvalue()))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_options_in_commands_exist(page: Path) -> None:
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        found = re.search(r"-m htrcompress\.([\w.]+)(.*)", line)
        command, words = (found[1].rpartition(".")[2], shlex.split(found[2], comments=True)) if found else ("", [])
        if command in COMMANDS:
            used = {word.replace("-", "_") for word in words if word.startswith("--") and not word.startswith("--no-")}
            assert used <= flags_of(command), f"{line}: {used - flags_of(command)}"
