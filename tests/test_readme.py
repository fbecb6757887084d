"""The README: its commands run in their order, its tree is what is there, its tables are those of the results."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from htrcompress.__main__ import main
from htrcompress.models.serialization import load_card
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


def name_of(arguments: list[str]) -> str:
    return arguments[1] if arguments[0] == "-m" else arguments[0]


def run(arguments: list[str], folder: Path) -> str:
    if arguments[0] != "-m":
        arguments = [str(ROOT / arguments[0]), *arguments[1:]]
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, write_lines: Callable[[Path, dict[str, int]], Path]) -> Path:
    """A working folder with the lines and the page that the README's commands name."""
    lines = write_lines(tmp_path / "lines", {"train": 8, "valid": 4, "test": 4})
    (tmp_path / "page1").mkdir()
    Image.open(lines / "test-0.png").save(tmp_path / "page1" / "0.png")
    return tmp_path


def chain() -> list[list[str]]:
    """The README's commands to train, measure and read, in their order."""
    found = [arguments for block in blocks() if "lines/" in block for arguments in commands(block)]
    assert [name_of(arguments) for arguments in found] == [
        f"htrcompress.{name}" for name in ("train", "distill", "export", "evaluate", "export.verify", "transcribe")
    ]
    return [["page1/0.png" if word == "page1/*.png" else word for word in arguments] for arguments in found]


def test_the_three_commands_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process and with FP32 alone, since an interpreter and a second trace cost ten seconds each."""
    monkeypatch.chdir(folder)
    for arguments in chain():
        name = name_of(arguments)
        if name == "htrcompress.export.verify":
            continue  # the slow test has it
        words = [word for word in arguments[2:] if word != "--fp16"]
        monkeypatch.setattr(sys, "argv", ["htrcompress", name.rpartition(".")[2], *words, *SHORTER.get(name, [])])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, capsys.readouterr().err
    assert "page1/0.png\t" in capsys.readouterr().out


@pytest.mark.slow
def test_all_commands_run_as_written(folder: Path) -> None:
    for arguments in chain():
        run([*arguments, *SHORTER.get(name_of(arguments), [])], folder)
    assert (folder / "runs/mine/export/student/model.fp16.onnx").is_file()
    table = ["benchmarks/run.py", "--run", "runs/mine", "--batch", "32", *SHORTER["benchmarks/run.py"]]
    assert json.loads(run(table, folder).splitlines()[-1])["rows"]


def test_the_quick_start_reads_the_examples(tmp_path: Path) -> None:
    [arguments] = [a for block in blocks() for a in commands(block) if "examples/*.png" in a]
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("examples/*.png"))
    words = [word for a in arguments for word in (names if a == "examples/*.png" else [a])]
    texts = (ROOT / "examples" / "lines.tsv").read_text(encoding="utf-8").splitlines()
    assert run(words, tmp_path).splitlines() == sorted(f"examples/{text}" for text in texts)


def test_the_demo_and_the_test_commands_exist() -> None:
    [demo] = [block for block in blocks() if block.startswith("python -m htrcompress.distill\n")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for arguments in commands(demo):
        assert f"$(RUN) {shlex.join(arguments)}" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_tree_names_what_is_there() -> None:
    [tree] = [block for block in blocks() if block.startswith("htrcompress/ ")]
    for name in set(re.findall(r"\b[a-z_]+\.py\b", tree)):
        assert any(list((ROOT / folder).rglob(name)) for folder in ("htrcompress", "benchmarks", "tools")), name
    for folder in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir()
    for folder in re.findall(r"^  (\w+)/", tree, re.MULTILINE):
        assert (ROOT / "htrcompress" / folder).is_dir()


@pytest.mark.parametrize("page", figures.PAGES)
def test_the_tables_are_those_of_the_committed_results(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    section = figures.PAGES[page]()
    assert figures.BEGIN in text and figures.updated(text, section) == text, "run `python tools/figures.py`"


def test_the_plot_is_that_of_the_results() -> None:
    drawn = (figures.ROOT / figures.PLOT).read_text(encoding="utf-8")
    assert drawn == figures.plot(), "run `python tools/figures.py`"


def test_the_readme_is_one_page() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8192


def test_the_shipped_models_are_those_that_were_measured() -> None:
    rows = json.loads((figures.FOLDER / "corpora.json").read_text(encoding="utf-8"))["rows"]
    for name in figures.SHIPPED:
        [scores] = [row["scores"] for row in rows if (row["name"], row["precision"]) == (name, "FP32")]
        card = load_card(ROOT / "models" / f"{name}.safetensors")
        on_card = {key if "/" in key else f"{card.data['name']}/{key}": row for key, row in card.metrics.items()}
        measured = {key: row["cer"] for key, row in on_card.items() if key in scores}
        assert measured and measured == {key: scores[key]["cer"] for key in measured}
