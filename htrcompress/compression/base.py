"""`CompressionPass`: makes a trained network smaller. A new pass is one file and one row in `compression.PASSES`.

`python -m htrcompress.prune` takes the first pass that supports the network, measures the network before and after,
and trains the smaller network with the larger one as its teacher.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from htrcompress.models.base import LineRecognizer
from htrcompress.models.registry import architecture, build

WIDTH = 512
"""Width in pixels of the line that floating-point operations are counted for."""
Measure = Literal["flops", "params"]
BatchLosses = Callable[[LineRecognizer, int], Iterator[Tensor]]
"""From a network and the number of a round to its mean CTC losses on some training batches, each computed on demand."""


@dataclass(frozen=True)
class Target:
    """How small the network has to become.

    Attributes:
        measure: what counts: floating-point operations for a line (`flops`), or trained parameters (`params`).
        share: the share of it that stays, between 0 and 1.
    """

    measure: Measure
    share: float


class CompressionPass(ABC):
    """One way to make a network smaller."""

    @abstractmethod
    def supports(self, network: LineRecognizer) -> bool:
        """Whether this pass can work on a network of this kind."""

    def check(self, network: LineRecognizer, target: Target) -> None:
        """Raises HtrError where the network cannot reach the target; called before anything is computed."""
        return

    def prepare(self, network: LineRecognizer) -> LineRecognizer:
        """The network in the form that `apply` needs, which computes the same; it becomes the teacher."""
        return network

    @abstractmethod
    def apply(self, network: LineRecognizer, target: Target, losses: BatchLosses) -> LineRecognizer:
        """A smaller network that computes nearly the same; the given network stays as it is.

        Args:
            network: what `prepare` gave.
            target: how small.
            losses: of a network on training batches.
        """

    def cost(self, network: LineRecognizer, measure: Measure) -> int:
        """Floating-point operations for a line of `WIDTH` pixels, or trained parameters."""
        return count_flops(network) if measure == "flops" else count_parameters(network)


def count_parameters(network: LineRecognizer) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in network.parameters())


def count_flops(network: LineRecognizer) -> int:
    """Floating-point operations in convolutions and matrix products for one line, counted without computing it."""
    with torch.device("meta"):
        copy = build(architecture(network), network.classes)
        pixels = torch.empty(1, 1, network.config.height, WIDTH, dtype=torch.uint8)
        widths = torch.empty(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        copy(pixels, widths)
    return counter.get_total_flops()
