"""Whether a way of training gains anything, over several seeds.

    python benchmarks/studies/seeds.py control=runs/{0,1,2}/control.safetensors student=runs/{0,1,2}/student.safetensors

(a shell makes six arguments of these). Each file is named after its arm; the first arm is what the others are compared
with, file by file of the same seed. The difference is taken line by line and averaged over the seeds, and its interval
is a bootstrap over lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from benchmarks.splits import Split, test_splits
from htrcompress import metrics, runs
from htrcompress.card import Card
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.runtime import load
from htrcompress.utils import machine

BATCH = 32


@dataclass(frozen=True)
class SeedsResult:
    """Arms against the first of them.

    Attributes:
        command: how this was measured.
        data: the dataset.
        splits: split to its hash, its lines and `arms`: arm to the CER of each file, as a fraction, and its
            `difference` to the first arm: the mean over the seeds with its 95 % interval; None for the first.
        training: arm to the preset, seed, steps and seconds of each file.
        machine: the processor.
    """

    command: str
    data: str
    splits: dict[str, Any]
    training: dict[str, list[dict[str, Any]]]
    machine: str
    kind: str = "seeds"

    def __rich__(self) -> Any:
        from rich.table import Table

        base = next(iter(self.training))
        table = Table("split", "arm", "CER % a seed", f"to {base}, points (95 %)", title=self.data)
        for split, row in self.splits.items():
            for arm, found in row["arms"].items():
                rates = "  ".join(f"{100 * rate:.2f}" for rate in found["cer"])
                mean, low, high = (100 * value for value in found["difference"] or (0, 0, 0))
                table.add_row(split, arm, rates, "" if arm == base else f"{mean:+.2f} ({low:+.2f} to {high:+.2f})")
        return table


@dataclass(frozen=True)
class SeedsOptions:
    """Reads the test splits with every file, and compares arms with the first arm line by line."""

    files: list[str]
    """ARM=FILE, such as control=runs/0/control.safetensors; each arm has the seeds of the first, or one file that is
    compared with all of these."""
    data: str | None = None
    """The dataset; what the first model was trained on if not given."""
    out: Path | None = None
    """A JSON file for the result."""


def compare_seeds(options: SeedsOptions) -> SeedsResult:
    """Reads the test splits with every file, and compares arms with the first arm line by line.

    Raises:
        HtrError: an argument is not ARM=FILE, a file cannot be read, or the arms' seeds differ.
    """
    arms: dict[str, list[Path]] = {}
    for word in options.files:
        arm, equals, file = word.partition("=")
        if not (arm and equals and file):
            raise HtrError(f"{word} must be ARM=FILE, such as control=runs/0/control.safetensors")
        arms.setdefault(arm, []).append(Path(file))
    if len(arms) < 2:
        raise HtrError("name the files of two arms or more, such as control=a.safetensors student=b.safetensors")
    cards = {arm: [load_card(file) for file in some] for arm, some in arms.items()}
    training = {arm: [_told(card) for card in some] for arm, some in cards.items()}
    base, *others = arms
    _check_seeds(training)
    first = cards[base][0]
    dataset = runs.open_data(options.data, arms[base][0], first)
    splits = {}
    for split in (Split(dataset, name) for name in test_splits(dataset)):
        scores = {arm: [split.compare(split.read(load(file), BATCH)) for file in some] for arm, some in arms.items()}
        found: dict[str, dict[str, Any]]
        found = {arm: {"cer": [score.cer for score in some], "difference": None} for arm, some in scores.items()}
        for arm in others:
            found[arm]["difference"] = metrics.mean_difference(_each(scores[arm], len(arms[base])), scores[base])
        splits[split.name] = {"hash": split.hash, "lines": len(split.lines), "arms": found}
    command = command_line()
    result = SeedsResult(command, dataset.name, splits, training, machine.processor())
    save(result, options.out)
    return result


def _told(card: Card) -> dict[str, Any]:
    keys = {"preset": "preset", "seed": "seed", "steps": "of", "seconds": "seconds"}
    return {name: card.training.get(key) for name, key in keys.items()}


def _check_seeds(training: dict[str, list[dict[str, Any]]]) -> None:
    seeds = {arm: [row["seed"] for row in rows] for arm, rows in training.items()}
    base, *others = seeds
    if len(set(seeds[base])) < len(seeds[base]):
        raise HtrError(f"two files of {base} have the same seed: train with another --train.seed")
    for arm in others:
        if len(seeds[arm]) > 1 and seeds[arm] != seeds[base]:
            raise HtrError(
                f"{arm} has the seeds {seeds[arm]} and {base} {seeds[base]}: name files of the same seeds, in order"
            )


def _each(scores: Sequence[metrics.Score], count: int) -> Sequence[metrics.Score]:
    return scores if len(scores) == count else [scores[0]] * count


if __name__ == "__main__":
    run_command(compare_seeds, positional="files")
