"""From a command's options dataclass to its command line: flags, files, empty values, names, help, output, the log."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from htrcompress.__main__ import COMMANDS, main, usage
from htrcompress.cli import run_command
from htrcompress.errors import HtrError


@dataclass(frozen=True)
class Group:
    steps: int | None = None
    """Optimiser steps."""
    rate: float = 0.1
    """Learning rate."""
    layers: tuple[int, ...] = ()
    """Layers."""


@dataclass(frozen=True)
class OfFile:
    file: Path | None = None
    """A file that stands for the group."""
    weight: float = 1.0
    """Its weight."""


@dataclass(frozen=True)
class Options:
    """Does something.

    This is not in the help.
    """

    images: list[Path] = field(default_factory=list)
    """What to read."""
    data: str = "synthetic"
    """The dataset."""
    name: str | None = None
    """A name."""
    out: Path | None = None
    """Where to write."""
    control: bool = True
    """Whether to control."""
    kind: Literal["keep", "union"] | None = None
    """One of two."""
    train: Group = Group()
    """how to train"""
    augment: Group | None = Group()
    """how to augment"""
    lm: OfFile = OfFile()
    """what is known"""


@dataclass(frozen=True)
class Result:
    options: Options
    given: list[str]
    exit_code: int = 0

    def __rich__(self) -> str:
        return f"out {self.options.out}"


def command(options: Options, given: frozenset[str]) -> Result:
    logging.getLogger("htrcompress.somewhere").info("it begins")
    return Result(options, sorted(given - {"images"}))


def call(capsys: pytest.CaptureFixture[str], *words: str, images: Sequence[str] = ("a.png",)) -> tuple[int, Any, str]:
    """Exit status, the result's JSON and what went to stderr."""
    with pytest.raises(SystemExit) as ended:
        run_command(command, "images", [*words, "--json", "--", *images])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), json.loads(captured.out) if captured.out else None, captured.err


def test_flags_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--train.rate", "0.2", "--train.layers", "[1, 2]", "--no-control", "--augment", "null", "--kind=union")
    status, result, _ = call(capsys, *words, images=("a.png", "b.png"))
    options = result["options"]
    assert status == 0 and options["train"] == {"steps": None, "rate": 0.2, "layers": [1, 2]}
    assert options["images"] == ["a.png", "b.png"] and options["data"] == "synthetic"
    assert options["augment"] is None and options["control"] is False and options["kind"] == "union"
    assert result["given"] == ["augment", "control", "kind", "train.layers", "train.rate"]


def test_a_file_gives_options_and_flags_override_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: 'a # b'\ntrain: {steps: 3, rate: 0.5}\n")
    _, result, _ = call(capsys, "--config", str(tmp_path / "a.yaml"), "--train.rate", "0.25")
    assert result["options"]["data"] == "a # b" and result["options"]["train"]["steps"] == 3
    assert result["options"]["train"]["rate"] == 0.25 and "train.steps" in result["given"]


@pytest.mark.parametrize("typed", [["--lm", "a.ngram"], ["--lm=a.ngram"], ["--lm.file", "a.ngram"], ["--config"]])
def test_a_group_may_be_given_by_its_file_alone(
    typed: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "some.yaml").write_text("lm: a.ngram\n")
    typed = [*typed, str(tmp_path / "some.yaml")] if typed == ["--config"] else typed
    _, result, _ = call(capsys, *typed, "--lm.weight", "0.8")
    assert result["options"]["lm"] == {"file": "a.ngram", "weight": 0.8}
    with pytest.raises(SystemExit):
        run_command(command, argv=["--help"])
    assert "--lm FILE" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["#1871", "&mine", "*mine", "a #b", "!x", "007", "[x]", "a: b", "%", "@", "- x"])
