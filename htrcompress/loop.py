"""The training loop: steps, validation, the best model kept, checkpoints, resume, progress.

What happens at a step is a function of (seed, step) alone, so a run that was stopped and resumed equals one
that was not. `train.py` and `distill.py` use `Trainer`; the networks and the losses know nothing of it.
"""

import copy
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from htrcompress import ctc, decode, machine, metrics
from htrcompress.artifact import save_model
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.config import AugmentConfig, TrainConfig
from htrcompress.data.augment import augment
from htrcompress.data.batches import WIDTH_STEP, Batch, by_width, epoch_order, pad
from htrcompress.errors import HtrError
from htrcompress.examples import Examples
from htrcompress.losses import Objective, Terms
from htrcompress.optimisation import adamw, follow, out_of_memory, precision
from htrcompress.records import Checkpoint, Journal, Progress, State, StopSignal


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
        train: Examples,
        valid: Examples,
        path: Path,
        config: TrainConfig,
        augmentation: AugmentConfig | None,
    ):
        self.card, self.train, self.valid, self.path = card, train, valid, path
        self.config, self.augmentation = config, augmentation
        self.batches = len(epoch_order(train.widths, config.batch, config.seed, 0))
        self.steps = config.total_steps(self.batches)
        self.valid_every = config.valid_every or max(1, self.steps // 10)
        self.needed = torch.tensor([ctc.frames_needed(labels) for labels in train.labels])
        several = machine.together() and not torch.cuda.is_available()  # accelerate does not see this by itself
        self.accelerator = Accelerator(mixed_precision=precision(config.precision), cpu=several)
        self.objective: Objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = objective.model
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimizer = adamw(objective, config)
        self.order: list[list[int]] = []
        self.saved = time.monotonic()

    def fit(self) -> FitResult:
        """Runs until the last step.

        Raises:
            HtrError: the loss is not finite, memory does not suffice, a file cannot be written, the checkpoint is
                of another run, or Ctrl-C was pressed; what was trained so far can be resumed.
        """
        identity = {"train": asdict(self.config), "card": json.loads(self.card.to_json())}
        identity["augment"] = asdict(self.augmentation) if self.augmentation else None
        identity["images"] = {"train": self.train.fingerprint(), "valid": self.valid.fingerprint()}
        for where in ("path", "name"):  # the same lines may have moved
            del identity["card"]["data"][where]
        with Checkpoint(self.path.with_suffix(""), identity, self.accelerator.is_main_process) as checkpoint:
            state = checkpoint.restore(objective=self.objective, average=self.average, optimizer=self.optimizer)
            if state.step < self.steps:
                self._run(state, checkpoint)
            self.accelerator.wait_for_everyone()  # what the first process writes is there for all of them now
        assert state.best is not None
        return FitResult(self.path, state.best, state.step, state.seconds, state.lines / state.seconds, state.curve)

    def _run(self, state: State, checkpoint: Checkpoint) -> None:
        wrapped, optimizer = self.accelerator.prepare(self.objective, self.optimizer)
        self.average.to(self.accelerator.device)
        main = self.accelerator.is_main_process
        journal = Journal(checkpoint.path.parent, state.step) if main else None
        try:
            with StopSignal() as stop, Progress(self.card.name, self.steps, state, main) as progress:
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
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            smaller = f"--train.batch (it is {self.config.batch}){self.objective.shrinkable()} or --model"
            raise HtrError(
                f"out of memory at step {state.step + 1}: choose a smaller {smaller} and train anew in another folder, "
                f"or --resume {self.path.parent} where more is free"
            ) from None
        finally:
            if journal:
                journal.close()

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
            names = ", ".join(self.train.names[i] for i in indices[:3])
            good = f"; the last good model is {self.path}" if state.best is not None else ""
            raise HtrError(
                f"the loss is not finite at step {state.step + 1} (lines {names}, ...): train anew in another folder "
                f"with a lower --train.lr (it is {self.config.lr:g}){good}"
            )
        optimizer.zero_grad()
        self.accelerator.backward(losses["loss"] * self.accelerator.num_processes)
        self.accelerator.clip_grad_norm_(wrapped.parameters(), self.config.clip)
        optimizer.step()
        follow(self.average, self.model, min(self.config.ema, (1 + state.step) / (10 + state.step)))
        state.step += 1
        state.lines += len(indices)
        return everywhere

    def _batch(self, indices: list[int], step: int) -> Batch:
        """This process's share of the step's lines, on its device, augmented."""
        mine = indices[self.accelerator.process_index :: self.accelerator.num_processes] or indices[:1]
        batch = self.train.batch(mine).to(self.accelerator.device)
        if self.augmentation is None:
            return batch
        seed = (self.config.seed * 1_000_003 + step) * self.accelerator.num_processes + self.accelerator.process_index
        needed = self.needed[mine].to(batch.pixels.device)
        return augment(batch, self.augmentation, needed, self.card.stride, seed)

    def _total(self, terms: Terms) -> dict[str, Tensor]:
        """Each term over the count of the whole batch, and their weighted sum as `loss`."""
        losses = {}
        for name, (value, count, _) in terms.items():
            everywhere = self.accelerator.reduce(count.detach().float(), "sum")
            losses[name] = value / everywhere.clamp(min=1)
        return {"loss": sum(losses[name] * weight for name, (_, _, weight) in terms.items()), **losses}

    def _validate(self, state: State, journal: Journal | None) -> None:
        """Scores the averaged weights; keeps them if they are the best so far."""
        result = validate(self.average, self.valid, self.card.characters(), self.accelerator)
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
            self.objective.save(self.path.with_suffix(""))
            save_model(self.path, self.average, replace(self.card, metrics={"valid": figures}, training=done))

    def _save(self, state: State, checkpoint: Checkpoint) -> None:
        checkpoint.save(state, objective=self.objective, average=self.average, optimizer=self.optimizer)
        self.saved = time.monotonic()


def validate(model: nn.Module, examples: Examples, charset: Charset, accelerator: Accelerator) -> metrics.Score:
    """Reads the lines greedily and compares them with their texts."""
    readings = [""] * len(examples.texts)
    with torch.inference_mode():
        for indices in by_width(examples.widths, 32):
            pixels, widths = pad([examples.images[i] for i in indices], WIDTH_STEP)
            with accelerator.autocast():
                logits, frames = model(
                    torch.from_numpy(pixels).to(accelerator.device), torch.from_numpy(widths).to(accelerator.device)
                )
            labels, lengths, _ = decode.greedy(logits, frames)
            for i, row, length in zip(indices, labels.tolist(), lengths.tolist(), strict=True):
                readings[i] = charset.decode(row[:length])
    return metrics.score(examples.texts, readings)
