"""The README's commands, run in their order on a handful of lines; only sizes and steps are cut down."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tools import figures

ROOT = Path(__file__).parent.parent
SHORTER = {
    "htrcompress.train": ["--model", "tiny-teacher", "--train.steps", "2", "--train.batch", "4"],
    "htrcompress.distill": ["--model", "tiny-student", "--train.steps", "2", "--train.batch", "4", "--no-control"],
    "benchmarks/run.py": ["--rounds", "1"],
}


def blocks() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[list[str]]:
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines() if line.startswith("python ")]


def run(arguments: list[str], folder: Path) -> str:
    if arguments[0] != "-m":
        arguments = [str(ROOT / arguments[0]), *arguments[1:]]
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stderr}"
    return done.stdout


def test_the_chain_runs_as_written(tmp_path: Path, write_lines: Callable[[Path, dict[str, int]], Path]) -> None:
    lines = write_lines(tmp_path / "lines", {"train": 8, "valid": 4, "test": 4})
    (tmp_path / "page1").mkdir()
    Image.open(lines / "test-0.png").save(tmp_path / "page1/0.png")
    [chain] = [block for block in blocks() if "--data lines/" in block]
    for arguments in commands(chain):
        name = arguments[1] if arguments[0] == "-m" else arguments[0]
        arguments = [str(tmp_path / "page1/0.png") if a == "page1/*.png" else a for a in arguments]
        output = run([*arguments, *SHORTER.get(name, [])], tmp_path)
        if name == "benchmarks/run.py":
            assert json.loads(output.splitlines()[-1])["rows"]
    assert (tmp_path / "runs/mine/export/student/model.fp16.engine").is_file()


def test_the_demo_and_the_test_commands_exist(tmp_path: Path) -> None:
    [demo] = [block for block in blocks() if block.startswith("python -m htrcompress.distill\n")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for arguments in commands(demo):
        assert f"$(RUN) {shlex.join(arguments)}" in makefile
        run([*arguments, "--help"], tmp_path)
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_tree_names_what_is_there() -> None:
    [tree] = [block for block in blocks() if block.startswith("htrcompress/ ")]
    for name in set(re.findall(r"\b[a-z_]+\.py\b", tree)):
        assert list((ROOT / "htrcompress").rglob(name)) or (ROOT / "benchmarks" / name).is_file(), name
    for folder in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("page", figures.PAGES)
def test_the_tables_are_those_of_the_committed_results(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    section = figures.PAGES[page]()
    assert figures.BEGIN in text and figures.updated(text, section) == text, "run `python tools/figures.py`"


def test_the_readme_is_one_page() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8192


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)[^)]*\)", text):
        assert (page.parent / link).exists(), link
    for target, anchor in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", text):
        other = (page.parent / target if target else page).read_text(encoding="utf-8")
        heads = re.findall(r"^#+ (.+)$", other, re.MULTILINE)
        known = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert anchor in known, f"{link}#{anchor}"