def test_a_name_is_a_name_and_not_yaml(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, result, _ = call(capsys, f"--data={name}", f"--name={name}", f"--out={name}", images=(name,))
    options = result["options"]
    assert [options["data"], options["name"], options["out"], *options["images"]] == [name] * 4


@pytest.mark.parametrize("option", ["data", "name", "out"])
def test_an_empty_value_is_refused(option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{option}: ''\n")
    for words in ((f"--{option}", ""), (f"--{option}=",), ("--config", str(tmp_path / "a.yaml"))):
        status, _, errors = call(capsys, *words)
        assert status == 2 and f"--{option}" in errors and errors.count("\n") == 1
    status, _, errors = call(capsys, images=("a.png", ""))
    assert status == 2 and "images" in errors


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--train.steps", "1.5"), "--train.steps takes int or null"),
        (("--kind", "other"), "--kind takes keep or union or null"),
        (("--train.layers", "1"), "--train.layers takes a list"),
        (("--train.rate",), "--train.rate"),
        (("--train.rat", "1"), "--train.rat"),
        (("--nothing", "1"), "--nothing"),
        (("--config", "missing.yaml"), "missing.yaml"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_option(
    words: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, errors = call(capsys, *words)
    assert status == 2 and errors.startswith("error: ") and named in errors and errors.count("\n") == 1


@pytest.mark.parametrize("text", ["nothing: 1", "train: {nothing: 1}", "data:", "train:\n  rate:", "[1]", "a: &a [*a]"])
def test_a_file_with_an_unknown_or_empty_key_is_refused(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    status, _, errors = call(capsys, "--config", str(tmp_path / "a.yaml"))
    assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1


def test_a_file_without_options_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("hello")
    with pytest.raises(SystemExit):
        run_command(command, argv=["--config", str(tmp_path / "a.yaml")])
    assert "--config holds no options" in capsys.readouterr().err


def test_the_nearest_command_is_offered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["htrcompress", "transcrib"])
    with pytest.raises(SystemExit):
        main()
    assert "did you mean transcribe" in capsys.readouterr().err


def test_help_comes_from_the_docstrings_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_command(command, "images", ["--help"])
    shown = capsys.readouterr().out
    for text in ("Does something.", "What to read.", "The dataset.", "Whether to control.", "how to train", "Layers."):
        assert text in shown
    assert "not in the help" not in shown


def test_the_log_is_printed_while_a_command_runs_and_not_after(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("htrcompress")
    before = logger.handlers[:], logger.level
    with pytest.raises(SystemExit):
        run_command(command, "images", ["a.png", "--out", "x"])
    assert capsys.readouterr().out == "it begins\nout x\n"
    _, _, errors = call(capsys)
    assert "it begins" in errors  # stdout has the JSON alone
    assert (logger.handlers, logger.level) == before


def test_an_error_is_a_sentence_and_a_result_may_set_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(options: Options) -> Result:
        raise HtrError("it is broken: mend it")

    def refuses(options: Options) -> Result:
        return Result(options, [], exit_code=1)

    for function, status, told in ((fails, 2, "error: it is broken: mend it\n"), (refuses, 1, "")):
        with pytest.raises(SystemExit) as ended:
            run_command(function, "images", ["a.png"])
        assert ended.value.code == status and capsys.readouterr().err == told


def test_every_command_is_listed_with_an_example_that_its_parser_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert "verify" in COMMANDS
    for name, entry in COMMANDS.items():
        assert entry.summary in usage() and f"htrcompress {name} {entry.example}" in usage()


def test_the_waiting_threads_of_pytorch_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is read when PyTorch is imported, which the command does; what the user set stays."""
    seen: list[str | None] = []

    def looks(options: Options) -> None:
        seen.append(os.environ.get("OMP_WAIT_POLICY"))

    for before in (None, "active"):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if before:
            monkeypatch.setenv("OMP_WAIT_POLICY", before)
        with pytest.raises(SystemExit):
            run_command(looks, "images", ["a.png"])
    assert seen == ["passive", "active"]


def test_every_command_shows_its_help_without_the_packages_of_extras() -> None:
    code = """if True:
        import sys
        for name in ("torch", "onnx", "onnxruntime", "kornia", "accelerate", "safetensors", "transformers"):
            sys.modules[name] = None
        from htrcompress.__main__ import COMMANDS, main
        for name in COMMANDS:
            sys.argv[1:] = [name, "--help"]
            try:
                main()
            except SystemExit as ended:
                assert not ended.code, name
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: htrcompress ") == len(COMMANDS)


@pytest.mark.parametrize("stdout", ["closed", "None"])
def test_without_a_stdout_a_command_runs(stdout: str, tmp_path: Path) -> None:
    """As under pythonw, PyInstaller's --noconsole and some services."""
    code = "import sys\n" + ("sys.stdout.close()\n" if stdout == "closed" else "sys.stdout = None\n")
    code += "import htrcompress.train, htrcompress.distill, htrcompress.prune, htrcompress.data.__main__ as d\n"
    code += "from htrcompress.cli import run_command\n"
    code += "run_command(d.look, 'path', [sys.argv[1]])\n"
    (tmp_path / "test.tsv").write_text("")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr and "no console" not in done.stderr, done.stderr
