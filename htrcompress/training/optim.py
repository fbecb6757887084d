"""How a network is optimised: AdamW, the moving average, the arithmetic. The options are `config.TrainConfig`."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from htrcompress.config import TrainConfig
from htrcompress.errors import HtrError
from htrcompress.utils import machine

BETAS = (0.9, 0.98)


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
    if wanted == "fp16" and not torch.cuda.is_available():  # accelerate would quietly train in FP32
        raise HtrError("--train.precision fp16 needs a GPU: choose bf16 or fp32")
    return "no" if wanted == "fp32" else wanted


def accelerator(config: TrainConfig) -> Accelerator:
    """Devices, processes and arithmetic of a training."""
    arithmetic = precision(config.precision)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != arithmetic and not machine.together():
        AcceleratorState._reset_state()  # what an earlier training in this Python process wanted
    several = machine.together() and not torch.cuda.is_available()  # which accelerate does not see by itself
    return Accelerator(mixed_precision=arithmetic, cpu=several)


def _cpu_has_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(torch.cpu._is_avx512_bf16_supported())


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices only."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, fused=True)


@torch.no_grad()
def ema_update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the model's: average = decay · average + (1 − decay) · model."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
