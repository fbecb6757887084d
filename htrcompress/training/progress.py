"""How a training reports its progress: an interface, and a bar for consoles."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from htrcompress.training.logging import TrainState


class TrainProgress:
    """Is called at every step and validation of a training and shows nothing; subclasses override what they need."""

    def started(self, name: str, steps: int, state: TrainState) -> None:
        """A training of so many steps in all begins or is resumed."""

    def stepped(self, state: TrainState, loss: float | None) -> None:
        """A step was done; the loss is given where it is known, which on a GPU is every tenth step."""

    def validated(self, state: TrainState) -> None:
        """The model was validated; `state.cer` is its CER."""

    def ended(self) -> None:
        """The training ended, at its last step or earlier."""


class ProgressBar(TrainProgress):
    """A bar with loss, validation CER and lines a second, where there is a terminal.

    Args:
        console: where to write.
    """

    def __init__(self, console: Console):
        self.name = ""
        self.smoothed: float | None = None
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=None)

    def started(self, name: str, steps: int, state: TrainState) -> None:
        self.name, self.smoothed = name, None
        self.bar.update(self.task, description=name, total=steps, completed=state.step)
        self.bar.start()

    def stepped(self, state: TrainState, loss: float | None) -> None:
        if loss is not None:
            self.smoothed = loss if self.smoothed is None else 0.98 * self.smoothed + 0.02 * loss
        self.bar.update(self.task, completed=state.step, description=self._text(state))

    def ended(self) -> None:
        self.bar.stop()

    def _text(self, state: TrainState) -> str:
        cer = "" if state.cer is None else f"  CER {100 * state.cer:.2f} %"
        speed = state.lines / max(state.seconds, 1e-9)
        return f"{self.name}  loss {self.smoothed or 0:.3f}{cer}  {speed:.0f} lines/s"
