"""Counts the numbers that a network's convolutions and matrix products read and write, weights apart."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {
    "conv1d": 1,
    "conv2d": 1,
    "convolution": 1,
    "linear": 1,
    "addmm": 2,
    "mm": 1,
    "matmul": 2,
    "bmm": 2,
    "scaled_dot_product_attention": 3,
    "_scaled_dot_product_flash_attention_for_cpu": 3,
}
"""Operator to how many of its first arguments may be activations; the others are weights, biases and settings."""


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
        activations = PRODUCTS.get(func.overloadpacket.__name__, 0)
        if activations:
            result = output[0] if isinstance(output, tuple) else output
            given = [a for a in args[:activations] if not isinstance(a, torch.nn.Parameter)]
            self.numbers += result.numel() + sum(tensor.numel() for tensor in given)
        return output
