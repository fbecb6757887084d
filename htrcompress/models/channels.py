"""Groups of units that can only be removed from a network together, as a network declares them for pruning.

Units are channels of a picture, or features of a sequence layer. A cut names a parameter itself, not its path, so that
a layer that is renamed without its group fails at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Expand = Callable[[Tensor], Tensor]


def one_index(units: Tensor) -> Tensor:
    """Each unit has one index on the axis: (n,) to (n, 1)."""
    return units.unsqueeze(1)


def row_indices(rows: int) -> Expand:
    """A channel has `rows` indices on the axis, one for each row of the flattened picture: (n,) to (n, rows)."""
    return lambda units: units.unsqueeze(1) * rows + torch.arange(rows, device=units.device)


def head_indices(parts: Iterable[int], heads: int, width: int) -> Expand:
    """A unit is at the same place in every head of queries (0), keys (1) or values (2): (n,) to (n, parts · heads)."""
    starts = torch.tensor([(part * heads + head) * width for part in parts for head in range(heads)])
    return lambda units: units.unsqueeze(1) + starts.to(units.device)


@dataclass(frozen=True)
class ChannelCut:
    """Where the units of a group are in one parameter.

    Attributes:
        parameter: the parameter.
        axis: the axis that shrinks.
        expand: from units (n,) to their indices on that axis (n, k).
    """

    parameter: nn.Parameter
    axis: int
    expand: Expand = one_index


@dataclass(frozen=True)
class ChannelGroup:
    """Units that are removed from all cuts at once.

    Attributes:
        units: how many there are.
        step: how many to remove at a time, so that sizes remain multiples that hardware computes fast.
        cuts: where they are.
    """

    units: int
    step: int
    cuts: tuple[ChannelCut, ...]


def outputs(*layers: nn.Module, expand: Expand = one_index) -> list[ChannelCut]:
    """Cuts of the units that layers produce: rows of weights and biases."""
    return [
        ChannelCut(p, 0, expand) for layer in layers for p in (layer.weight, layer.bias) if isinstance(p, nn.Parameter)
    ]


def inputs(*layers: nn.Module, expand: Expand = one_index) -> list[ChannelCut]:
    """Cuts of the units that layers read: columns of weights."""
    return [ChannelCut(layer.weight, 1, expand) for layer in layers if isinstance(layer.weight, nn.Parameter)]
