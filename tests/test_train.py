"""Training and distillation end to end on a few lines: what comes out, what resumes, what is refused."""

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from htrcompress import loop
from htrcompress.artifact import load_card, load_model
from htrcompress.config import AugmentConfig, DistillConfig, TrainConfig
from htrcompress.data.synthetic import open_synthetic
from htrcompress.distill import distill_student
from htrcompress.errors import HtrError
from htrcompress.train import train_network

SHORT = TrainConfig(steps=6, batch=8, valid_every=2, warmup=2, precision="fp32")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a few synthetic lines as a real dataset would have them."""
    root = tmp_path_factory.mktemp("lines")
    for split, some in open_synthetic({"train": 24, "valid": 6, "test": 4}).splits.items():
        rows = []
        for number, line in enumerate(some):
            Image.fromarray(line.pixels()).save(root / f"{split}-{number}.png")
            rows.append(f"{split}-{number}.png\t{line.text}\n")
        (root / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return str(root)


def log(run: Path, name: str = "tiny-student") -> list[dict[str, Any]]:
    rows = [json.loads(row) for row in (run / name / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def press_ctrl_c_in(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in the middle of a step."""
    step = loop.Trainer._step

    def pressed(self: loop.Trainer, wrapped: Any, optimizer: Any, state: Any) -> Any:
        if state.step + 1 == number:
            monkeypatch.undo()
            signal.raise_signal(signal.SIGINT)
        return step(self, wrapped, optimizer, state)

    monkeypatch.setattr(loop.Trainer, "_step", pressed)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, error: BaseException) -> None:
    step = loop.Trainer._step

    def interrupted(self: loop.Trainer, wrapped: Any, optimizer: Any, state: Any) -> Any:
        if state.step == steps:
            monkeypatch.undo()
            raise error
        return step(self, wrapped, optimizer, state)

    monkeypatch.setattr(loop.Trainer, "_step", interrupted)


