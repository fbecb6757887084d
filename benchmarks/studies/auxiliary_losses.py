"""What auxiliary losses gain: `python benchmarks/studies/auxiliary_losses.py --data DIR --model tiny-student`.

Trains every arm from several seeds, on the same lines in the same order and for the same steps. Losses cost time, so
plain CTC is trained once more for as long as the most expensive arm takes: in seconds of the processor, since others
may use the machine. Each model is the best on validation, and is read once on test: greedily, and with
--decoder.keep true also by CTC and the attention decoder together (`--decoder joint`), with the weight of CTC that
reads the validation lines best. A study that was stopped goes on with the same command, in the middle of a training
too; the result is written after each seed.
"""

import logging
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import command_line, save, this_machine
from benchmarks.splits import Split
from benchmarks.timing import require_positive
from htrcompress import metrics, models
from htrcompress.cli import run_command
from htrcompress.config import AttentionConfig, AugmentConfig, AuxConfig, TrainConfig
from htrcompress.data.readers import ReadConfig
from htrcompress.decoding.attention import AttentionOptions
from htrcompress.errors import HtrError
from htrcompress.runtime import load
from htrcompress.training.data import open_training_data
from htrcompress.training.logging import TrainState
from htrcompress.training.objective import build_objective, card_entries
from htrcompress.training.progress import TrainProgress
from htrcompress.training.trainer import Trainer

logger = logging.getLogger("htrcompress.auxiliary_losses")  # as a command, the module is called __main__
BATCH = 32
PLAIN, INTERMEDIATE, ATTENTION = "plain", "intermediate", "attention"
JOINT = "attention, joint"
AS_LONG = "plain, as long"
"""Plain CTC, trained as long as the most expensive arm."""
CTC_WEIGHTS = (0.3, 0.5, 0.7, 0.9)
"""Weights of CTC in reading jointly, of which one is chosen on validation."""


@dataclass(frozen=True)
class Comparison:
    """Arms against plain CTC for as many steps.

    Attributes:
        command: how this was measured.
        settings: data, preset, steps, seeds and the options of each arm.
        test: hash and number of the lines that were read.
        arms: arm to its `steps`, the `cpu` seconds of them and the `cer` of each seed, and to `difference` (to plain
            CTC) and `as_long` (to plain CTC trained as long), means with their 95 % intervals; None for the arm itself.
            `ctc` is the weight of CTC that each seed was read with, where that was chosen.
        machine: processor, cores and how busy they were.
    """

    command: str
    settings: dict[str, Any]
    test: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    kind: str = "auxiliary_losses"

    def __rich__(self) -> Any:
        from rich.table import Table

        headings = ("arm", "steps", "CPU s", "CER % a seed", "to plain, points (95 %)", "to plain, as long")
        table = Table(*headings, title=f"{self.settings['model']} on {self.settings['data']}")
        for name, row in self.arms.items():
            rates = "  ".join(f"{100 * rate:.2f}" for rate in row["cer"])
            cpu = f"{statistics.mean(row['cpu']):.0f}"
            table.add_row(name, str(row["steps"]), cpu, rates, _points(row["difference"]), _points(row["as_long"]))
        return table


@dataclass(frozen=True)
class ComparisonOptions:
    """Trains with and without auxiliary losses, from several seeds, and compares on the test split."""

    data: str = "synthetic"
    """A dataset's folder, or `synthetic`."""
    arms: tuple[str, ...] = (INTERMEDIATE, ATTENTION)
    """What is compared with plain CTC."""
    model: str = "tiny-student"
    """The preset to train."""
    steps: int = 600
    """Optimiser steps of every arm."""
    seeds: int = 3
    """Seeds from 0 on."""
    intermediate: float = 0.3
    """Weight of intermediate CTC in its arm."""
    attention: float = 0.5
    """Weight of the attention decoder in its arm."""
    decoder: AttentionConfig = AttentionConfig()
    """that decoder"""
    runs: Path = Path("runs/auxiliary")
    """Where the runs are written; those that are there already go on where they were stopped."""
    out: Path | None = None
    """A JSON file for the result."""
    train: TrainConfig = TrainConfig()
    """how to train; steps and seed are filled in"""
    augment: AugmentConfig | None = AugmentConfig()
    """how to vary the training lines"""

    def __post_init__(self) -> None:
        require_positive(steps=self.steps, seeds=self.seeds)
        unknown = set(self.arms) - self.losses().keys()
        if unknown:
            raise HtrError(f"--arms: {min(unknown)} is none of {', '.join(self.losses())}")

    def losses(self) -> dict[str, AuxConfig]:
        """The losses of each arm that is not plain CTC."""
        return {
            INTERMEDIATE: AuxConfig(intermediate=self.intermediate),
            ATTENTION: AuxConfig(attention=self.attention, decoder=self.decoder),
        }


class _Clock(TrainProgress):
    """Adds up the processor's seconds of the steps, without validation, and keeps them for a run that is resumed.

    Args:
        file: takes a row with step and seconds after each step.
    """

    def __init__(self, file: Path):
        self.file, self._seconds, self._mark = file, 0.0, 0.0

    def until(self, step: int) -> float:
        """The seconds up to a step."""
        rows = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        found = dict(row.split() for row in rows)  # of a step that was taken again the later row counts
        return float(found.get(str(step), 0))

    def started(self, name: str, steps: int, state: TrainState) -> None:
        self._seconds, self._mark = self.until(state.step), time.process_time()

    def stepped(self, state: TrainState, loss: float | None) -> None:
        now = time.process_time()
        self._seconds, self._mark = self._seconds + now - self._mark, now
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{state.step} {self._seconds}\n")

    def validated(self, state: TrainState) -> None:
        self._mark = time.process_time()


