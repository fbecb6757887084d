"""How every exported form of finished models reads, beside the model in PyTorch.

    python benchmarks/proofs.py runs/first=../data/first runs/second=../data/second

`htrcompress.export.verify` does the work; this puts what it found of several runs into one file.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from htrcompress.cli import run_command, to_json
from htrcompress.errors import HtrError
from htrcompress.export.verification import Verification, verify
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic


@dataclass(frozen=True)
class Proofs:
    """What `verify` says of several runs.

    Attributes:
        command: how it was found.
        proofs: of each run its data, split, hash and lines, and `checks` (`htrcompress.export.checks.Check`) of the
            forms that were executed; `differing` is how many lines read differently.
        machine: the processor.
        exit_code: 1 where a form failed.
    """

    command: str
    proofs: list[dict[str, Any]]
    machine: str
    exit_code: int

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("data", "model", "form", "CER %", "change (95 %)", "lines differ", "turn with the batch", "")
        for proof in self.proofs:
            for check in proof["checks"]:
                mean, low, high = (f"{100 * value:+.3f}" for value in check["difference"])
                cells = [proof["data"], check["model"], check["form"], f"{100 * check['cer']:.2f}"]
                cells += [f"{mean} ({low} to {high})", str(check["differing"]), str(check["moved"])]
                table.add_row(*cells, check["note"] or "ok")
        return table


def prove(runs: list[str], split: str = "test", out: Path | None = None) -> Proofs:
    """Verifies the exports of several runs.

    Args:
        runs: RUN=DATA: a run, or an export folder, and the dataset that it is to read.
        split: the split to read.
        out: a JSON file for the result.

    Raises:
        HtrError: an argument is not RUN=DATA, or there is nothing to verify.
    """
    pairs = [word.rpartition("=") for word in runs]
    for word, (run, _, data) in zip(runs, pairs, strict=True):
        if not run or not data:
            raise HtrError(f"{word} must be RUN=DATA, such as runs/first=../data/first")
    if not pairs:
        raise HtrError("name a run and its data, such as runs/first=../data/first")
    found = [verify(Path(run), data, split) for run, _, data in pairs]
    command = " ".join(["python", "benchmarks/proofs.py", *sys.argv[1:]])
    code = max(proof.exit_code for proof in found)
    result = Proofs(command, [_brief(proof) for proof in found], machine.processor(), code)
    if out:
        write_atomic(out, (to_json(result) + "\n").encode())
    return result


def _brief(proof: Verification) -> dict[str, Any]:
    """Without the lines' texts, which are the corpus' own."""
    checks = [{**asdict(check), "differing": len(check.differing)} for check in proof.checks if check.arithmetic]
    return {**asdict(proof), "checks": checks}


if __name__ == "__main__":
    run_command(prove, positional="runs")
