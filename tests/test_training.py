"""Parts of the training loop: arithmetic, seeds, checkpoints, skipped steps, waits for other processes."""

import logging
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from htrcompress import models
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.compression.distillation import DistillationLoss
from htrcompress.config import DistillConfig, TrainConfig
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.readers import ReadConfig
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import HtrError
from htrcompress.training import validation
from htrcompress.training.checkpoint import Checkpoint, _differences, run_fingerprint
from htrcompress.training.data import open_training_data
from htrcompress.training.logging import TrainState
from htrcompress.training.objective import Objective, build_objective
from htrcompress.training.optim import ScalerState, accelerator
from htrcompress.training.step import FiniteCheck, process_seed, step_seed
from htrcompress.training.trainer import Trainer

CONFIG = TrainConfig(steps=4, batch=4, lr=1e-3, warmup=1, precision="fp32")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(scope="module")
def few() -> tuple[EncodedLines, Charset]:
    lines = open_synthetic({"train": 4, "valid": 1, "test": 1}).split("train")
    charset = Charset.of(line.text for line in lines)
    return encode_lines(lines, charset, 32, 4096), charset


def trainer_for(few: tuple[EncodedLines, Charset], path: Path, config: TrainConfig = CONFIG) -> Trainer:
    lines, charset = few
    torch.manual_seed(0)
    network = models.create("tiny-student", charset.classes)
    card = Card("few", models.architecture(network), charset.characters, 32, models.STRIDE, 4096)
    return Trainer(build_objective(network, charset), card, lines, lines, path, config, None)


class OverflowingOptimizer:
    """An optimiser whose gradient scaler skips the step."""

    step_was_skipped = True
    param_groups: ClassVar[list[dict[str, Any]]] = []

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...


class FallingScaler:
    """A gradient scaler that halves its scale at every step."""

    def __init__(self) -> None:
        self.value = 2.0**16

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return loss

    def get_scale(self) -> float:
        self.value /= 2
        return self.value


def test_a_step_that_the_scaler_skips_counts_nowhere(few: tuple[EncodedLines, Charset], tmp_path: Path) -> None:
    trainer = trainer_for(few, tmp_path / "few.safetensors")
    trainer.accelerator.scaler = FallingScaler()
    before = {name: value.clone() for name, value in trainer.average.objective.state_dict().items()}
    state = TrainState()
    for _ in range(3):
        trainer._step(trainer.objective, OverflowingOptimizer(), state)
    assert (state.step, state.lines) == (0, 0)
    assert all(torch.equal(value, before[name]) for name, value in trainer.average.objective.state_dict().items())
    trainer.accelerator.scaler.value = 2.0**-20
    with pytest.raises(HtrError, match=r"gradients.*--train\.lr"):
        trainer._step(trainer.objective, OverflowingOptimizer(), state)


def test_nothing_is_validated_after_a_step_that_was_skipped(
    few: tuple[EncodedLines, Charset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, valid_every=2)
    whole = trainer_for(few, tmp_path / "whole.safetensors", config).fit()
    trainer = trainer_for(few, tmp_path / "skipping.safetensors", config)
    step, skipped = trainer._step, iter([False, True, False, True, True, False, False])

    def often_skipped(*given: Any) -> bool:
        return False if next(skipped) else step(*given)

    monkeypatch.setattr(trainer, "_step", often_skipped)
    assert [(at, cer) for at, _, cer in trainer.fit().curve] == [(at, cer) for at, _, cer in whole.curve]


def test_the_gradient_scaler_is_a_part_of_a_checkpoint(tmp_path: Path) -> None:
    scaler, fresh = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (512.0, 8.0))  # type: ignore[attr-defined]
    scaler.scale(torch.ones(1))
    with Checkpoint(tmp_path, {}) as checkpoint:
        checkpoint.save(TrainState(step=1), scaler=ScalerState(scaler))
        checkpoint.restore(scaler=ScalerState(fresh))
        assert fresh.get_scale() == 512.0
        assert checkpoint.restore(scaler=ScalerState(None)).step == 1


@gpu
def test_fp16_training_resumes_with_its_scale(few: tuple[EncodedLines, Charset], tmp_path: Path) -> None:
    trainer_for(few, tmp_path / "few.safetensors", TrainConfig(steps=4, batch=4, lr=1e-3, precision="fp16")).fit()
    saved = torch.load(tmp_path / "few/checkpoint.pt", weights_only=True)
    assert saved["scaler"]["scale"] > 0 and saved["state"]["step"] == 4


def test_processes_share_a_steps_seed_and_draw_different_dropout() -> None:
    seeds = [process_seed(step_seed(seed, step), rank, 3) for seed in (0, 1) for step in range(4) for rank in range(3)]
    assert len(set(seeds)) == len(seeds)
    assert process_seed(step_seed(7, 5), 0, 1) == step_seed(7, 5)


