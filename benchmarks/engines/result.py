"""What `rtx.py` finds out on an RTX card, in the shape that its JSON document has, and the tables of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.table import Table

from benchmarks.engines.gpu import Gpu
from benchmarks.engines.timing import EngineTime, KernelTime
from benchmarks.rows import Benchmark
from htrcompress.export.results import Check


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: what was to be done.
        state: `left out` where the machine lacks what it needs.
        seconds: how long it took.
        reason: why it is not done.
    """

    name: str
    state: Literal["done", "failed", "left out"]
    seconds: float
    reason: str = ""


@dataclass
class ModelResult:
    """What was found out about one model.

    Attributes:
        name: of its file.
        data: what it read: the dataset and its split.
        checks: every form against PyTorch (`export.verify`).
        engines: what the engines' steps take.
        benchmark: as `run.py` measures it.
    """

    name: str
    data: str
    checks: list[Check] = field(default_factory=list)
    engines: list[EngineTime] = field(default_factory=list)
    benchmark: Benchmark | None = None


@dataclass(frozen=True)
class RtxResult:
    """What `benchmarks/engines/rtx.py` did; `gpu` is None where there is none.

    Attributes:
        command, date, machine: how, when and where.
        gpu: the card.
        steps: all of them, in order.
        kernel: the decode kernel alone.
        models: one entry a model.
        path: where this was written.
    """

    command: str
    date: str
    machine: dict[str, Any]
    gpu: Gpu | None
    steps: list[Step]
    kernel: list[KernelTime]
    models: list[ModelResult]
    path: Path
    kind: str = "rtx"

    @property
    def executed(self) -> bool:
        """Whether an engine was."""
        return any(model.engines for model in self.models)

    @property
    def exit_code(self) -> int:
        """1 where a step failed, or no engine was executed."""
        return 0 if self.executed and not any(step.state == "failed" for step in self.steps) else 1


def tables(result: RtxResult) -> Group:
    """What people see of it."""
    steps = Table("step", "s", "", title=f"on {result.gpu.name if result.gpu else 'a machine without a GPU'}")
    for step in result.steps:
        steps.add_row(step.name, f"{step.seconds:.0f}", f"{step.state}: {step.reason}" if step.reason else step.state)
    times = Table("model", "engine", "lines", "to text ms", "execute ms", "decode %", "KiB back")
    for model in result.models:
        for row in model.engines:
            share = "" if row.decode_share is None else f"{100 * row.decode_share:.1f}"
            cells = (f"{row.total_ms:.3f}", f"{row.execute_ms:.3f}", share, f"{row.bytes_down / 1024:.1f}")
            times.add_row(model.name, row.engine, str(row.batch), *cells)
    if result.executed:
        return Group(steps, times, f"written: {result.path}")
    needs = next((step.name for step in result.steps if step.name.startswith("time engines")), "time engines")
    return Group(steps, f"No engine was executed: '{needs}' needs an NVIDIA GPU; written: {result.path}")
