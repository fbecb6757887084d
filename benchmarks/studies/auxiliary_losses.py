"""What auxiliary losses gain: `python benchmarks/studies/auxiliary_losses.py --data DIR --model tiny-student`.

Trains every arm from several seeds, on the same lines in the same order and for the same steps. Losses cost time, so
the cheaper arms are trained once more for as long as the most expensive one takes: in seconds of the processor, since
others may use the machine. Each model is the best on validation, and is read once on test: greedily, and with
--decoder.keep true also by CTC and the attention decoder together (`--decoder joint`).
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
from htrcompress.runtime import load
from htrcompress.training.data import TrainingData, open_training_data
from htrcompress.training.logging import TrainState
from htrcompress.training.objective import build_objective, card_entries
from htrcompress.training.progress import TrainProgress
from htrcompress.training.trainer import Trainer

logger = logging.getLogger("htrcompress.auxiliary_losses")  # as a command, the module is called __main__
BATCH = 32
PLAIN = "plain"
ARMS = (PLAIN, "intermediate", "attention")
JOINT_ARM = "attention, joint"
AS_LONG = ", as long"
"""Behind the name of an arm that is trained as long as the most expensive one."""


@dataclass(frozen=True)
class Comparison:
    """Arms against plain CTC for as many steps.

    Attributes:
        command: how this was measured.
        settings: data, preset, steps, seeds and the options of each arm.
        test: hash and number of the lines that were read.
        arms: arm to its `steps`, the `cpu` seconds of them and the `cer` of each seed, and to `difference` (to plain
            CTC) and `as_long` (to plain CTC trained as long), means with their 95 % intervals; None for the arm itself.
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
    """Where the runs are written; those that are there already are not trained again."""
    out: Path | None = None
    """A JSON file for the result."""
    train: TrainConfig = TrainConfig()
    """how to train; steps and seed are filled in"""
    augment: AugmentConfig | None = AugmentConfig()
    """how to vary the training lines"""

    def __post_init__(self) -> None:
        require_positive(steps=self.steps, seeds=self.seeds)

    def losses(self, arm: str) -> AuxConfig:
        """The losses of an arm."""
        given = {
            "intermediate": AuxConfig(intermediate=self.intermediate),
            "attention": AuxConfig(attention=self.attention, decoder=self.decoder),
        }
        return given.get(arm.removesuffix(AS_LONG), AuxConfig())


class _Clock(TrainProgress):
    """Adds up the processor's seconds of the steps, without validation."""

    def __init__(self) -> None:
        self.seconds, self._mark = 0.0, 0.0

    def started(self, name: str, steps: int, state: TrainState) -> None:
        self._mark = time.process_time()

    def stepped(self, state: TrainState, loss: float | None) -> None:
        now = time.process_time()
        self.seconds, self._mark = self.seconds + now - self._mark, now

    def validated(self, state: TrainState) -> None:
        self._mark = time.process_time()


@dataclass(frozen=True)
class _Run:
    cpu: float
    score: metrics.Score


def compare_losses(options: ComparisonOptions) -> Comparison:
    """Trains with and without auxiliary losses, from several seeds, and compares on the test split.

    Raises:
        HtrError: the data cannot be used, or an arm is unknown.
    """
    height = models.preset(options.model).height
    data = open_training_data(options.data, height, options.train, ReadConfig())
    split = Split(data.dataset, "test")
    steps = dict.fromkeys(ARMS, options.steps)
    found: dict[str, list[_Run]] = {}
    for seed in range(options.seeds):  # the outer loop, so that a study that is stopped has whole seeds
        for arm in ARMS:
            found.setdefault(arm, []).append(_run(options, data, split, arm, steps[arm], seed))
        if options.decoder.keep:
            found.setdefault(JOINT_ARM, []).append(_read_jointly(options, split, found["attention"][-1], seed))
        costs = {arm: found[arm][0].cpu for arm in ARMS}
        steps |= {arm + AS_LONG: round(options.steps * max(costs.values()) / costs[arm]) for arm in ARMS}
        for arm in [arm for arm in steps if arm.endswith(AS_LONG) and steps[arm] > options.steps]:
            found.setdefault(arm, []).append(_run(options, data, split, arm, steps[arm], seed))
    base, longest = found[PLAIN], found.get(PLAIN + AS_LONG, found[PLAIN])
    arms = {
        name: {
            "steps": steps.get(name, options.steps),
            "cpu": [run.cpu for run in runs],
            "cer": [run.score.cer for run in runs],
            "difference": None if runs is base else _difference(runs, base),
            "as_long": None if runs is longest else _difference(runs, longest),
        }
        for name, runs in found.items()
    }
    settings = {
        "data": data.dataset.name,
        "model": options.model,
        "lines": len(data.train),
        "steps": options.steps,
        "seeds": options.seeds,
        "batch": options.train.for_preset(options.model).batch,
        "aux": {arm: card_entries(options.losses(arm)).get("aux", {}) for arm in ARMS},
    }
    here = this_machine("torch")
    command = command_line()
    result = Comparison(command, settings, {"hash": split.hash, "lines": len(split.lines)}, arms, here)
    save(result, options.out)
    return result


def _run(options: ComparisonOptions, data: TrainingData, split: Split, arm: str, steps: int, seed: int) -> _Run:
    """One training, unless it was done before, and what it reads."""
    path = _file(options, arm, seed)
    clock = path.with_name(f"cpu-{steps}.txt")
    if not clock.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = _train(options, data, path, options.losses(arm), steps, seed)
        clock.write_text(str(seconds))
    run = _Run(float(clock.read_text()), split.compare(split.read(load(path), BATCH)))
    logger.info("%s, seed %d: CER %.2f %% on test, %.0f s", arm, seed, 100 * run.score.cer, run.cpu)
    return run


def _read_jointly(options: ComparisonOptions, split: Split, run: _Run, seed: int) -> _Run:
    """What CTC and the attention decoder read together, with the model of a run."""
    recognizer = load(_file(options, "attention", seed), decoder="joint")
    joint = _Run(run.cpu, split.compare(split.read(recognizer, BATCH)))
    logger.info("%s, seed %d: CER %.2f %% on test", JOINT_ARM, seed, 100 * joint.score.cer)
    return joint


def _file(options: ComparisonOptions, arm: str, seed: int) -> Path:
    return options.runs / f"{arm.replace(AS_LONG, '-as-long')}-{seed}" / f"{options.model}.safetensors"


def _train(options: ComparisonOptions, data: TrainingData, path: Path, aux: AuxConfig, steps: int, seed: int) -> float:
    """The processor's seconds of one training."""
    config = replace(options.train, steps=steps, seed=seed).for_preset(options.model)
    torch.manual_seed(seed)
    network, clock = models.create(options.model, data.charset.classes), _Clock()
    objective = build_objective(network, data.charset, aux)
    card = data.card(path.parent.name, network, {"seed": seed, **card_entries(aux)})
    Trainer(objective, card, data.train, data.valid, path, config, options.augment, clock).fit()
    return clock.seconds


def _difference(runs: list[_Run], base: list[_Run]) -> tuple[float, float, float]:
    return metrics.mean_difference([run.score for run in runs], [run.score for run in base])


def _points(difference: tuple[float, float, float] | None) -> str:
    if difference is None:
        return ""
    mean, low, high = (100 * value for value in difference)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    run_command(compare_losses)
