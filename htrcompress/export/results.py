"""What `export` and `verify` return; importing this needs no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htrcompress.export.options import MIN_GUARD_LINES


@dataclass(frozen=True)
class ExportedFile:
    """One file, or folder, that was written.

    Attributes:
        role: the model: `teacher`, `student`, `control`, or the name of its file.
        path: the file.
        precision: `fp32`, `fp16` or `int8`.
        bytes: its size.
        seconds: time to make and check it.
        half_share: share of the multiplications in half precision.
        islands: number of parts that stay FP32 in an FP16 file, or of layers in an INT8 file.
    """

    role: str
    path: Path
    precision: str
    bytes: int
    seconds: float
    half_share: float = 0.0
    islands: int = 0


@dataclass(frozen=True)
class ExportResult:
    """Everything that was written.

    Attributes:
        files: one entry for each file.
        activations: role to the largest number that half precision has to hold; empty without `--fp16`.
        notes: what is worth knowing, such as which lines the activations were measured on.
        refused: why a target was not written; the others were.
    """

    files: tuple[ExportedFile, ...]
    activations: dict[str, float]
    notes: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 if something that was asked for was not written."""
        return 1 if self.refused else 0

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table("model", "file", title="exported")
        for heading in ("MiB", "seconds", "half %", "FP32 islands"):
            table.add_column(heading, justify="right")
        for file in self.files:
            precision = (f"{file.half_share:.1%}", str(file.islands)) if file.precision == "fp16" else ("-", "-")
            size = f"{file.bytes / 2**20:.1f}"
            table.add_row(file.role, file.path.as_posix(), size, f"{file.seconds:.1f}", *precision)
        peaks = [f"largest activation of {role}: {value:.1f}" for role, value in self.activations.items()]
        return Group(table, *peaks, *self.notes, *self.refused)


@dataclass(frozen=True)
class Check:
    """One exported file against the model in PyTorch; rates are fractions.

    Attributes:
        model: the role.
        form: the file, or `PyTorch, half precision`.
        arithmetic: what convolutions and products were computed in; empty for what was not executed.
        cer: its character error rate.
        difference: its CER minus that of PyTorch, with the paired 95 % interval.
        differing: the lines that read differently: id, text, reading of PyTorch, reading of this file.
        logits: the largest difference of a logit on a line's own frames; None where the file gives no logits.
        batch: the largest difference of a logit between a line alone and in a batch; likewise.
        batch_sensitive: number of lines whose text depends on their batch, over all batch sizes.
        note: why the check failed, or what is known of a file that was not executed.
        passed: whether it is within the tolerance.
        inspected: of an engine that was executed, type to the number of layers that compute in it.
    """

    model: str
    form: str
    arithmetic: str = ""
    cer: float = 0.0
    difference: tuple[float, float, float] = (0.0, 0.0, 0.0)
    differing: tuple[tuple[str, str, str, str], ...] = ()
    logits: float | None = None
    batch: float | None = None
    batch_sensitive: int = 0
    note: str = ""
    passed: bool = True
    inspected: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """All that was checked.

    Attributes:
        data, split, hash, lines: what was read.
        checks: one entry for each exported file, PyTorch first.
    """

    data: str
    split: str
    hash: str
    lines: int
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """1 if a check failed."""
        return 0 if all(check.passed for check in self.checks) else 1

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        headings = ("model", "form", "CER %", "change (95 %)", "lines differ", "logits", "batch", "")
        table = Table(*headings, title=f"{self.lines} lines of {self.data}/{self.split} ({self.hash})")
        for check in self.checks:
            if not check.arithmetic:
                table.add_row(check.model, check.form, "", "", "", "", "", check.note)
                continue
            mean, low, high = (100 * value for value in check.difference)
            change = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
            cells = [f"{100 * check.cer:.2f}", change, str(len(check.differing))]
            cells += ["" if value is None else f"{value:.1e}" for value in (check.logits, check.batch)]
            table.add_row(check.model, check.form, *cells, "ok" if check.passed else check.note)
        lines = [f"{c.form}: {row[0]}: {row[2]!r} became {row[3]!r}" for c in self.checks for row in c.differing[:5]]
        if self.lines < MIN_GUARD_LINES:
            lines.append(f"{self.lines} lines prove little about the CER: read {MIN_GUARD_LINES} or more")
        return Group(table, *lines)
