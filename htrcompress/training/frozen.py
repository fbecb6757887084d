"""A base class for losses that use a frozen network: a distillation's teacher, a language model."""

import copy
from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn


class FrozenHolder(nn.Module):
    """Holds a frozen network that moves between devices with the holder, and is in no optimiser and no checkpoint.

    Args:
        module: the network; it is put into evaluation mode, and its parameters need no gradients any more.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self._module = (module.eval().requires_grad_(False),)  # inside a tuple, PyTorch does not register it

    @property
    def module(self) -> Any:
        """The frozen network."""
        return self._module[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenHolder":
        """A copy that shares the frozen network."""
        memo[id(self.module)] = self.module
        copied = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__dict__, memo))
        return copied

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Applies a change of device or type to the frozen network too."""
        self.module._apply(fn)
        return super()._apply(fn, recurse)
