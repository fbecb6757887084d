"""The training loop: steps, validation, the best model kept, checkpoints, resume, progress.

What happens at a step is a function of (seed, step) alone, so a run that was stopped and resumed equals one
that was not. `train.py` and `distill.py` use `Trainer`; the networks and the losses know nothing of it.
"""

import copy
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from htrcompress.card import Card
from htrcompress.config import AugmentConfig, TrainConfig
from htrcompress.data.augment import augment
from htrcompress.data.batching import Batch, epoch_order, turns
from htrcompress.data.prepare import EncodedLines
from htrcompress.decoding import reference
from htrcompress.errors import HtrError, enough_memory
from htrcompress.models.serialization import save_model
from htrcompress.training.checkpoint import Checkpoint, identity
from htrcompress.training.logging import GracefulInterrupt, MetricsLogger, Progress, State
from htrcompress.training.losses import Objective, Terms
from htrcompress.training.optim import accelerator, adamw, ema_update
from htrcompress.training.validation import validate


@dataclass(frozen=True)
class FitResult:
    """What a training run came to.

    Attributes:
        path: the best model's file.
        cer: its CER on validation, a fraction.
        steps: optimiser steps done.
        seconds: spent on steps, resumed parts included, validation not counted.
        lines_per_second: training lines a second, validation not counted.
        curve: (step, seconds, CER) of every validation.
    """

    path: Path
    cer: float
    steps: int
    seconds: float
    lines_per_second: float
    curve: list[tuple[int, float, float]]


