"""The network as it is deployed: raw grey pixels in, decoded labels out.

Standardized weights are computed once and the CTC decode is part of the graph, so whoever runs an export needs neither
PyTorch nor any decoder of their own: labels index into `labels.txt`.
"""

import copy

import torch
from torch import Tensor, nn

from htrcompress.decoding import greedy
from htrcompress.models.attention import AttentionDecoder
from htrcompress.models.base import LineRecognizer, fuse

DECODED_OUTPUTS = ("labels", "lengths", "scores", "logits")
"""Outputs of an exported graph, in order."""
RAW_OUTPUTS = ("logits", "frames")
"""Outputs of a graph that is exported without its decode."""
OUTPUTS = (*DECODED_OUTPUTS, "frames")
"""Outputs of `Deployable`, and so of a fresh trace."""
ATTENTIVE_OUTPUTS = (*OUTPUTS, "memory")
"""Outputs of `AttentiveDeployable`."""


class Deployable(nn.Module):
    """A network with its decode behind it; `outputs` names what it gives.

    `pixels uint8 (B, 1, H, W), widths int32 (B,) -> labels int32 (B, T), lengths int32 (B,), scores FP32 (B,),
    logits FP32 (B, T, C), frames int32 (B,)`. Labels are padded with -1; the dtypes hold whatever the weights are.
    """

    outputs: tuple[str, ...] = OUTPUTS

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, widths: Tensor) -> tuple[Tensor, ...]:
        logits, frames = self.network(pixels, widths)
        return (*greedy.greedy(logits, frames), logits, frames.int())


class AttentiveDeployable(nn.Module):
    """A network with its CTC decode, and with what an attention decoder reads of its frames: `memory`, FP32 (B, T, M).

    The decoder's step is a graph of its own (`attention_export.py`).
    """

    outputs: tuple[str, ...] = ATTENTIVE_OUTPUTS

    def __init__(self, network: LineRecognizer, decoder: AttentionDecoder):
        super().__init__()
        self.network, self.decoder = network, decoder

    def forward(self, pixels: Tensor, widths: Tensor) -> tuple[Tensor, ...]:
        encoding = self.network.encode(pixels, widths)
        features, frames = encoding.layers[-1], encoding.frames
        logits = self.network.classify(features)
        return (*greedy.greedy(logits, frames), logits, frames.int(), self.decoder.memory(features, frames))


def deployable(model: nn.Module, dtype: torch.dtype = torch.float32) -> Deployable:
    """A fused copy of a model with its decode, on the CPU and in evaluation mode; the model itself is unchanged.

    Args:
        model: a network of this package.
        dtype: of weights and activations; norms, softmax, means, positions and decode stay FP32.
    """
    network = fuse(copy.deepcopy(model).float().cpu()).requires_grad_(False)
    return Deployable(network.to(dtype)).eval()


def attentive_deployable(model: LineRecognizer, decoder: AttentionDecoder) -> AttentiveDeployable:
    """The same in FP32, with what the attention decoder reads."""
    whole = AttentiveDeployable(copy.deepcopy(model).float().cpu(), copy.deepcopy(decoder).float().cpu())
    fuse(whole.network)
    return whole.requires_grad_(False).eval()


def sample(height: int, batch: int, width: int) -> tuple[Tensor, Tensor]:
    """Random pixels uint8 (batch, 1, height, width) and widths int32 (batch,); the first row is full."""
    random = torch.Generator().manual_seed(width)
    pixels = torch.randint(0, 256, (batch, 1, height, width), dtype=torch.uint8, generator=random)
    widths = torch.randint(1, width + 1, (batch,), dtype=torch.int32, generator=random)
    widths[0] = width
    return pixels, widths
