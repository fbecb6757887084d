"""Counts the numbers that a network's convolutions and matrix products read and write, weights apart."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"convolution", "mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product_flash_attention_for_cpu"}


class Traffic(TorchDispatchMode):
    """Counts while it is entered.

    Attributes:
        numbers: activations read and written so far; each layer counts, as if nothing stayed in a cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in PRODUCTS:
            inputs = [a for a in args if isinstance(a, torch.Tensor) and not isinstance(a, torch.nn.Parameter)]
            outputs = output if isinstance(output, tuple) else (output,)
            tensors = [*inputs, *(o for o in outputs if isinstance(o, torch.Tensor))]
            self.numbers += sum(tensor.numel() for tensor in tensors)
        return output
