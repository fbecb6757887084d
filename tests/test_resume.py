"""Runs that are stopped, killed or short of disk, and go on: the end is that of an uninterrupted run."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trainings import SHORT, interrupt_after, log

from htrcompress.cli import run_command
from htrcompress.config import DistillConfig, TrainConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.distill import DistillOptions, distill
from htrcompress.errors import HtrError
from htrcompress.train import TrainOptions, train, train_command
from htrcompress.training import trainer
from htrcompress.training.checkpoint import Checkpoint
from htrcompress.training.logging import MetricsLogger


def press_ctrl_c_in(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in the middle of a step."""
    step = trainer.Trainer._step

    def pressed(self: trainer.Trainer, wrapped: Any, optimizer: Any, state: Any) -> Any:
        if state.step + 1 == number:
            monkeypatch.undo()
            signal.raise_signal(signal.SIGINT)
        return step(self, wrapped, optimizer, state)

    monkeypatch.setattr(trainer.Trainer, "_step", pressed)


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_ctrl_c_and_resume_equal_an_uninterrupted_run(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    run = tmp_path / "run"
    press_ctrl_c_in(monkeypatch, steps)
    with pytest.raises(HtrError, match=f"step {steps} of 6.*--resume"):
        train(TrainOptions(data=lines, model="tiny-student", out=run, train=SHORT))
    result = train(TrainOptions(resume=run))
    assert result.fit.steps == 6
    once, again = (load_file(folder / "tiny-student.safetensors") for folder in (whole, run))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert log(run) == log(whole)


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    interrupt_after(monkeypatch, 5, SystemExit(9))
    with pytest.raises(SystemExit):
        train(TrainOptions(data=lines, model="tiny-student", out=run, train=SHORT))
    train(TrainOptions(resume=run))
    once, again = (load_file(folder / "tiny-student.safetensors") for folder in (whole, run))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert log(run) == log(whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_runs_that_are_killed_at_random_moments_end_like_an_uninterrupted_one(
    whole: Path, lines: str, tmp_path: Path, seed: int
) -> None:
    """SIGKILL to the real command, at random, until it gets through: no clean-up code runs."""
    run, random = tmp_path / "run", Random(seed)
    start = [sys.executable, "-m", "htrcompress.train", "--data", lines, "--model", "tiny-student", "--out", str(run)]
    for name, value in vars(SHORT).items():
        start += [f"--train.{name}", str(value)] if value not in (None, 0) else []
    command, kills = [*start, "--train.save_minutes", "0.0001"], 0
    log_file = run / "tiny-student/log.jsonl"
    while True:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        before = log_file.stat().st_size if log_file.exists() else 0
        while process.poll() is None and not (log_file.exists() and log_file.stat().st_size > before):
            time.sleep(0.01)
        time.sleep(random.random() * 0.3)
        if kills == 3 or process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        command = [sys.executable, "-m", "htrcompress.train", "--resume", str(run)]
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    once, again = (load_file(folder / "tiny-student.safetensors") for folder in (whole, run))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert log(run) == log(whole) and kills


def test_a_full_disk_is_told_and_costs_no_good_file(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    press_ctrl_c_in(monkeypatch, 4)
    with pytest.raises(HtrError):
        train(TrainOptions(data=lines, model="tiny-student", out=run, train=SHORT))
    before = {
        path: path.read_bytes() for path in (run / "tiny-student.safetensors", run / "tiny-student/checkpoint.pt")
    }

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(HtrError, match="No space left"):
            train(TrainOptions(resume=run))
    assert {path: path.read_bytes() for path in before} == before
    assert not list(run.rglob("*.tmp"))
    assert train(TrainOptions(resume=run)).fit.steps == 6


def test_what_a_power_cut_left_of_the_log_is_dropped(tmp_path: Path) -> None:
    rows = ['{"step": 1, "loss": 2.5}', "\0\0\0}", "[1]", "{}", '{"step": 2, "loss": 2.0}', '{"step": 3, "lo']
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    MetricsLogger(tmp_path, 1).close()
    assert (tmp_path / "log.jsonl").read_text() == f"{rows[0]}\n"


def test_a_folder_that_cannot_be_locked_or_logged_in_is_told(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(HtrError, match=re.escape(str(tmp_path))), Checkpoint(tmp_path, {}):
        pass
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(HtrError, match=r"log\.jsonl"):
        MetricsLogger(tmp_path, 0)


def test_a_run_is_not_mixed_with_another(whole: Path, lines: str, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match=r"--out.*--resume"):
        train(TrainOptions(data=lines, model="tiny-student", out=whole))
    with pytest.raises(HtrError, match="--model"):
        train(TrainOptions(model="student", resume=whole))
    with pytest.raises(HtrError, match=r"--train\.batch"):
        train(TrainOptions(resume=whole, train=TrainConfig(batch=4)))
    assert train(TrainOptions(resume=whole, train=TrainConfig(batch=8))).fit.steps == 6  # as it was started
    with pytest.raises(HtrError, match="--resume"):
        train(TrainOptions(resume=tmp_path))
    with pytest.raises(HtrError, match=r"train\.lr.*0\.003.*0\.1"):
        (tmp_path / "run").mkdir()
        config = (whole / "config.yaml").read_text().replace("lr: 0.0", "lr: 0.1")
        (tmp_path / "run/config.yaml").write_text(config)
        (tmp_path / "run/tiny-student").symlink_to(whole / "tiny-student")
        train(TrainOptions(resume=tmp_path / "run"))
    with Checkpoint(whole / "tiny-student", {}), pytest.raises(HtrError, match="tiny-student"):
        train(TrainOptions(resume=whole))


def test_a_run_whose_model_is_gone_does_not_report_success(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/tiny-student.safetensors").unlink()
    with pytest.raises(HtrError, match=r"tiny-student\.safetensors.*missing"):
        train(TrainOptions(resume=tmp_path / "run"))


def test_a_good_checkpoint_is_never_called_damaged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    checkpoint = run / "tiny-student/checkpoint.pt"
    good = checkpoint.read_bytes()

    def fails(error: Exception) -> Callable[..., None]:
        def load(*_: object, **__: object) -> None:
            raise error

        return load

    for error, told in (
        (PermissionError(errno.EACCES, "Permission denied"), r"checkpoint\.pt.*Permission denied"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            r"out of memory.*checkpoint\.pt",
        ),
    ):
        with monkeypatch.context() as patch, pytest.raises(HtrError, match=told):
            patch.setattr(torch, "load", fails(error))
            train(TrainOptions(resume=run))
    saved = torch.load(checkpoint, weights_only=True)
    saved["objective"].popitem()
    torch.save(saved, checkpoint)
    with pytest.raises(HtrError, match=r"checkpoint\.pt"):
        train(TrainOptions(resume=run))
    for damaged in (b"", good[: len(good) // 2], b"no archive"):
        checkpoint.write_bytes(damaged)
        with pytest.raises(HtrError, match=r"checkpoint\.pt"):
            train(TrainOptions(resume=run))


def test_an_option_that_is_typed_counts_even_with_the_value_of_its_default(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, status in (("--train.warmup 200", 2), ("--train.warmup 2 --llm null --augment.slant 0.25", 0)):
        with pytest.raises(SystemExit) as ended:
            run_command(train_command, argv=["--resume", str(whole), *words.split()])
        assert ended.value.code == status and ("--train.warmup" in capsys.readouterr().err) == bool(status)


def test_joined_lines_and_unlabelled_ones_may_move(
    whole: Path, lines: str, tmp_path: Path, write_lines: Callable[[Path, dict[str, int]], Path]
) -> None:
    one, two = shutil.copytree(lines, tmp_path / "one"), write_lines(tmp_path / "two", {"train": 4, "valid": 2})
    (images := tmp_path / "images").mkdir()
    shutil.copy(one / "test-0.png", images)
    options = {"distill": DistillConfig(frames="all"), "train": SHORT, "control": False, "out": tmp_path / "run"}
    distill(DistillOptions(data=f"{one},{two}", teacher=whole, model="tiny-student", unlabelled=images, **options))  # type: ignore[arg-type]
    data = f"{one.rename(tmp_path / 'three')},{two.rename(tmp_path / 'four')}"
    distill(DistillOptions(data=data, resume=tmp_path / "run", unlabelled=images.rename(tmp_path / "pictures")))
    assert open_dataset(data).identity("valid") != open_dataset(lines).identity("valid")


def test_a_changed_dataset_is_refused_on_resume(lines: str, tmp_path: Path) -> None:
    root = tmp_path / "lines"
    root.mkdir()
    for file in Path(lines).iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    train(TrainOptions(data=str(root), model="tiny-student", out=tmp_path / "run", train=SHORT))
    rows = (root / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (root / "train.tsv").write_text("".join(rows[1:]), encoding="utf-8")
    with pytest.raises(HtrError, match=r"lines.*24.*23"):
        train(TrainOptions(resume=tmp_path / "run"))


def test_the_same_lines_may_move_and_other_pixels_are_refused(lines: str, tmp_path: Path) -> None:
    root = tmp_path / "lines"
    shutil.copytree(lines, root)
    train(TrainOptions(data=str(root), model="tiny-student", out=tmp_path / "run", train=SHORT))
    moved = root.rename(tmp_path / "elsewhere")
    with pytest.raises(HtrError, match="--data"):
        train(TrainOptions(resume=tmp_path / "run"))
    assert train(TrainOptions(data=str(moved), resume=tmp_path / "run")).fit.steps == 6
    shutil.copy(moved / "valid-0.png", moved / "valid-1.png")
    with pytest.raises(HtrError, match=r"images\.valid"):
        train(TrainOptions(data=str(moved), resume=tmp_path / "run"))
