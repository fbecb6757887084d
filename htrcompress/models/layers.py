"""The building blocks of the recognisers. A line's result does not depend on the other lines of its batch.

A batch pads its lines to a common width. Convolution and attention would let that padding leak into a line, so each
block takes a mask of valid columns and returns zeros beyond them. Nothing here has batch statistics: convolutions
standardise their weights instead (a constant that export computes once). What half precision would break (norms,
softmax, masked means, positions) is computed in FP32 whatever the type of the weights; `export/precision.py` lists
these islands.

Kernels add in another order where a batch is wider, so the last bit of a float sum can depend on the batch, and the
rounding of INT8 and FP16 can turn that bit into another character. The masked means are therefore sums of whole
numbers, exact in every order. Attention's sums over frames are float sums, and move in their last bits.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.models.base import Fusable

GATE_GAIN = 1.85
"""1 / sqrt(E[sigmoid(g)²]) for g ~ N(0, 1): keeps unit variance through a gate."""
SILU_GAIN = 1.68
"""The same for SiLU: 1 / sqrt(E[silu(x)²])."""
TALLEST = 256
"""Largest height of lines in pixels: the sum of a column's squared grey levels stays below 2^24, exact in FP32."""
MASKED = -30_000.0
"""Added to attention scores of padding; finite in FP16, and exp() of it is zero."""
FIXED_POINT_SCALE = 1024
"""Means over columns are computed in multiples of 1/1024, so that their sums are sums of whole numbers."""
SPLIT = 4096.0
"""Whole numbers are added in two parts, multiples of this and the rest, each of which stays exact in FP32."""


def column_mask(valid: Tensor, columns: int) -> Tensor:
    """Mask of valid columns: valid (B,) int64, to bool (B, columns)."""
    return torch.arange(columns, device=valid.device) < valid.unsqueeze(1)


def round_ste(x: Tensor) -> Tensor:
    """Rounds to whole numbers, any shape and type; gradients pass unchanged."""
    return x + (x.round() - x).detach() if x.requires_grad else x.round()


def exact_sum(x: Tensor, dim: int) -> Tensor:
    """Sum of whole numbers in FP32 that has the same bits in every order of adding.

    Whole numbers below 2^24 are exact in FP32, but a sum of many can pass that. The multiples of `SPLIT` and the rest
    are added separately: exact for up to 4,096 numbers, each below 2^24, and rounded once in the end.
    """
    high = (x / SPLIT).floor().detach()
    return high.sum(dim) * SPLIT + torch.add(x, high, alpha=-SPLIT).sum(dim)


class StandardizedConv2d(nn.Conv2d, Fusable):
    """Convolution with scaled weight standardisation (Brock et al. 2021, arXiv 2101.08692).

    The weights of an output channel are shifted to zero mean and scaled to a variance that preserves the
    activations' scale, times a learned gain. `(B, C, H, W) -> (B, out, H', W')`.
    """

    bias: nn.Parameter

    def __init__(self, channels: int, out: int, kernel: int, stride: tuple[int, int] = (1, 1)):
        super().__init__(channels, out, kernel, stride=stride, padding=kernel // 2)
        self.gain = nn.Parameter(torch.ones(out, 1, 1, 1))
        nn.init.zeros_(self.bias)

    def standardized(self) -> Tensor:
        """The weight that the convolution uses, (out, C, k, k)."""
        fan_in = self.weight[0].numel()
        variance, mean = torch.var_mean(self.weight.float(), dim=(1, 2, 3), keepdim=True, correction=0)
        scale = self.gain * torch.rsqrt(variance * fan_in + 1e-4)
        return (self.weight - mean) * scale

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standardized().to(self.weight.dtype), self.bias, self.stride, self.padding)

    def fused(self) -> nn.Conv2d:
        """The same convolution with its weights computed once, for inference."""
        out, channels, kernel, _ = self.weight.shape
        conv = nn.Conv2d(channels, out, kernel, self.stride, kernel // 2)  # type: ignore[arg-type]
        conv.load_state_dict({"weight": self.standardized().detach(), "bias": self.bias.detach()})
        return conv


def convolution(channels: int, out: int, kernel: int, stride: tuple[int, int], standardized: bool) -> nn.Conv2d:
    """A padded convolution; `standardized` is false for the plain ones of pruned networks."""
    if standardized:
        return StandardizedConv2d(channels, out, kernel, stride)
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2)


class GatedConv(nn.Module):
    """Convolution gated by a 1×1 convolution of the same input: `conv(x) * sigmoid(gate(x))`.

    `(B, C, H, W) -> (B, out, H', W')`, to be masked by the caller. The gate pools its input where the convolution
    strides; H and W are multiples of the stride, so a pool never reaches across a line's last frame.
    """

    def __init__(self, channels: int, out: int, stride: tuple[int, int], standardized: bool):
        super().__init__()
        self.stride = stride
        self.value = convolution(channels, out, 3, stride, standardized)
        self.gate = convolution(channels, out, 1, (1, 1), standardized)

    def forward(self, x: Tensor) -> Tensor:
        # A strided 1×1 convolution would see a quarter of its input, and corrupts memory on the CPU in
        # channels-last with few channels (torch 2.13).
        pooled = x if self.stride == (1, 1) else F.avg_pool2d(x, self.stride)
        return self.value(x) * torch.sigmoid(self.gate(pooled))


