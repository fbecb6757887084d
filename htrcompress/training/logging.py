"""The counters of a training, and the log that it writes: `log.jsonl` and TensorBoard events."""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from htrcompress.errors import HtrError
from htrcompress.metrics import Score
from htrcompress.utils.io import write_atomic

LOG_EVERY = 10
"""Steps between two rows of the log."""


@dataclass
class TrainState:
    """The counters of a run.

    Attributes:
        step: optimiser steps done.
        lines: training lines seen.
        seconds: spent on steps, without validation.
        cer: CER at the last validation, a fraction; None before the first.
        best: the lowest CER so far.
        curve: (step, seconds, CER) of every validation.
    """

    step: int = 0
    lines: int = 0
    seconds: float = 0.0
    cer: float | None = None
    best: float | None = None
    curve: list[tuple[int, float, float]] = field(default_factory=list)

    def record(self, cer: float) -> bool:
        """Adds the result of a validation; returns whether it is the best so far."""
        self.cer = cer
        self.curve.append((self.step, round(self.seconds, 1), cer))
        if self.best is None or cer < self.best:
            self.best = cer
            return True
        return False

    def since_best(self) -> int:
        """How many validations have passed since the best one."""
        rates = [cer for _, _, cer in self.curve]
        return len(rates) - 1 - rates.index(min(rates)) if rates else 0


class MetricsLogger:
    """Writes `log.jsonl`, a row every `LOG_EVERY` steps, and TensorBoard events to the same folder.

    Args:
        folder: where to write.
        step: the step that a resumed run starts from; later rows are removed.
    """

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        path = folder / "log.jsonl"
        try:
            _remove_rows_after(path, step)
            self.file = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115  (each row is written at once)
            self.events = SummaryWriter(folder, purge_step=step + 1)
        except OSError as error:
            raise HtrError(f"cannot write the log {path}: {error.strerror}") from None

    def step(self, state: TrainState, losses: dict[str, float], rate: float) -> None:
        """Writes the losses of a step, if it is one that is logged."""
        if state.step % LOG_EVERY == 0 or state.step == 1:
            self._write(state, {**losses, "lr": rate})

    def valid(self, state: TrainState, score: Score) -> None:
        """Writes the result of a validation."""
        self._write(state, {"cer": score.cer, "wer": score.wer})
        self.file.flush()
        self.events.flush()

    def _write(self, state: TrainState, values: dict[str, float]) -> None:
        row = {"step": state.step, "lines": state.lines, "seconds": round(state.seconds, 2), **values}
        try:
            self.file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise HtrError(f"cannot write {self.file.name}: {error.strerror}") from None
        for name, value in values.items():
            self.events.add_scalar(name, value, state.step)

    def close(self) -> None:
        """Closes the files; a full disk has already raised an error when a row was written."""
        with contextlib.suppress(OSError):
            self.file.close()
        self.events.close()


def _remove_rows_after(path: Path, step: int) -> None:
    """Removes the rows that a resumed run will write again, and rows that a power cut left incomplete."""

    def known(row: str) -> bool:
        try:
            return bool(json.loads(row)["step"] <= step)
        except (ValueError, KeyError, TypeError):
            return False

    if path.is_file():
        rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
        write_atomic(path, "".join(row + "\n" for row in rows if known(row)).encode())
