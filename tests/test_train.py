"""Training end to end on a few lines: what comes out, several processes, fine-tuning, what is refused."""

import logging
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from trainings import SHORT, interrupt_after, log, weights_differ_by

from htrcompress.cli import run_command
from htrcompress.config import TrainConfig
from htrcompress.data.batching import Batch
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card, load_model, save_model
from htrcompress.train import TrainOptions, train, train_command
from htrcompress.training import objective, trainer
from htrcompress.training.losses import ctc_loss


def test_a_run_leaves_a_model_with_its_card_and_its_log(whole: Path, lines: str) -> None:
    model, card = load_model(whole / "tiny-student.safetensors")
    assert card.name == "tiny-student" and card.height == 32 and card.stride == 4
    assert card.data["name"] == Path(lines).name and card.data["splits"]["train"]["lines"] == 24
    assert set(card.metrics["valid"]) == {"cer", "wer", "lines", "interval"}
    assert card.training["of"] == 6 and card.training["seed"] == 0
    assert {row["step"] for row in log(whole) if "cer" in row} == {2, 4, 6}
    assert list((whole / "tiny-student").glob("events.*"))
    assert not model.training


def test_a_loss_that_is_not_finite_stops_and_names_the_lines(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(logits: torch.Tensor, frames: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        total, count = ctc_loss(logits, frames, batch)
        return total * float("nan"), count

    monkeypatch.setattr(objective, "ctc_loss", nan)
    with pytest.raises(HtrError, match=r"step 1 \(lines train-\d+\.png.*--train\.lr"):
        train(TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=SHORT))


def test_gradients_that_are_not_finite_reach_no_weight(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, before = Accelerator.backward, {}

    def overflow(self: Accelerator, loss: torch.Tensor) -> None:
        backward(self, loss)
        [model] = self._models
        before.update({name: value.clone() for name, value in model.state_dict().items()})
        overflow.model = model  # type: ignore[attr-defined]
        next(model.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]

    monkeypatch.setattr(Accelerator, "backward", overflow)
    with pytest.raises(HtrError, match=r"the gradients.*step 1 \(lines train-.*--train\.lr"):
        train(TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=SHORT))
    after = overflow.model.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    network, card = load_model(whole / "tiny-student.safetensors")
    network.stem.conv.weight.data[0] = float("nan")  # type: ignore[union-attr,operator]
    with pytest.raises(HtrError, match=r"mine\.safetensors.*stem\.conv\.weight"):
        save_model(tmp_path / "mine.safetensors", network, card)


def test_memory_that_runs_out_on_the_way_to_the_device_is_told(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Accelerator, "prepare", full)
    with pytest.raises(HtrError, match=r"step 1.*--train\.batch"):
        train(TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=SHORT))
    monkeypatch.setattr(trainer, "adamw", full)  # where nobody expects it
    with pytest.raises(SystemExit, match="2"):
        run_command(
            train_command, argv=["--data", lines, "--train.precision", "fp32", "--out", str(tmp_path / "other")]
        )
    assert capsys.readouterr().err.startswith("error: out of memory: give the command less at a time")


def test_fp16_without_a_gpu_is_refused(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(HtrError, match=r"--train\.precision"):
        train(
            TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=replace(SHORT, precision="fp16"))
        )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]


def test_validation_reads_no_more_at_a_time_than_training(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    validate = trainer.validate
    monkeypatch.setattr(trainer, "validate", lambda *a: seen.append(a[-1]) or validate(*a))  # type: ignore[func-returns-value]
    train(TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=replace(SHORT, steps=1, batch=2)))
    assert seen == [2]


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
    with pytest.raises(HtrError, match=r"step 4.*--train\.batch"):
        train(TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=SHORT))
    assert load_card(tmp_path / "run/tiny-student.safetensors").training["steps"] == 2


