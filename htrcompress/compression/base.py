"""`CompressionPass`: makes a trained network smaller. A new pass is one file and one row in `PASSES`.

`python -m htrcompress.prune` measures the network before and after, and then trains the smaller network with the
larger one as its teacher, whatever the pass was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from htrcompress.models.base import LineRecognizer


@dataclass(frozen=True)
class Target:
    """How small the network has to become.

    Attributes:
        measure: what counts: multiplications (`flops`) or parameters (`params`).
        share: the share of it that stays, between 0 and 1.
    """

    measure: Literal["flops", "params"]
    share: float


class CompressionPass(Protocol):
    """One way to make a network smaller."""

    def check(self, model: LineRecognizer, target: Target) -> None:
        """Raises HtrError where this network cannot reach the target, before anything is trained."""

    def apply(
        self, model: LineRecognizer, target: Target, losses: Callable[[LineRecognizer], Iterator[Tensor]]
    ) -> LineRecognizer:
        """A smaller network that computes nearly the same; the model given stays as it is.

        Args:
            model: the trained network.
            target: how small.
            losses: gives the mean CTC loss of a network on some training batches, each computed when it is asked for.
        """