class Reduction(GatedConv):
    """A gated convolution that makes the picture smaller. `(B, C, H, W), mask (B, 1, 1, W') -> (B, out, H', W')`."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        x = super().forward(x)
        return x * (mask * GATE_GAIN).to(x.dtype)  # under autocast the mask is FP32 and would spread


class Stem(nn.Module):
    """From ink to features at half the size. The input has one channel, so each output gates itself (SiLU).

    `(B, 1, H, W), mask (B, 1, 1, W/2) -> (B, out, H/2, W/2)`, zero where the mask is.
    """

    def __init__(self, out: int, standardized: bool):
        super().__init__()
        self.conv = convolution(1, out, 3, (2, 2), standardized)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        # A tensor with one channel has no definite memory layout; fixed here, no later layer has to convert it.
        x = F.silu(self.conv(x).contiguous(memory_format=torch.channels_last))
        return x * (mask * SILU_GAIN).to(x.dtype)


class SqueezeExcite(nn.Module):
    """Channel weights from the mean over a line's own columns (Hu et al. 2018, arXiv 1709.01507).

    `(B, C, H, W), mask (B, 1, 1, W) -> (B, C, 1, 1)`, from 0 to 2. Columns beyond the mask do not count.
    The mean is multiplied by the gate's gain, for the input is a gated picture.
    """

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.down = nn.Linear(channels, channels // reduction)
        self.up = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        columns = round_ste(x.mean(2).float() * (mask[:, 0].float() * FIXED_POINT_SCALE))
        mean = exact_sum(columns, 2) * (GATE_GAIN / FIXED_POINT_SCALE / mask.float().sum((1, 2, 3)).unsqueeze(1))
        return torch.sigmoid(self.up(F.relu(self.down(mean.to(x.dtype)))))[:, :, None, None] * 2


class GatedBlock(nn.Module):
    """Residual gated convolution with squeeze-and-excitation; starts as the identity (SkipInit)."""

    def __init__(self, channels: int, standardized: bool):
        super().__init__()
        self.conv = GatedConv(channels, channels, (1, 1), standardized)
        self.excite = SqueezeExcite(channels)
        self.scale = nn.Parameter(torch.full((1,), 0.2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        gated = self.conv(x)
        # Mask, excitation, gain and scale are one small factor, so that memory is passed over once.
        factor = self.excite(gated, mask) * mask * (self.scale * GATE_GAIN)
        return torch.addcmul(x, gated, factor.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the last axis, computed in FP32. `(..., D) -> (..., D)`."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return y.to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention over valid frames, `inner` wide. `(B, T, D), bias (B, 1, 1, T) -> (B, T, D)`."""

    def __init__(self, dim: int, heads: int, inner: int):
        super().__init__()
        self.heads, self.inner = heads, inner
        self.qkv = nn.Linear(dim, 3 * inner)
        self.out = nn.Linear(inner, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, frames, _ = x.shape
        width = self.inner // self.heads
        q, k, v = (y.unflatten(2, (self.heads, width)).transpose(1, 2) for y in self.qkv(x).chunk(3, 2))
        scores = q * width**-0.5 @ k.transpose(2, 3)
        weights = torch.softmax(scores.float() + bias, -1).to(v.dtype)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, frames, self.inner))


class SequenceDropout(nn.Module):
    """Drops a feature in all frames of a line at once (Gal & Ghahramani 2016, arXiv 1512.05287). (B, T, D) as given.

    One mask a line instead of one a frame, because drawing the latter took 5 % of a training step on a CPU.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.share
        return x * (kept / (1 - self.share)).to(x.dtype)


class SequenceBlock(nn.Module):
    """Attention, a depth-wise convolution over time, and a feed-forward layer, each residual with a pre-norm.

    `(B, T, D), mask (B, T, 1), bias (B, 1, 1, T) -> (B, T, D)`
    """

    def __init__(self, dim: int, heads: int, inner: int, hidden: int, kernel: int, dropout: float):
        super().__init__()
        self.attention_norm, self.attention = LayerNorm(dim), Attention(dim, heads, inner)
        self.conv_norm = LayerNorm(dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.pointwise = nn.Linear(dim, dim)
        self.ffn_norm = LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.dropout = SequenceDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), bias))
        local = self.depthwise((self.conv_norm(x) * mask).transpose(1, 2)).transpose(1, 2).contiguous()
        x = x + self.dropout(self.pointwise(F.gelu(local)))
        return x + self.dropout(self.ffn(self.ffn_norm(x)))


def standardize_ink(pixels: Tensor, widths: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Grey pixels to ink, standardised over each line's own columns, and widths of at least one.

    uint8 (B, 1, H, W) to FP32 (B, 1, H, W padded to a multiple of the stride) with zeros as padding; int64 (B,).
    """
    widths = widths.long().clamp(min=1)
    ink = F.pad(255 - pixels.float(), (0, -pixels.shape[3] % stride))
    mask = column_mask(widths, ink.shape[3])[:, None, None].float()
    ink = ink * mask
    area = (widths * ink.shape[2]).float()[:, None, None, None]
    # Grey levels are whole numbers, and so are their sums: exact in FP32 down a column, in integers from there.
    mean, power = (
        columns.long().sum(3, keepdim=True).float() / area
        for columns in (ink.sum(2, keepdim=True), ink.square().sum(2, keepdim=True))
    )
    deviation = (power - mean.square()).clamp(min=0).sqrt()
    return (ink - mean) * (mask / (deviation + 0.05 * 255)), widths


def sinusoidal_positions(frames: int, dim: int, device: torch.device) -> Tensor:
    """Sine and cosine positions (Vaswani et al. 2017), FP32 (frames, dim); computed, so any length has them."""
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))
    angles = torch.arange(frames, device=device).unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), 1)
