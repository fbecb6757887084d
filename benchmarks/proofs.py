"""How every exported form of finished models reads, beside the model in PyTorch.

    python benchmarks/proofs.py runs/first=../data/first runs/second=../data/second

`htrcompress.export.verify` does the work; this puts what it found of several runs into one file.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.export.commands import verify
from htrcompress.export.options import VerifyOptions
from htrcompress.export.results import Verification
from htrcompress.utils import machine


@dataclass(frozen=True)
class Proofs:
    """What `verify` says of several runs.

    Attributes:
        command: how it was found.
        proofs: of each run its data, split, hash and lines, and `checks` (`htrcompress.export.results.Check`) of the
            forms that were executed; `differing` is how many lines read differently.
        machine: the processor.
        exit_code: 1 where a form failed.
    """

    command: str
    proofs: list[dict[str, Any]]
    machine: str
    exit_code: int
    kind: str = "proofs"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("data", "model", "form", "CER %", "change (95 %)", "lines differ", "turn with the batch", "")
        for proof in self.proofs:
            for check in proof["checks"]:
                mean, low, high = (f"{100 * value:+.3f}" for value in check["difference"])
                cells = [proof["data"], check["model"], check["form"], f"{100 * check['cer']:.2f}"]
                cells += [f"{mean} ({low} to {high})", str(check["differing"]), str(check["batch_sensitive"])]
                table.add_row(*cells, check["note"] or "ok")
        return table


@dataclass(frozen=True)
class ProofsOptions:
    """Verifies the exports of several runs."""

    runs: list[str]
    """RUN=DATA: a run, or an export folder, and the dataset that it is to read."""
    split: str = "test"
    """The split to read."""
    out: Path | None = None
    """A JSON file for the result."""


def prove(options: ProofsOptions) -> Proofs:
    """Verifies the exports of several runs.

    Raises:
        HtrError: an argument is not RUN=DATA, or there is nothing to verify.
    """
    pairs = [word.rpartition("=") for word in options.runs]
    for word, (run, _, data) in zip(options.runs, pairs, strict=True):
        if not run or not data:
            raise HtrError(f"{word} must be RUN=DATA, such as runs/first=../data/first")
    if not pairs:
        raise HtrError("name a run and its data, such as runs/first=../data/first")
    found = [verify(VerifyOptions(Path(run), data, options.split)) for run, _, data in pairs]
    command = command_line()
    code = max(proof.exit_code for proof in found)
    result = Proofs(command, [_brief(proof) for proof in found], machine.processor(), code)
    save(result, options.out)
    return result


def _brief(proof: Verification) -> dict[str, Any]:
    """Without the lines' texts, which are the corpus' own."""
    checks = [{**asdict(check), "differing": len(check.differing)} for check in proof.checks if check.arithmetic]
    return {**asdict(proof), "checks": checks}


if __name__ == "__main__":
    run_command(prove, positional="runs")
