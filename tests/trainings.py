"""Short trainings for the tests: their options, their logs, and errors in the middle of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from htrcompress.config import TrainConfig
from htrcompress.training import trainer

SHORT = TrainConfig(steps=6, batch=8, valid_every=2, warmup=2, precision="fp32")


def log(run: Path, name: str = "tiny-student") -> list[dict[str, Any]]:
    rows = [json.loads(row) for row in (run / name / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def weights_differ_by(one: Path, other: Path, name: str = "tiny-student") -> float:
    """Largest relative distance between a parameter at the end of one run and of another."""
    first, second = (torch.load(run / name / "checkpoint.pt", weights_only=True)["objective"] for run in (one, other))
    assert first.keys() == second.keys()
    norms = [(torch.linalg.norm(first[k] - second[k]), torch.linalg.norm(first[k])) for k in first]
    return float(max(difference / (norm + 1e-3) for difference, norm in norms))


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, error: BaseException) -> None:
    step = trainer.Trainer._step

    def interrupted(self: trainer.Trainer, wrapped: Any, optimizer: Any, state: Any) -> Any:
        if state.step == steps:
            monkeypatch.undo()
            raise error
        return step(self, wrapped, optimizer, state)

    monkeypatch.setattr(trainer.Trainer, "_step", interrupted)
