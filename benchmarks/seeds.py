"""Whether distillation gains anything: `python benchmarks/seeds.py runs/a runs/b runs/c`.

Every run holds a teacher, a student distilled from it and the control, the same student trained alone for the same
steps from the same start; the runs differ in their seed. The difference is taken line by line, averaged over the
seeds, and its interval is a bootstrap over lines.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.splits import Split
from htrcompress import machine, metrics, runs
from htrcompress.artifact import load_card
from htrcompress.cli import run_command, to_json
from htrcompress.data.open import default_data, open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.files import write_atomic
from htrcompress.runtime import load

BATCH = 32


@dataclass(frozen=True)
class SeedsResult:
    """Student against control.

    Attributes:
        command: how this was measured.
        data: the dataset.
        splits: split to its hash and lines, the CERs a seed (`teacher`, `student`, `control`), and `difference`:
            mean over the seeds of student minus control with its 95 % interval; fractions.
        training: what was trained: seeds, steps, seconds and parameters of student and control.
        machine: the processor.
    """

    command: str
    data: str
    splits: dict[str, Any]
    training: list[dict[str, Any]]
    machine: str

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("split", "seed", "teacher CER %", "student CER %", "control CER %", title=self.data)
        for split, row in self.splits.items():
            for place, run in enumerate(self.training):
                rates = (f"{100 * row[role][place]:.2f}" for role in runs.ROLES)
                table.add_row(split, str(run["seed"]), *rates)
            mean, low, high = (100 * value for value in row["difference"])
            table.add_row(split, "all", "", f"{mean:+.2f} to control", f"95 %: {low:+.2f} to {high:+.2f}")
        return table


def compare_seeds(folders: list[Path], data: str | None = None, out: Path | None = None) -> SeedsResult:
    """Reads the test splits with the student and the control of every run and compares them line by line.

    Args:
        folders: run folders of `distill` that differ in their seed alone.
        data: the dataset; what the first student was trained on if not given.
        out: a JSON file for the result.

    Raises:
        HtrError: a run lacks a model, or two have the same seed.
    """
    for folder in folders:
        lacking = [role for role in runs.ROLES if role not in runs.models(folder)]
        if lacking:
            raise HtrError(f"{folder} holds no {' and no '.join(lacking)}: name runs of distill, with their control")
    cards = [load_card(runs.models(folder)["student"]) for folder in folders]
    training = [
        {
            "seed": card.training.get("seed"),
            "preset": card.training.get("preset"),
            "steps": card.training.get("of"),
            "seconds": card.training.get("seconds"),
        }
        for card in cards
    ]
    if len({row["seed"] for row in training}) < len(folders) or len({row["steps"] for row in training}) > 1:
        raise HtrError("the runs must differ in their seed, and have the same steps")
    dataset = open_dataset(data or default_data(cards[0]), read_config(cards[0]))
    splits = {}
    for split in (Split(dataset, name) for name in dataset.splits if name.startswith("test")):
        scores = {role: [_score(folder, role, split) for folder in folders] for role in runs.ROLES}
        splits[split.name] = {
            "hash": split.hash,
            "lines": len(split.lines),
            **{role: [score.cer for score in several] for role, several in scores.items()},
            "difference": metrics.mean_difference(scores["student"], scores["control"]),
        }
    command = " ".join(["python", "benchmarks/seeds.py", *sys.argv[1:]])
    result = SeedsResult(command, dataset.name, splits, training, machine.processor())
    if out:
        write_atomic(out, (to_json(result) + "\n").encode())
    return result


def _score(folder: Path, role: str, split: Split) -> metrics.Score:
    return split.compare(split.read(load(runs.models(folder)[role]), BATCH))


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(compare_seeds, positional="folders")
