"""Compression of trained networks: passes that make a network smaller, and distillation from the larger one."""

from htrcompress.compression.base import CompressionPass, Target
from htrcompress.compression.pruning import ChannelPruning
from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer

__all__ = ["PASSES", "CompressionPass", "Target", "pass_for"]

PASSES: dict[str, CompressionPass] = {"channels": ChannelPruning()}
"""By name, in the order in which `pass_for` tries them."""


def pass_for(network: LineRecognizer, name: str) -> CompressionPass:
    """The first pass that supports a network; `name` is what errors call the model.

    Raises:
        HtrError: there is none.
    """
    for candidate in PASSES.values():
        if candidate.supports(network):
            return candidate
    raise HtrError(f"{name}: no pass makes a {type(network).__name__} smaller: distil it into a smaller --model")
