"""Training and distillation end to end on a few lines: what comes out, what resumes, what is refused."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from htrcompress import loop
from htrcompress.adapt import set_charset
from htrcompress.artifact import load_card, load_model, save_model
from htrcompress.charset import Charset
from htrcompress.config import AugmentConfig, DistillConfig, TrainConfig
from htrcompress.distill import distill_student
from htrcompress.errors import HtrError
from htrcompress.train import train_network

SHORT = TrainConfig(steps=6, batch=8, valid_every=2, warmup=2, precision="fp32")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, write_lines: Callable[[Path, dict[str, int]], Path]) -> str:
    """A folder with a few lines."""
    return str(write_lines(tmp_path_factory.mktemp("data") / "lines", {"train": 24, "valid": 6, "test": 4}))


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


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
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
    told = r"not finite at step 1 \(lines train-\d+\.png.*train anew in another folder with a lower --train\.lr.*3\)$"
    with pytest.raises(HtrError, match=told):
        train_network(lines, "tiny-student", out=tmp_path / "run", train=SHORT)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_what_shrinks_it(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    interrupt_after(monkeypatch, 3, error)
    with pytest.raises(HtrError, match=r"out of memory at step 4: choose a smaller --train.batch \(it is 8\)"):
        train_network(lines, "tiny-student", out=tmp_path / "run", train=SHORT)
    assert load_card(tmp_path / "run/tiny-student.safetensors").training["steps"] == 2


def test_two_processes_lose_what_one_does(whole: Path, lines: str, tmp_path: Path) -> None:
    """Over gloo, on lines of unequal length: the loss is averaged over the whole batch, not over processes.

    One batch of an epoch is a single line, so that the second process has none of its own. Processes that do not know
    of each other would not get past the lock of the run folder.
    """
    runs = []
    for processes in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        launch += ["--master_port", str(free_port())]
        command = ["-m", "htrcompress.train", "--data", lines, "--model", "tiny-student", "--augment", "null"]
        command += ["--out", str(tmp_path / f"{processes}"), "--train.precision", "fp32", "--train.lines", "17"]
        command += ["--train.steps", "10", "--train.batch", "8", "--train.warmup", "2", "--train.valid_every", "3"]
        done = subprocess.run([*launch, *command], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("17 training") == 1
        runs.append([(row["step"], row["ctc"]) for row in log(tmp_path / f"{processes}") if "ctc" in row])
    assert [step for step, _ in runs[0]] == [step for step, _ in runs[1]] == [1, 10]
    assert max(abs(a - b) for (_, a), (_, b) in zip(*runs, strict=True)) < 1e-5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_several_processes_must_be_told_where_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HtrError, match="must agree on the run folder: name it with --out"):
        train_network("synthetic", "tiny-student")


def test_a_trained_model_learns_new_lines(whole: Path, lines: str, tmp_path: Path) -> None:
    start = whole / "tiny-student.safetensors"
    result = train_network(lines, init=whole, out=tmp_path / "run", train=replace(SHORT, lines=10))
    card, before = load_card(result.fit.path), load_card(start)
    assert result.fit.path.name == "tiny-student.safetensors" and card.charset == before.charset
    assert card.data["splits"]["train"]["lines"] == 10 and card.training["init"]["name"] == "tiny-student"
    assert card.data["splits"]["valid"] == before.data["splits"]["valid"]

    other = tmp_path / "other"
    other.mkdir()
    for file in Path(lines).iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    rows = (other / "train.tsv").read_text(encoding="utf-8").split("\n", 1)
    (other / "train.tsv").write_text(f"{rows[0]} Ω\n{rows[1]}", encoding="utf-8")
    with pytest.raises(HtrError, match=r"does not know 'Ω': choose --charset keep"):
        train_network(str(other), init=start, out=tmp_path / "refused", train=SHORT)
    for choice, known in (("keep", before.charset), ("union", tuple(sorted([*before.charset, "Ω"])))):
        out = tmp_path / choice
        result = train_network(str(other), init=start, charset=choice, out=out, train=SHORT)  # type: ignore[arg-type]
        assert load_card(result.fit.path).charset == known
    with pytest.raises(HtrError, match="--model or --init, not both"):
        train_network(lines, "student", init=start)
    with pytest.raises(HtrError, match="--charset says what becomes of the characters of --init"):
        train_network(lines, charset="keep")
    assert train_network(resume=tmp_path / "union", charset="union").fit.steps == 6

    for split in ("train", "valid"):
        (other / f"{split}.tsv").write_text(f"{split}-0.png\tΩΩ\n{split}-1.png\tΩ\n", encoding="utf-8")
    for share in (0.02, 1.0):
        with pytest.raises(
            HtrError, match=r"2 of 2 training lines hold no character of the model's charset.* union or"
        ):
            train_network(
                str(other),
                init=start,
                charset="keep",
                out=tmp_path / f"{share}",
                train=replace(SHORT, infeasible=share),
            )


def test_a_run_writes_over_no_model(whole: Path, lines: str, tmp_path: Path) -> None:
    model = tmp_path / "models/mine.safetensors"
    model.parent.mkdir()
    shutil.copy(whole / "tiny-student.safetensors", model)
    before = model.read_bytes()
    with pytest.raises(HtrError, match="holds models, which a run could write over"):
        train_network(lines, init=model, out=model.parent, train=SHORT)
    assert model.read_bytes() == before and list(model.parent.iterdir()) == [model]


def test_a_start_with_wrong_data_is_not_in_the_way_of_the_next(whole: Path, lines: str, tmp_path: Path) -> None:
    short, out = replace(SHORT, steps=1), tmp_path / "run"
    for data, unlabelled in (("nowhere", None), (lines, tmp_path / "nothing")):
        with pytest.raises(HtrError, match="there is no such folder"):
            distill_student(data, whole, "tiny-student", False, unlabelled, out, train=short)
    assert [path.name for path in out.iterdir()] == ["config.yaml"]
    distill_student(lines, whole, "tiny-student", False, out=out, train=short, distill=DistillConfig(frames="all"))


def test_what_a_power_cut_left_of_the_log_is_dropped(tmp_path: Path) -> None:
    rows = ['{"step": 1, "loss": 2.5}', "\0\0\0}", "[1]", "{}", '{"step": 2, "loss": 2.0}', '{"step": 3, "lo']
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    loop.Journal(tmp_path, 1).close()
    assert (tmp_path / "log.jsonl").read_text() == f"{rows[0]}\n"


def test_a_folder_that_cannot_be_locked_or_logged_in_is_told(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(HtrError, match="cannot write in the folder"), loop.Checkpoint(tmp_path, {}):
        pass
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(HtrError, match=r"cannot write the log .*log\.jsonl"):
        loop.Journal(tmp_path, 0)


def test_a_closed_pipe_does_not_end_a_training(lines: str, tmp_path: Path) -> None:
    """As behind `| head`, which reads the first line and goes."""
    command = [sys.executable, "-m", "htrcompress.train", "--data", lines, "--model", "tiny-student", "--out"]
    command += [str(tmp_path / "run"), "--train.steps", "3", "--train.valid_every", "1", "--train.precision", "fp32"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait() == 0 and "Error" not in errors, errors
    assert load_card(tmp_path / "run/tiny-student.safetensors").training["of"] == 3


def test_unlabelled_lines_teach_the_student_alone(whole: Path, lines: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in Path(lines).glob("test-*.png"):
        (images / file.name).write_bytes(file.read_bytes())
    everywhere = DistillConfig(frames="all")
    short = replace(SHORT, steps=None, epochs=1)
    result = distill_student(
        lines, whole, "tiny-student", unlabelled=images, out=tmp_path / "run", train=short, distill=everywhere
    )
    student, control = (load_card(result.run / f"{role}.safetensors") for role in ("student", "control"))
    assert student.training["unlabelled"]["lines"] == 4 and "unlabelled" not in control.training
    assert student.training["of"] == control.training["of"] == 4  # 28 lines in batches of 8
    seen = [row["kd"] for row in log(result.run, "student") if "kd" in row]
    assert seen and all(value > 0 for value in seen)
    with pytest.raises(HtrError, match=r"--unlabelled lines teach nothing with --distill\.weight 0"):
        distill_student(lines, whole, unlabelled=images, distill=DistillConfig(weight=0))


def test_a_teacher_of_another_charset_is_mapped_or_refused(whole: Path, lines: str, tmp_path: Path) -> None:
    def teacher(name: str, charset: tuple[str, ...]) -> Path:
        network, card = load_model(whole / "tiny-student.safetensors")
        set_charset(network, card.characters(), Charset(charset), learn=True)
        save_model(tmp_path / f"{name}.safetensors", network, replace(card, charset=charset))
        return tmp_path / f"{name}.safetensors"

    known = load_card(whole / "tiny-student.safetensors").charset
    short = replace(SHORT, steps=2)
    for name, charset, expected in (("less", known[3:], known), ("more", (*known, "Ω"), (*known, "Ω"))):
        path, out = teacher(name, charset), tmp_path / f"run-{name}"
        distill_student(lines, path, "tiny-student", control=False, out=out, train=short)
        assert load_card(out / "student.safetensors").charset == expected
    with pytest.raises(HtrError, match=r"the teacher reads 'Ω', which the lines lack, and not "):
        distill_student(lines, teacher("odd", (*known[3:], "Ω")), "tiny-student", out=tmp_path / "x", train=short)


def test_a_run_is_not_mixed_with_another(whole: Path, lines: str, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="holds a run already"):
        train_network(lines, "tiny-student", out=whole)
    with pytest.raises(HtrError, match="--model differs"):
        train_network(model="student", resume=whole)
    with pytest.raises(HtrError, match=r"--train\.batch differs"):
        train_network(resume=whole, train=TrainConfig(batch=4))
    assert train_network(resume=whole, train=TrainConfig(batch=8)).fit.steps == 6  # as it was started
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
        ({"lr": float("nan")}, r"--train\.lr must be a finite number, not nan"),
        ({"epochs": float("inf")}, r"--train\.epochs must be a finite number, not inf"),
        ({"seed": 10**15}, r"--train\.seed must be at most 1,000,000,000"),
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
    assert cards["student"].training["teacher"]["name"] == "teacher" and "teacher" not in cards["control"].training
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