@dataclass(frozen=True)
class _Run:
    steps: int
    cpu: float
    score: metrics.Score
    ctc: float | None = None


class _Study:
    """The data and the runs over it."""

    def __init__(self, options: ComparisonOptions):
        self.options = options
        height = models.preset(options.model).height
        self.data = open_training_data(options.data, height, options.train, ReadConfig())
        self.test, self.valid = Split(self.data.dataset, "test"), Split(self.data.dataset, "valid")
        self.found: dict[str, list[_Run]] = {}

    def seed(self, seed: int) -> None:
        """Trains and reads all arms from a seed."""
        for arm in (PLAIN, *self.options.arms):
            self._add(arm, self._run(arm, self.options.steps, seed), seed)
        if ATTENTION in self.options.arms and self.options.decoder.keep:
            self._add(JOINT, self._jointly(seed), seed)
        costs = [runs[0].cpu for runs in self.found.values()]
        steps = round(self.options.steps * max(costs) / costs[0])
        if steps > self.options.steps:
            self._add(AS_LONG, self._run(PLAIN, steps, seed), seed)

    def _add(self, arm: str, run: _Run, seed: int) -> None:
        self.found.setdefault(arm, []).append(run)
        logger.info("%s, seed %d: CER %.2f %% on test, %.0f s", arm, seed, 100 * run.score.cer, run.cpu)

    def _run(self, arm: str, steps: int, seed: int) -> _Run:
        """One training, or what is left of it, and what it reads."""
        path = self._file(arm, steps, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        config = replace(self.options.train, steps=steps, seed=seed).for_preset(self.options.model)
        torch.manual_seed(seed)
        network, clock = models.create(self.options.model, self.data.charset.classes), _Clock(path.with_name("cpu.txt"))
        aux = self.options.losses().get(arm, AuxConfig())
        objective = build_objective(network, self.data.charset, aux)
        card = self.data.card(path.parent.name, network, {"seed": seed, **card_entries(aux)})
        lines = self.data.train, self.data.valid
        fit = Trainer(objective, card, *lines, path, config, self.options.augment, clock).fit()
        return _Run(steps, clock.until(fit.steps), self.test.compare(self.test.read(load(path), BATCH)))

    def _jointly(self, seed: int) -> _Run:
        """What CTC and the attention decoder read together, with the weights of a run and CTC's own from validation."""
        run, errors = self.found[ATTENTION][-1], {}
        file = self._file(ATTENTION, run.steps, seed)
        recognizers = {ctc: load(file, decoder="joint", attention=AttentionOptions(ctc=ctc)) for ctc in CTC_WEIGHTS}
        for ctc, recognizer in recognizers.items():
            errors[ctc] = self.valid.compare(self.valid.read(recognizer, BATCH)).cer
        logger.info("seed %d: CER on validation by the weight of CTC: %s", seed, errors)
        best = min(errors, key=lambda ctc: errors[ctc])
        return replace(run, score=self.test.compare(self.test.read(recognizers[best], BATCH)), ctc=best)

    def _file(self, arm: str, steps: int, seed: int) -> Path:
        return self.options.runs / f"{arm}-{steps}-{seed}" / f"{self.options.model}.safetensors"

    def comparison(self) -> Comparison:
        """The result of the seeds that are done."""
        base, options = self.found[PLAIN], self.options
        longest = self.found.get(AS_LONG, base)
        arms = {
            name: {
                "steps": runs[0].steps,
                "cpu": [run.cpu for run in runs],
                "cer": [run.score.cer for run in runs],
                "difference": None if runs is base else _difference(runs, base),
                "as_long": None if runs is longest else _difference(runs, longest),
                **({"ctc": [run.ctc for run in runs]} if runs[0].ctc is not None else {}),
            }
            for name, runs in self.found.items()
        }
        settings = {
            "data": self.data.dataset.name,
            "model": options.model,
            "lines": len(self.data.train),
            "steps": options.steps,
            "seeds": len(base),
            "batch": options.train.for_preset(options.model).batch,
            "aux": {arm: card_entries(options.losses()[arm])["aux"] for arm in options.arms},
        }
        test = {"hash": self.test.hash, "lines": len(self.test.lines)}
        return Comparison(command_line(), settings, test, arms, this_machine("torch"))


def compare_losses(options: ComparisonOptions) -> Comparison:
    """Trains with and without auxiliary losses, from several seeds, and compares on the test split.

    Raises:
        HtrError: the data cannot be used.
    """
    study = _Study(options)
    for seed in range(options.seeds):  # the outer loop, so that a study that is stopped has whole seeds
        study.seed(seed)
        save(study.comparison(), options.out)
    return study.comparison()


def _difference(runs: list[_Run], base: list[_Run]) -> tuple[float, float, float]:
    return metrics.mean_difference([run.score for run in runs], [run.score for run in base])


def _points(difference: tuple[float, float, float] | None) -> str:
    if difference is None:
        return ""
    mean, low, high = (100 * value for value in difference)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    run_command(compare_losses)