@pytest.fixture(scope="module")
def whole(lines: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train_network(lines, "tiny-student", out=run, train=SHORT)
    return run


def test_a_run_leaves_a_model_with_its_card_and_its_log(whole: Path, lines: str) -> None:
    model, card = load_model(whole / "tiny-student.safetensors")
    assert card.name == "tiny-student" and card.height == 32 and card.stride == 4
    assert card.data["path"] == lines and card.data["splits"]["train"]["lines"] == 24
    assert set(card.metrics["valid"]) == {"cer", "wer", "lines", "interval"}
    assert card.training["of"] == 6 and card.training["seed"] == 0
    assert {row["step"] for row in log(whole) if "cer" in row} == {2, 4, 6}
    assert list((whole / "tiny-student").glob("events.*"))
    assert not model.training


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_ctrl_c_and_resume_equal_an_uninterrupted_run(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    run = tmp_path / "run"
    press_ctrl_c_in(monkeypatch, steps)
    with pytest.raises(HtrError, match=f"stopped at step {steps} of 6; go on with --resume"):
        train_network(lines, "tiny-student", out=run, train=SHORT)
    result = train_network(resume=run)
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
        train_network(lines, "tiny-student", out=run, train=SHORT)
    train_network(resume=run)
    once, again = (load_file(folder / "tiny-student.safetensors") for folder in (whole, run))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert log(run) == log(whole)


def test_a_full_disk_is_told_and_costs_no_good_file(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    press_ctrl_c_in(monkeypatch, 4)
    with pytest.raises(HtrError):
        train_network(lines, "tiny-student", out=run, train=SHORT)
    before = {
        path: path.read_bytes() for path in (run / "tiny-student.safetensors", run / "tiny-student/checkpoint.pt")
    }

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(HtrError, match=r"cannot write .*No space left.*untouched"):
            train_network(resume=run)
    assert {path: path.read_bytes() for path in before} == before
    assert not list(run.rglob("*.tmp"))
    assert train_network(resume=run).fit.steps == 6


def test_a_loss_that_is_not_finite_stops_and_names_the_lines(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = loop.Trainer._total
    monkeypatch.setattr(loop.Trainer, "_total", lambda *a: {k: v * float("nan") for k, v in total(*a).items()})
    with pytest.raises(HtrError, match=r"not finite at step 1 \(lines train-\d+\.png"):
        train_network(lines, "tiny-student", out=tmp_path / "run", train=SHORT)


def test_a_run_is_not_mixed_with_another(whole: Path, lines: str, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="holds a run already"):
        train_network(lines, "tiny-student", out=whole)
    with pytest.raises(HtrError, match="--model differs"):
        train_network(model="student", resume=whole)
    with pytest.raises(HtrError, match="no run in this folder"):
        train_network(resume=tmp_path)
    with pytest.raises(HtrError, match=r"train\.lr was 0.003 and is 0.1"):
        (tmp_path / "run").mkdir()
        config = (whole / "config.yaml").read_text().replace("lr: 0.0", "lr: 0.1")
        (tmp_path / "run/config.yaml").write_text(config)
        (tmp_path / "run/tiny-student").symlink_to(whole / "tiny-student")
        train_network(resume=tmp_path / "run")
    with loop.Checkpoint(whole / "tiny-student", {}), pytest.raises(HtrError, match="another run is training"):
        train_network(resume=whole)


def test_a_changed_dataset_is_refused_on_resume(lines: str, tmp_path: Path) -> None:
    root = tmp_path / "lines"
    root.mkdir()
    for file in Path(lines).iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    train_network(str(root), "tiny-student", out=tmp_path / "run", train=SHORT)
    rows = (root / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (root / "train.tsv").write_text("".join(rows[1:]), encoding="utf-8")
    with pytest.raises(HtrError, match=r"is of another run: .*lines was 24 and is 23"):
        train_network(resume=tmp_path / "run")


def test_lines_that_ctc_cannot_emit_are_refused_past_the_stated_share(lines: str, tmp_path: Path) -> None:
    root = tmp_path / "lines"
    root.mkdir()
    for file in Path(lines).iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    with open(root / "train.tsv", "a", encoding="utf-8") as file:
        file.write("train-0.png\t" + "long " * 80 + "\n")
    with pytest.raises(HtrError, match=r"1 of 25 training lines have more characters than frames.*--train.infeasible"):
        train_network(str(root), "tiny-student", out=tmp_path / "a", train=SHORT)
    allowed = replace(SHORT, infeasible=0.1)
    result = train_network(str(root), "tiny-student", out=tmp_path / "b", train=allowed, augment=None)
    assert load_card(result.fit.path).data["not_emittable"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "epochs": 2}, "--train.steps or --train.epochs, not both"),
        ({"batch": -1}, "--train.batch must not be negative"),
        ({"ema": 1}, "--train.ema"),
    ],
)
def test_contradictions_name_their_flags(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HtrError, match=message):
        TrainConfig(**options)


def test_distillation_leaves_teacher_student_and_control(whole: Path, lines: str, tmp_path: Path) -> None:
    everywhere = DistillConfig(frames="all")  # after two steps the teacher has no spikes yet
    short = replace(SHORT, steps=2)
    result = distill_student(lines, out=tmp_path / "run", train=short, augment=AugmentConfig(), distill=everywhere)
    assert list(result.models) == ["teacher", "student", "control"]
    cards = {role: load_card(result.run / f"{role}.safetensors") for role in result.models}
    assert cards["student"].training["teacher"] == "teacher" and "teacher" not in cards["control"].training
    student, control = (load_file(result.run / f"{role}.safetensors") for role in ("student", "control"))
    assert student.keys() == control.keys()  # an ordinary file, no branch of a larger checkpoint
    assert any(not torch.equal(student[name], control[name]) for name in student)
    again = distill_student(resume=result.run)
    assert again.models["student"]["cer"] == result.models["student"]["cer"]


def test_a_teacher_of_another_height_is_refused(whole: Path, lines: str, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match=r"reads lines of height 32 .* the student of height 64"):
        distill_student(lines, teacher=whole, model="student-xs", out=tmp_path / "run", train=SHORT)
    with pytest.raises(HtrError, match="no run folder or model file"):
        distill_student(lines, teacher=tmp_path / "nothing", out=tmp_path / "other")