class Trainer:
    """Trains `objective.model` and leaves the best on validation at `path`.

    A checkpoint, the log and TensorBoard's events go to the folder `path` without its suffix; where a
    checkpoint lies there already, the run goes on from it.

    Args:
        objective: with the network as `.model`; called with a `Batch` it returns `Terms`.
        card: what the model's file says; metrics and training are filled in.
        train: the training lines, all of which CTC can emit.
        valid: the validation lines.
        path: the `.safetensors` file to write.
        config: how to train.
        augmentation: how to vary the training lines; None leaves them as they are.
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
    ):
        self.card, self.train, self.valid, self.path = card, train, valid, path
        self.config, self.augmentation = config, augmentation
        self.batches = len(epoch_order(train.widths, config.batch, config.seed, 0))
        self.steps = config.total_steps(self.batches)
        self.valid_every = config.valid_every or max(1, self.steps // 10)
        self.needed = torch.tensor([reference.frames_needed(labels) for labels in train.labels])
        self.accelerator = accelerator(config)
        self.objective: Objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = objective.model
        self.average: Objective = copy.deepcopy(self.objective).requires_grad_(False).eval()
        self.optimizer = adamw(objective, config)
        self.order: list[list[int]] = []
        self.saved = time.monotonic()

    def fit(self) -> FitResult:
        """Runs until the last step.

        Raises:
            HtrError: the loss is not finite, memory does not suffice, a file cannot be written, the checkpoint is
                of another run, or Ctrl-C was pressed; what was trained so far can be resumed.
        """
        lessons = self.objective.identity()
        run = identity(self.config, self.augmentation, self.card, self.train, self.valid, lessons=lessons)
        with Checkpoint(self.path.with_suffix(""), run, self.accelerator.is_main_process) as checkpoint:
            state = checkpoint.restore(objective=self.objective, average=self.average, optimizer=self.optimizer)
            if state.best is not None and not self.path.is_file():
                raise HtrError(f"{self.path} is gone, the best model of this run: put it back or train anew")
            if state.step < self.steps:
                with enough_memory(lambda: self._smaller(state)):
                    self._run(state, checkpoint)
            self.accelerator.wait_for_everyone()  # what the first process writes is there for all of them now
        assert state.best is not None
        return FitResult(self.path, state.best, state.step, state.seconds, state.lines / state.seconds, state.curve)

    def _run(self, state: State, checkpoint: Checkpoint) -> None:
        wrapped, optimizer = self.accelerator.prepare(self.objective, self.optimizer)
        self.average.to(self.accelerator.device)
        main = self.accelerator.is_main_process
        journal = MetricsLogger(checkpoint.path.parent, state.step) if main else None
        try:
            with GracefulInterrupt() as stop, Progress(self.card.name, self.steps, state, main) as progress:
                while state.step < self.steps:
                    if self._anywhere(stop.asked):
                        self._save(state, checkpoint)
                        raise HtrError(
                            f"stopped at step {state.step} of {self.steps}; go on with --resume {self.path.parent}"
                        )
                    clock = time.perf_counter()
                    losses = self._step(wrapped, optimizer, state)
                    state.seconds += time.perf_counter() - clock
                    if journal:
                        journal.step(state, losses, self.config.rate(state.step - 1, self.steps))
                    progress.step(state, losses["loss"])
                    if state.step % self.valid_every == 0 or state.step == self.steps:
                        self._validate(state, journal)
                        progress.valid(state)
                        self._save(state, checkpoint)
                    elif time.monotonic() - self.saved > 60 * self.config.save_minutes:
                        self._save(state, checkpoint)
        finally:
            if journal:
                journal.close()

    def _smaller(self, state: State) -> str:
        """What to do where memory ran out."""
        smaller = f"--train.batch (it is {self.config.batch}){self.objective.shrinkable()} or --model"
        return (
            f"out of memory at step {state.step + 1}: choose a smaller {smaller} and train anew in another folder, "
            f"or --resume {self.path.parent} where more is free"
        )

    def _anywhere(self, asked: bool) -> bool:
        """Whether any process was asked to stop, so that all stop at the same step."""
        if self.accelerator.num_processes == 1:
            return asked
        return bool(self.accelerator.reduce(torch.tensor(float(asked), device=self.accelerator.device), "sum"))

    def _step(self, wrapped: nn.Module, optimizer: Any, state: State) -> dict[str, float]:
        """One optimiser step; afterwards `state` counts it."""
        epoch, place = divmod(state.step, self.batches)
        if place == 0 or not self.order:
            self.order = epoch_order(self.train.widths, self.config.batch, self.config.seed, epoch)
        indices = self.order[place]
        batch = self._batch(indices, state.step)
        torch.manual_seed(self.config.seed * 1_000_003 + state.step)  # dropout, too, is a function of the step
        for group in optimizer.param_groups:
            group["lr"] = self.config.rate(state.step, self.steps)
        wrapped.train()
        with self.accelerator.autocast():
            terms: Terms = wrapped(batch)
        if len(indices) <= self.accelerator.process_index:  # a batch of fewer lines than processes
            terms = {name: (value * 0, count * 0, weight) for name, (value, count, weight) in terms.items()}
        losses = self._total(terms)
        everywhere = {name: self.accelerator.reduce(loss.detach(), "sum").item() for name, loss in losses.items()}
        if not math.isfinite(everywhere["loss"]):
            raise self._diverged("the loss is", indices, state)
        optimizer.zero_grad()
        self.accelerator.backward(losses["loss"] * self.accelerator.num_processes)
        norm = self.accelerator.clip_grad_norm_(wrapped.parameters(), self.config.clip)
        if self.accelerator.scaler is None and not math.isfinite(norm):  # a scaler leaves such a step out by itself
            raise self._diverged("the gradients are", indices, state)
        optimizer.step()
        ema_update(self.average, self.objective, min(self.config.ema, (1 + state.step) / (10 + state.step)))
        state.step += 1
        state.lines += len(indices)
        return everywhere

    def _diverged(self, what: str, indices: list[int], state: State) -> HtrError:
        names = ", ".join(self.train.names[i] for i in indices[:3])
        good = f"; the last good model is {self.path}" if state.best is not None else ""
        return HtrError(
            f"{what} not finite at step {state.step + 1} (lines {names}, ...): train anew in another folder "
            f"with a lower --train.lr (it is {self.config.lr:g}){good}"
        )

    def _batch(self, indices: list[int], step: int) -> Batch:
        """This process's share of the step's lines, on its device, augmented."""
        rank, several = self.accelerator.process_index, self.accelerator.num_processes
        seed = self.config.seed * 1_000_003 + step
        order = turns([bool(self.train.labels[i]) for i in indices], seed)
        mine = indices[rank::several] or indices[:1]
        batch = replace(self.train.batch(mine), turns=order[rank::several] or order[:1]).to(self.accelerator.device)
        if self.augmentation is None:
            return batch
        seed = seed * several + rank
        needed = self.needed[mine].to(batch.pixels.device)
        return augment(batch, self.augmentation, needed, self.card.stride, seed)

    def _total(self, terms: Terms) -> dict[str, Tensor]:
        """Each term over the count of the whole batch, and their weighted sum as `loss`."""
        losses = {}
        for name, (value, count, _) in terms.items():
            everywhere = self.accelerator.reduce(count.detach().float(), "sum")
            losses[name] = value / everywhere.clamp(min=1)
        return {"loss": sum(losses[name] * weight for name, (_, _, weight) in terms.items()), **losses}

    def _validate(self, state: State, journal: MetricsLogger | None) -> None:
        """Scores the averaged weights; keeps them if they are the best so far."""
        most = min(32, self.config.batch)
        result = validate(self.average.model, self.valid, self.card.characters(), self.accelerator, most)
        best = state.record(result.cer)
        if journal:
            journal.valid(state, result)
        if best and journal:
            low, high = result.interval()
            figures = {"cer": result.cer, "wer": result.wer, "lines": len(result.edits), "interval": [low, high]}
            done = {
                **self.card.training,
                "steps": state.step,
                "of": self.steps,
                "lines": state.lines,
                "seconds": round(state.seconds, 1),
                "options": asdict(self.config),
            }
            self.average.save(self.path.with_suffix(""))
            save_model(self.path, self.average.model, replace(self.card, metrics={"valid": figures}, training=done))

    def _save(self, state: State, checkpoint: Checkpoint) -> None:
        checkpoint.save(state, objective=self.objective, average=self.average, optimizer=self.optimizer)
        self.saved = time.monotonic()