def test_two_processes_lose_what_one_does(whole: Path, lines: str, tmp_path: Path) -> None:
    """Over gloo, on lines of unequal length: the loss is averaged over the whole batch, not over processes.

    One batch of an epoch is a single line, so that the second process has none of its own. Processes that do not know
    of each other would not get past the lock of the run folder.
    """
    command = ["--data", lines, "--model", "tiny-student", "--augment", "null", "--train.precision", "fp32"]
    command += ["--train.lines", "17", "--train.steps", "10", "--train.batch", "8", "--train.warmup", "2"]
    command += ["--train.valid_every", "3", "--out"]
    with pytest.raises(SystemExit) as ended:
        run_command(train_command, argv=[*command, str(tmp_path / "1")])
    assert ended.value.code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launch += ["--master_port", str(free_port()), "-m", "htrcompress.train"]
    done = subprocess.run([*launch, *command, str(tmp_path / "2")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("17 training") == 1
    runs = [[(row["step"], row["ctc"]) for row in log(tmp_path / name) if "ctc" in row] for name in ("1", "2")]
    assert [step for step, _ in runs[0]] == [step for step, _ in runs[1]] == [1, 10]
    assert max(abs(a - b) for (_, a), (_, b) in zip(*runs, strict=True)) < 1e-5
    assert weights_differ_by(tmp_path / "1", tmp_path / "2") < 1e-2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_several_processes_must_be_told_where_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HtrError, match="--out"):
        train(TrainOptions(data="synthetic", model="tiny-student"))


def test_a_trained_model_learns_new_lines(whole: Path, lines: str, tmp_path: Path) -> None:
    start = whole / "tiny-student.safetensors"
    result = train(TrainOptions(data=lines, init=whole, out=tmp_path / "run", train=replace(SHORT, lines=10)))
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
    both = tuple(sorted([*before.charset, "Ω"]))
    for choice, known in (("keep", before.charset), ("union", both), (None, both)):
        out = tmp_path / str(choice)
        result = train(TrainOptions(data=str(other), init=start, charset=choice, out=out, train=SHORT))  # type: ignore[arg-type]
        assert load_card(result.fit.path).charset == known
    with pytest.raises(HtrError, match=r"--model.*--init"):
        train(TrainOptions(data=lines, model="student", init=start))
    with pytest.raises(HtrError, match=r"--charset.*--init"):
        train(TrainOptions(data=lines, charset="keep"))
    start.rename(tmp_path / "gone.safetensors")  # a run goes on with its own copy
    assert train(TrainOptions(resume=tmp_path / "union", charset="union")).fit.steps == 6
    (tmp_path / "gone.safetensors").rename(start)

    for split in ("train", "valid"):
        (other / f"{split}.tsv").write_text(f"{split}-0.png\tΩΩ\n{split}-1.png\tΩ\n", encoding="utf-8")
    for share in (0.02, 1.0):
        with pytest.raises(HtrError, match=r"2 of 2.*union"):
            train(
                TrainOptions(
                    data=str(other),
                    init=start,
                    charset="keep",
                    out=tmp_path / f"{share}",
                    train=replace(SHORT, max_too_narrow=share),
                )
            )


def test_a_run_writes_over_no_model(whole: Path, lines: str, tmp_path: Path) -> None:
    model = tmp_path / "models/mine.safetensors"
    model.parent.mkdir()
    shutil.copy(whole / "tiny-student.safetensors", model)
    before = model.read_bytes()
    with pytest.raises(HtrError, match="--out"):
        train(TrainOptions(data=lines, init=model, out=model.parent, train=SHORT))
    assert model.read_bytes() == before and list(model.parent.iterdir()) == [model]


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


def test_a_training_from_python_prints_nothing_and_logs_what_it_does(
    whole: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    for level, logged in ((logging.INFO, True), (logging.WARNING, False)):
        caplog.clear()
        caplog.set_level(level, "htrcompress")  # as a notebook silences it
        train(TrainOptions(resume=run))
        assert bool([record for record in caplog.records if record.name.startswith("htrcompress")]) == logged
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_what_suits_a_preset_does_not_depend_on_the_name_of_the_file(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    trained = SimpleNamespace(path=whole / "tiny-student.safetensors", steps=1, cer=None)
    monkeypatch.setattr(trainer.Trainer, "fit", lambda self: found.append(self.config) or trained)
    for name in ("tiny-student", "student"):
        start = shutil.copy(whole / "tiny-student.safetensors", tmp_path / f"{name}.safetensors")
        train(TrainOptions(data=lines, init=Path(start), out=tmp_path / name, train=TrainConfig(epochs=1)))
    assert found[0] == found[1] and found[0].batch == 32


def test_a_short_run_reaches_its_learning_rate() -> None:
    config = TrainConfig(lr=1.0, warmup=200)
    for steps in (3, 50, 210, 5000):
        rates = [config.rate(step, steps) for step in range(steps)]
        assert max(rates) > 0.7 and rates[-1] < 0.3
        assert rates.index(max(rates)) <= min(200, 0.1 * steps)


def test_lines_that_ctc_cannot_emit_are_refused_past_the_stated_share(lines: str, tmp_path: Path) -> None:
    root = tmp_path / "lines"
    root.mkdir()
    for file in Path(lines).iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    shutil.copy(root / "train-0.png", root / "narrow.png")
    with open(root / "train.tsv", "a", encoding="utf-8") as file:
        file.write("narrow.png\t" + "long " * 80 + "\n")
    with pytest.raises(HtrError, match=r"1 of 25.*--train\.max_too_narrow"):
        train(TrainOptions(data=str(root), model="tiny-student", out=tmp_path / "a", train=SHORT))
    allowed = replace(SHORT, max_too_narrow=0.1)
    result = train(TrainOptions(data=str(root), model="tiny-student", out=tmp_path / "b", train=allowed, augment=None))
    assert load_card(result.fit.path).data["not_emittable"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "epochs": 2}, r"--train\.steps.*--train\.epochs"),
        ({"batch": -1}, r"--train\.batch"),
        ({"ema": 1}, r"--train\.ema"),
        ({"lr": float("nan")}, r"--train\.lr"),
        ({"epochs": float("inf")}, r"--train\.epochs"),
        ({"seed": 10**15}, r"--train\.seed"),
    ],
)
def test_contradictions_name_their_flags(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HtrError, match=message):
        TrainConfig(**options)
