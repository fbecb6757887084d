"""The training loop: steps, validation, the best model kept, checkpoints and resume.

A step is a function of (seed, step) alone, so that a run that was stopped and resumed equals one that was not. `train`,
`distill` and `prune` use `Trainer`. On a GPU the loop waits for results only every tenth step.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from htrcompress.card import Card
from htrcompress.config import AugmentConfig, TrainConfig
from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import HtrError, enough_memory
from htrcompress.models.base import LineRecognizer
from htrcompress.training.average import Average
from htrcompress.training.batches import TrainingBatches
from htrcompress.training.checkpoint import Checkpoint, run_fingerprint
from htrcompress.training.interrupt import GracefulInterrupt
from htrcompress.training.logging import LOG_EVERY, MetricsLogger, TrainState
from htrcompress.training.losses import LossTerm
from htrcompress.training.objective import Objective
from htrcompress.training.optim import ScalerState, accelerator, adamw
from htrcompress.training.progress import TrainProgress
from htrcompress.training.step import FiniteCheck, StepLosses, reduce_terms
from htrcompress.training.validation import validate

logger = logging.getLogger(__name__)

SMALLEST_SCALE = 2.0**-20
"""A gradient scaler that has fallen below this will not find a scale at which the gradients are finite."""


@dataclass(frozen=True)
class FitResult:
    """The result of a training.

    Attributes:
        path: the best model's file.
        cer: its CER on validation, a fraction; None where there were no validation lines.
        steps: optimiser steps done.
        seconds: spent on steps, including those before a resume, without validation.
        lines_per_second: training lines a second, without validation.
        curve: (step, seconds, CER) of every validation.
    """

    path: Path
    cer: float | None
    steps: int
    seconds: float
    lines_per_second: float
    curve: list[tuple[int, float, float]]


class Trainer:
    """Trains `objective.model` and leaves the best model on validation at `path`.

    Checkpoint, log and TensorBoard events go to the folder `path` without its suffix; where there is a checkpoint
    already, the run continues from it.

    Args:
        objective: the network with its losses.
        card: the card of the model's file; metrics and training are filled in.
        train: the training lines, all of which CTC can emit.
        valid: the validation lines; without any, the model after the last step is kept.
        path: the `.safetensors` file to write.
        config: how to train.
        augmentation: how to vary the training lines; None leaves them as they are.
        progress: is called at every step and validation.
        memory_advice: options that reduce the memory of the auxiliary losses, to be named where memory runs out.
    """

    def __init__(
        self,
        objective: Objective,
        card: Card,
        train: EncodedLines,
        valid: EncodedLines,
        path: Path,
        config: TrainConfig,
        augmentation: AugmentConfig | None,
        progress: TrainProgress | None = None,
        memory_advice: Sequence[str] = (),
    ):
        self.card, self.train, self.valid, self.path = card, train, valid, path
        self.config, self.augmentation = config, augmentation
        self.progress, self.memory_advice = progress or TrainProgress(), memory_advice
        self.accelerator = accelerator(config)
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        self.batches = TrainingBatches(train, config.batch, config.seed, augmentation, card.stride, rank, processes)
        self.steps = config.total_steps(self.batches.per_epoch)
        self.valid_every = config.valid_every or max(1, self.steps // 10)
        self.objective: Objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Average(self.objective, config.ema, config.keep or 0.0)
        self.optimizer = adamw(objective, config)
        self.interrupt = GracefulInterrupt()
        self.finite = FiniteCheck(self.accelerator.device)
        self.losses: StepLosses | None = None
        self.saved = time.monotonic()

    def fit(self) -> FitResult:
        """Runs until the last step.

        Raises:
            HtrError: the loss is not finite, there is too little memory, a file cannot be written, the checkpoint is
                of another run, or Ctrl-C was pressed; the training up to there can be resumed.
        """
        run = run_fingerprint(
            self.config, self.augmentation, self.card, self.train, self.valid, self.objective.fingerprint()
        )
        folder = self.path.with_suffix("")
        with Checkpoint(folder, run, self.card.versions, self.accelerator.is_main_process) as checkpoint:
            state = checkpoint.restore(**self._parts())
            if (state.best is not None or self._ended(state)) and not self.path.is_file():
                raise HtrError(f"{self.path}, the best model of this run, is missing: put it back or train again")
            if not self._ended(state):
                with enough_memory(lambda: self._out_of_memory(state)):
                    self._run(state, checkpoint)
            self.accelerator.wait_for_everyone()  # from here on, all processes see the files of the first one
        return FitResult(self.path, state.best, state.step, state.seconds, state.lines / state.seconds, state.curve)

    def _run(self, state: TrainState, checkpoint: Checkpoint) -> None:
        wrapped, optimizer = self.accelerator.prepare(self.objective, self.optimizer)
        self.average.to(self.accelerator.device)
        log = MetricsLogger(checkpoint.path.parent, state.step) if self.accelerator.is_main_process else None
        self.progress.started(self.card.name, self.steps, state)
        try:
            with self.interrupt:
                while not self._ended(state):
                    if self._stopped(state):
                        self._save(state, checkpoint)
                        raise HtrError(
                            f"stopped at step {state.step} of {self.steps}; go on with --resume {self.path.parent}"
                        )
                    clock = time.perf_counter()
                    done = self._step(wrapped, optimizer, state)
                    at_validation = done and (state.step % self.valid_every == 0 or state.step == self.steps)
                    at_save = time.monotonic() - self.saved > 60 * self.config.save_minutes
                    values = self._values(state, at_validation or at_save)
                    state.seconds += time.perf_counter() - clock
                    if log and values and done:
                        log.step(state, values, self.config.rate(state.step - 1, self.steps))
                    self.progress.stepped(state, values.get("loss"))
                    if at_validation:
                        self._validate(state, log)
                    if at_validation or at_save:
                        self._save(state, checkpoint)
        finally:
            self.progress.ended()
            if log:
                log.close()

    def _step(self, wrapped: nn.Module, optimizer: Any, state: TrainState) -> bool:
        """One optimiser step, which `state` counts; False if the gradient scaler skipped it, and it is tried again."""
        batch, lines = self.batches.batch(state.step, self.accelerator.device)
        torch.manual_seed(self.batches.own_seed(state.step))  # for dropout, which differs between processes
        for group in optimizer.param_groups:
            group["lr"] = self.config.rate(state.step, self.steps)
        wrapped.train()
        with self.accelerator.autocast():
            terms: dict[str, LossTerm] = wrapped(batch, lines)
        idle = len(lines.labelled) <= self.batches.rank  # a batch of fewer lines than processes
        loss, self.losses = reduce_terms(terms, self.accelerator, idle, self.interrupt.asked)
        optimizer.zero_grad()
        self.accelerator.backward(loss * self.batches.processes)
        norm = self.accelerator.clip_grad_norm_(wrapped.parameters(), self.config.clip)
        scaler = self.accelerator.scaler
        self.finite.note(state.step, self.losses.loss, None if scaler else norm)
        if self.accelerator.device.type == "cpu":
            self._require_finite()
        optimizer.step()
        if scaler and optimizer.step_was_skipped:  # its gradients overflowed; the scale is lower now
            if scaler.get_scale() < SMALLEST_SCALE:
                raise self._diverged("gradients", state.step)
            return False
        self.average.update(self.objective, state.step)
        state.step += 1
        state.lines += len(lines.labelled)
        return True

    def _values(self, state: TrainState, now: bool) -> dict[str, float]:
        """The losses of the last step as numbers; empty where reading them would make a GPU wait.

        Raises:
            HtrError: the loss or the gradients of a step since the last call were not finite.
        """
        waits = self.accelerator.device.type != "cpu"
        if waits and not now and state.step % LOG_EVERY and state.step != 1:
            return {}
        self._require_finite()
        assert self.losses is not None
        return self.losses.values()

    def _require_finite(self) -> None:
        bad = self.finite.first_bad()
        if bad is not None:
            raise self._diverged(*bad)

    def _stopped(self, state: TrainState) -> bool:
        """Whether to stop after the last step: all processes at the same one, if any of them was asked to."""
        if self.accelerator.num_processes == 1:
            return self.interrupt.asked
        waits = self.accelerator.device.type != "cpu" and state.step % LOG_EVERY
        return self.losses is not None and not waits and self.losses.stop_requested()

    def _ended(self, state: TrainState) -> bool:
        """Whether the last step is done, or validation has not improved for as long as the options allow."""
        patience = self.config.patience
        return state.step >= self.steps or (patience is not None and state.since_best() >= patience)

    def _validate(self, state: TrainState, log: MetricsLogger | None) -> None:
        """Scores the model as it would be saved, and writes it if it is the best so far."""
        model = self.average.model()
        if not len(self.valid):
            if log and state.step == self.steps:
                self._write_model(model, state, {})
            return
        score = validate(model, self.valid, self.card.characters(), min(32, self.config.batch))
        best = state.record(score.cer)
        loss, speed = self.losses.loss.item() if self.losses else 0.0, state.lines / max(state.seconds, 1e-9)
        message = "step %d/%d  %s  loss %.3f  CER %.2f %%  %.0f lines/s"
        logger.info(message, state.step, self.steps, self.card.name, loss, 100 * score.cer, speed)
        self.progress.validated(state)
        if log:
            log.valid(state, score)
        if best and log:
            low, high = score.interval()
            figures = {"cer": score.cer, "wer": score.wer, "lines": len(score.edits), "interval": [low, high]}
            self._write_model(model, state, {"valid": figures})

    def _write_model(self, model: LineRecognizer, state: TrainState, metrics: dict[str, Any]) -> None:
        """Writes the model's file with its card filled in."""
        done = {
            **self.card.training,
            "steps": state.step,
            "of": self.steps,
            "lines": state.lines,
            "seconds": round(state.seconds, 1),
            "options": asdict(self.config),
        }
        self.average.write(self.path, model, replace(self.card, metrics=metrics, training=done))

    def _parts(self) -> dict[str, Any]:
        scaler = ScalerState(self.accelerator.scaler)
        average = self.average.objective
        return {"objective": self.objective, "average": average, "optimizer": self.optimizer, "scaler": scaler}

    def _save(self, state: TrainState, checkpoint: Checkpoint) -> None:
        checkpoint.save(state, **self._parts())
        self.saved = time.monotonic()

    def _out_of_memory(self, state: TrainState) -> str:
        smaller = ", ".join([f"--train.batch (it is {self.config.batch})", *self.memory_advice]) + " or --model"
        return (
            f"out of memory at step {state.step + 1}: choose a smaller {smaller} and train again in another folder, "
            f"or --resume {self.path.parent} where more is free"
        )

    def _diverged(self, what: str, step: int) -> HtrError:
        names = ", ".join(self.batches.names(step)[:3])
        good = f"; the last good model is {self.path}" if self.path.is_file() else ""
        verb = "is" if what == "loss" else "are"
        return HtrError(
            f"the {what} {verb} not finite at step {step + 1} (lines {names}, ...): train again in another folder with "
            f"a lower --train.lr (it is {self.config.lr:g}){good}"
        )