def test_another_version_of_a_library_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Checkpoint(tmp_path, {"a": 1}, {"pillow": "13.0.0"}) as checkpoint:
        checkpoint.save(TrainState(step=3))
    with Checkpoint(tmp_path, {"a": 1}, {"pillow": "13.0.1"}) as checkpoint, caplog.at_level(logging.WARNING):
        assert checkpoint.restore().step == 3
    assert "pillow" in caplog.text and "13.0.1" in caplog.text
    empty = EncodedLines([], [], [], [])
    card = Card("x", {}, ("a",), 32, 4, 99, data={"name": "d"}, versions={"pillow": "1"})
    assert "versions" not in run_fingerprint(CONFIG, None, card, empty, empty, {})["card"]


def test_a_card_names_no_folder_of_this_machine(lines: str) -> None:
    data = open_training_data(lines, 32, CONFIG, ReadConfig())
    card = data.card("x", models.create("tiny-student", data.charset.classes), {})
    assert card.data["name"] == Path(lines).name and str(Path(lines).parent) not in card.to_json()


def dtypes_of(module: nn.Module, found: list[torch.dtype]) -> None:
    module.register_forward_hook(lambda *values: found.append(values[2].dtype))


def test_a_teacher_computes_as_its_student_does_and_validation_in_fp32(few: tuple[EncodedLines, Charset]) -> None:
    lines, charset = few
    student, teacher = (models.create("tiny-student", charset.classes) for _ in range(2))
    found: dict[str, list[torch.dtype]] = {"student": [], "teacher": []}
    dtypes_of(student.get_submodule("head"), found["student"])
    dtypes_of(teacher.get_submodule("head"), found["teacher"])
    objective = Objective(student, {"distill": DistillationLoss(teacher, student, DistillConfig())})
    with torch.autocast("cpu", torch.bfloat16):
        objective(lines.batch([0]))
        assert found == {"student": [torch.bfloat16], "teacher": [torch.bfloat16]}
        validation.validate(student.eval(), lines, charset)
    assert set(found["student"][1:]) == {torch.float32}


def test_validation_follows_the_network_to_its_device(
    few: tuple[EncodedLines, Charset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`prune` once validated networks that were still on the CPU with pixels on the GPU."""
    lines, charset = few
    devices = []

    def decode(logits: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        devices.append(logits.device.type)
        return torch.zeros(len(logits), 1).long(), torch.zeros(len(logits)).long(), torch.zeros(len(logits))

    monkeypatch.setattr(validation.greedy, "greedy", decode)
    network = models.create("tiny-student", charset.classes).eval().to("meta")
    assert validation.validate(network, lines, charset).cer == 1.0 and devices == ["meta"]


def test_the_first_step_that_is_not_finite_is_remembered() -> None:
    check, one, nan = FiniteCheck(torch.device("cpu")), torch.ones(()), torch.full((), float("nan"))
    check.note(1, one, one)
    assert check.first_bad() is None
    check.note(2, one, None)
    check.note(3, one, nan)
    check.note(4, nan, nan)
    assert check.first_bad() == ("gradients", 3)


def test_a_half_launched_training_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(HtrError, match="MASTER_ADDR"):
        accelerator(CONFIG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_others_hears_signals(number: signal.Signals) -> None:
    code = """
import signal, sys
import torch.distributed as dist
from htrcompress.training import interrupt
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
interrupt.GRACE_SECONDS = 0.5
interrupt.end_blocked_waits()
with interrupt.GracefulInterrupt():
    print("ready", flush=True)
    dist.TCPStore("127.0.0.1", 0, 2, is_master=True, wait_for_workers=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors


def test_signals_that_come_before_the_handler_runs_are_heard_together() -> None:
    code = """
import signal, socket, threading, time
from htrcompress.training import interrupt
interrupt.GRACE_SECONDS = 0.5
reader, writer = socket.socketpair()
interrupt._heard.set()  # the handler has run, once for both
writer.send(bytes([signal.SIGINT] * 2))
threading.Thread(target=interrupt._watch, args=(reader, writer), daemon=True).start()
time.sleep(2)
print("goes on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "goes on\n", done.stderr


def test_an_option_that_came_after_a_checkpoint_is_no_difference_where_it_is_off() -> None:
    assert not _differences({"read": {"iam": None}}, {"read": {"iam": None, "plain": False}})
    assert _differences({"read": {}}, {"read": {"plain": True}}) == ["read.plain was null and is true"]
    assert _differences({"seed": 1}, {"seed": 0})
