"""The network as it is deployed: raw grey pixels in, decoded labels out.

Weights are folded and the CTC decode is part of the graph, so whoever runs an export needs neither PyTorch
nor any code for decoding: labels index into `labels.txt`.
"""

import copy

import torch
from torch import Tensor, nn

from htrcompress.decoding import greedy
from htrcompress.models.base import fuse

OUTPUTS = ("labels", "lengths", "scores", "logits")
RAW_OUTPUTS = ("logits", "frames")
"""What a graph without decode gives: logits float32 (B, T, C) and frames int32 (B,)."""


class Deployable(nn.Module):
    """`pixels uint8 (B, 1, H, W), widths int32 (B,) -> labels (B, T), lengths (B,), scores (B,), logits (B, T, C)`.

    Labels and lengths are int32, labels padded with -1; scores and logits are FP32 whatever the weights are.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, widths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits, frames = self.network(pixels, widths)
        return (*greedy.greedy(logits, frames), logits)


class Undecoded(nn.Module):
    """`pixels, widths -> logits float32 (B, T, C), frames int32 (B,)`: for those who decode themselves."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        logits, frames = self.network(pixels, widths)
        return logits, frames.int()


def deployable(model: nn.Module, dtype: torch.dtype = torch.float32) -> Deployable:
    """A folded copy of a model with its decode, on the CPU and in evaluation mode; the model stays as it is.

    Args:
        model: a network of this package.
        dtype: of weights and activations; norms, softmax, means, positions and decode stay FP32.
    """
    network = fuse(copy.deepcopy(model).float().cpu()).requires_grad_(False)
    return Deployable(network.to(dtype)).eval()


def sample(height: int, batch: int, width: int) -> tuple[Tensor, Tensor]:
    """Random pixels uint8 (batch, 1, height, width) and widths int32 (batch,); the first row is full."""
    random = torch.Generator().manual_seed(width)
    pixels = torch.randint(0, 256, (batch, 1, height, width), dtype=torch.uint8, generator=random)
    widths = torch.randint(1, width + 1, (batch,), dtype=torch.int32, generator=random)
    widths[0] = width
    return pixels, widths
