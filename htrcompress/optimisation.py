"""How a network is optimised: options, AdamW, the schedule, the moving average, the arithmetic."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from htrcompress.errors import HtrError

EPOCHS = 60
TINY_EPOCHS = {"tiny-teacher": 4.5, "tiny-student": 2}
"""Passes over the training lines where the user gives no length; the tiny presets' fit the demo's minutes."""
BETAS = (0.9, 0.98)
FLOOR = 0.01
"""The learning rate ends at this share of its peak."""


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained."""

    steps: int | None = None
    """Optimiser steps; instead of --train.epochs."""
    epochs: float | None = None
    """Passes over the training lines; instead of --train.steps. 60, or a few for a tiny preset, if neither is given."""
    batch: int = 0
    """Lines a step, over all processes; 0 is 16, or 32 for a tiny preset."""
    lr: float = 0.0
    """Peak learning rate of AdamW; 0 is 0.0015, or 0.003 for a tiny preset."""
    warmup: int = 200
    """Steps over which the learning rate rises; then it falls along a cosine."""
    weight_decay: float = 0.02
    """Weight decay of the matrices."""
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what is validated and kept."""
    valid_every: int | None = None
    """Steps between validations; a tenth of the run if not given."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto is bf16 where the machine has it."""
    infeasible: float = 0.02
    """Largest share of lines that CTC cannot emit, for want of width; they are left out of training."""
    seed: int = 0
    """Decides initial weights, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise HtrError("give --train.steps or --train.epochs, not both")
        for name in ("steps", "epochs", "clip", "valid_every"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise HtrError(f"--train.{name} must be positive, not {value}")
        for name in ("batch", "lr", "warmup", "weight_decay"):
            if getattr(self, name) < 0:
                raise HtrError(f"--train.{name} must not be negative, and is {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise HtrError(f"--train.ema must be from 0 to below 1, not {self.ema}")

    def total_steps(self, batches: int) -> int:
        """Optimiser steps of a run whose epoch has so many batches."""
        return self.steps or max(1, round((self.epochs or 1) * batches))

    def filled(self, model: str) -> "TrainConfig":
        """The config with what the user left open set to what suits the preset."""
        epochs = self.epochs or (None if self.steps else TINY_EPOCHS.get(model, EPOCHS))
        batch, lr = (32, 3e-3) if model in TINY_EPOCHS else (16, 1.5e-3)
        return replace(self, epochs=epochs, batch=self.batch or batch, lr=self.lr or lr)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at a step."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        return self.lr * rise * max(FLOOR, 0.5 * (1 + math.cos(math.pi * step / steps)))


def precision(wanted: str) -> str:
    """accelerate's name for the arithmetic: `bf16`, `fp16` or `no`."""
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        else:
            wanted = "bf16" if torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_has_bf16() else "fp32"
    return "no" if wanted == "fp32" else wanted


def _cpu_has_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(torch.cpu._is_avx512_bf16_supported())


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices only."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=BETAS)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the model's: average = decay · average + (1 − decay) · model."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
