"""The proof that half precision does not overflow: the largest activation on real lines."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from htrcompress.errors import HtrError, Refused
from htrcompress.export.deployable import deployable

LARGEST_ALLOWED = 30_000.0
"""Half precision ends at 65,504: lines unlike the validation lines get a factor of two."""


def largest_activation(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The largest absolute value among all tensors that an FP16 export holds in half precision.

    The network runs with FP64 in place of half precision: FP64 does not overflow, and the FP32 islands stay FP32, so
    a tensor's dtype says whether half precision will have to hold it.

    Args:
        model: a network of this package.
        batches: pixels uint8 (B, 1, H, W) and widths (B,) of real lines.

    Raises:
        Refused: a value passes 30,000 or is not finite.
        HtrError: there are no batches.
    """
    network = deployable(model, torch.float64).network
    with torch.no_grad(), ModuleTracker() as modules, _Largest(modules) as largest:
        for pixels, widths in batches:
            network(pixels, widths)
    if not largest.module:
        raise HtrError("there are no lines to measure activations on")
    if not largest.value <= LARGEST_ALLOWED:
        raise Refused(
            f"half precision is not safe: an activation in {largest.module} reaches {largest.value:.3g}, "
            f"above the limit of {LARGEST_ALLOWED:,.0f}; export without --fp16"
        )
    return largest.value


class _Largest(TorchDispatchMode):
    """Records the largest FP64 result, up to the first above the limit: what follows only inherits that."""

    def __init__(self, modules: ModuleTracker):
        super().__init__()
        self.modules = modules
        self.value = 0.0
        self.module = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float64 and tensor.numel():
                low, high = tensor.aminmax()
                value = max(-float(low), float(high))
                value = math.inf if math.isnan(value) else value
                if self.value <= LARGEST_ALLOWED and (value > self.value or not self.module):
                    self.value, self.module = value, max(self.modules.parents - {"Global"}, key=len)
        return result
