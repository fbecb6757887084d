"""What a training run tells, on disk and on the screen: counters, log, TensorBoard events, progress bar."""

import contextlib
import json
import signal
import threading
import types
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from htrcompress.cli import console
from htrcompress.errors import HtrError
from htrcompress.metrics import Score
from htrcompress.utils.io import write_atomic


@dataclass
class State:
    """The counters of a run.

    Attributes:
        step: optimiser steps done.
        lines: training lines seen.
        seconds: spent on steps, validation not counted.
        cer: CER at the last validation, a fraction; None before the first.
        best: the lowest so far.
        curve: (step, seconds, CER) of every validation.
    """

    step: int = 0
    lines: int = 0
    seconds: float = 0.0
    cer: float | None = None
    best: float | None = None
    curve: list[tuple[int, float, float]] = field(default_factory=list)

    def record(self, cer: float) -> bool:
        """Notes a validation; says whether it is the best so far."""
        self.cer = cer
        self.curve.append((self.step, round(self.seconds, 1), cer))
        if self.best is None or cer < self.best:
            self.best = cer
            return True
        return False


class GracefulInterrupt:
    """Ctrl-C as a wish: the loop ends between two steps, where all counters agree. A second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "GracefulInterrupt":
        self.catches = threading.current_thread() is threading.main_thread()
        if self.catches:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.catches:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class MetricsLogger:
    """`log.jsonl`, a row every tenth step, and TensorBoard events in the same folder."""

    EVERY = 10

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        path = folder / "log.jsonl"
        try:
            self._keep(path, step)
            self.file = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115  (a row at a time, to be followed)
            self.events = SummaryWriter(folder, purge_step=step + 1)
        except OSError as error:
            raise HtrError(f"cannot write the log {path}: {error.strerror}") from None

    @staticmethod
    def _keep(path: Path, step: int) -> None:
        """Drops the rows that a resumed run will write again, and what a power cut left of others."""

        def known(row: str) -> bool:
            try:
                return bool(json.loads(row)["step"] <= step)
            except (ValueError, KeyError, TypeError):
                return False

        if path.is_file():
            rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
            write_atomic(path, "".join(row + "\n" for row in rows if known(row)).encode())

    def step(self, state: State, losses: dict[str, float], rate: float) -> None:
        """Notes the losses of a step (every tenth)."""
        if state.step % self.EVERY == 0 or state.step == 1:
            self._write(state, {**losses, "lr": rate})

    def valid(self, state: State, score: Score) -> None:
        """Notes a validation."""
        self._write(state, {"cer": score.cer, "wer": score.wer})
        self.file.flush()
        self.events.flush()

    def _write(self, state: State, values: dict[str, float]) -> None:
        row = {"step": state.step, "lines": state.lines, "seconds": round(state.seconds, 2), **values}
        try:
            self.file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise HtrError(f"cannot write {self.file.name}: {error.strerror}") from None
        for name, value in values.items():
            self.events.add_scalar(name, value, state.step)

    def close(self) -> None:
        """Closes the files; a full disk at this point has already been told."""
        with contextlib.suppress(OSError):
            self.file.close()
        self.events.close()


class Progress:
    """A bar with loss, validation CER and lines a second; plain lines where there is no terminal."""

    def __init__(self, name: str, steps: int, state: State, shown: bool = True):
        self.shown = shown
        self.name, self.steps = name, steps
        self.smooth: float | None = None
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Bar(*columns, console=console, disable=not (shown and console.is_terminal))
        self.task = self.bar.add_task(name, total=steps, completed=state.step)

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self.bar.stop()

    def step(self, state: State, loss: float) -> None:
        """Shows a step."""
        self.smooth = loss if self.smooth is None else 0.98 * self.smooth + 0.02 * loss
        self.bar.update(self.task, completed=state.step, description=self._text(state))

    def valid(self, state: State) -> None:
        """Shows a validation, also where there is no terminal."""
        if self.shown and not console.is_terminal:
            console.print(f"step {state.step}/{self.steps}  {self._text(state)}")

    def _text(self, state: State) -> str:
        cer = "" if state.cer is None else f"  CER {100 * state.cer:.2f} %"
        speed = state.lines / max(state.seconds, 1e-9)
        return f"{self.name}  loss {self.smooth or 0:.3f}{cer}  {speed:.0f} lines/s"
