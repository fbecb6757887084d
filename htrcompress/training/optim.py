"""How a network is optimised: AdamW, arithmetic and processes."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from htrcompress.config import TrainConfig
from htrcompress.errors import HtrError
from htrcompress.training.interrupt import end_blocked_waits
from htrcompress.utils import machine

BETAS = (0.9, 0.98)
LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "RANK")
"""Variables that a launcher of several processes sets beside WORLD_SIZE."""


def precision(wanted: str) -> str:
    """accelerate's name for the arithmetic: `bf16`, `fp16` or `no`.

    Raises:
        HtrError: FP16 is wanted and there is no GPU.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        else:
            wanted = "bf16" if torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_has_bf16() else "fp32"
    if wanted == "fp16" and not torch.cuda.is_available():  # accelerate would train in FP32 without a warning
        raise HtrError("--train.precision fp16 needs a GPU: choose bf16 or fp32")
    return "no" if wanted == "fp32" else wanted


def _cpu_has_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(torch.cpu._is_avx512_bf16_supported())


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Computes in FP32: without autocast, and on a GPU without TF32 in convolutions, which is on by default."""
    cudnn = torch.backends.cudnn
    with contextlib.ExitStack() as stack:
        if torch.amp.is_autocast_available(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        options = {"benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic, "allow_tf32": False}
        stack.enter_context(cudnn.flags(enabled=cudnn.enabled, **options))
        yield


def accelerator(config: TrainConfig) -> Accelerator:
    """Devices, processes and arithmetic of a training; waits for the other processes, if there are any.

    Raises:
        HtrError: FP16 is wanted and there is no GPU, or WORLD_SIZE is set without what else a launcher sets.
    """
    arithmetic = precision(config.precision)
    if machine.together():
        missing = [name for name in LAUNCHED if not os.environ.get(name)]
        if missing:
            raise HtrError(
                f"WORLD_SIZE is set and {missing[0]} is not: start several processes with `torchrun` or "
                "`accelerate launch`, or unset WORLD_SIZE"
            )
        end_blocked_waits()
    elif AcceleratorState._shared_state and AcceleratorState().mixed_precision != arithmetic:
        AcceleratorState._reset_state()  # it keeps the arithmetic of an earlier training in this Python process
    on_cpus = machine.together() and not torch.cuda.is_available()  # accelerate does not find this out by itself
    return Accelerator(mixed_precision=arithmetic, cpu=on_cpus)


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices only."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, fused=True)


class ScalerState:
    """The gradient scaler of FP16 as a part of a checkpoint; empty in other arithmetics.

    Args:
        scaler: of the accelerator, or None.
    """

    def __init__(self, scaler: Any):
        self.scaler = scaler

    def state_dict(self) -> dict[str, Any]:
        """The scale and its counters."""
        return self.scaler.state_dict() if self.scaler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a scale; without one to take over, the scaler starts with its default."""
        if self.scaler and state:
            self.scaler.load_state_dict(state)
