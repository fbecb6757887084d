"""The scripts of `recipes/`: they parse, and refuse what they cannot do before anything is trained."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "recipes" / "full_size.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs bash")


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(["bash", str(SCRIPT), *words], cwd=folder, env=settings, capture_output=True, text=True)


def test_students_wait_for_their_teacher(tmp_path: Path) -> None:
    done = run(tmp_path, "students", "letters", "0")
    assert done.returncode == 1 and "runs/letters-teacher" in done.stderr


def test_nothing_is_published_without_a_licence(tmp_path: Path) -> None:
    done = run(tmp_path, "publish", "letters")
    assert done.returncode == 2 and "LICENCE" in done.stderr


def test_an_unknown_step_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "polish", "letters")
    assert done.returncode == 2 and "polish" in done.stderr


def test_a_finished_step_is_marked_and_its_options_are_passed(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/usr/bin/env bash\necho "$@" > words\nmkdir -p runs/letters-teacher\n', encoding="utf-8")
    python.chmod(0o755)
    done = run(tmp_path, "teacher", "letters", PYTHON=str(python), TEACHER="student-xs", BATCH="4")
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "words").read_text(encoding="utf-8")
    assert "htrcompress.train" in words and "--model student-xs" in words and "--train.batch 4" in words
    assert (tmp_path / "runs" / "letters-teacher" / "done").is_file()
