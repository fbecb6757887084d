"""The recurrent recogniser: residual convolutions, MobileViT blocks, column max-pool, BiLSTM head, CTC logits.

The layout is that of Retsinas et al. (2022, arXiv 2404.11339), a CRNN with a shortcut head that only training needs,
with two MobileViT blocks (Mehta & Rastegari 2022, arXiv 2110.02178) between its residual stages, in a form in which a
line reads the same in any batch. It can teach the convolutional students, for height and stride are the same.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.models.base import STRIDE, Encoding, LineRecognizer
from htrcompress.models.layers import (
    MASKED,
    SILU_GAIN,
    TALLEST,
    Attention,
    LayerNorm,
    SequenceDropout,
    StandardizedConv2d,
    column_mask,
    standardize_ink,
)
from htrcompress.models.lstm import BidirectionalLayer

DEEPEST = 64
"""Largest number of blocks of any kind, so that a hostile file cannot ask for endless ones."""
STRIDES = ((2, 2), (2, 1), (2, 1))
"""Strides of the first convolution of every stage; the stem halves height and width."""


@dataclass(frozen=True)
class HybridConfig:
    """Sizes of a `HybridRecognizer`."""

    height: int
    """Height of a line image in pixels, a multiple of 16."""
    channels: tuple[int, int, int, int]
    """Channels after the stem and after each of the three stages."""
    blocks: tuple[int, int, int]
    """Residual blocks in each stage."""
    dim: int
    """Width of the attention in the MobileViT blocks."""
    heads: int
    """Attention heads in these blocks; must divide `dim`."""
    hidden: int
    """Units of an LSTM layer in each direction."""
    layers: int
    """LSTM layers."""
    patches: tuple[int, int] = (4, 8)
    """Columns of a patch in each MobileViT block, and its rows where they divide those of the picture."""
    dropout: float = 0.2
    """Dropout in the sequence part."""

    def __post_init__(self) -> None:
        if self.height % 16 or not 16 <= self.height <= TALLEST:
            raise ValueError(f"height must be a multiple of 16 from 16 to {TALLEST}, not {self.height}")
        if self.layers + sum(self.blocks) > DEEPEST or min(self.blocks) < 1 or self.layers < 1:
            raise ValueError(f"{self.layers} layers and {self.blocks} blocks: each needs one, at most {DEEPEST} in all")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        if min(self.patches) < 1:
            raise ValueError(f"patches must be positive, not {self.patches}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}")


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions behind SiLUs around a shortcut, which strides and widens by pooling and a 1×1 convolution.

    `(B, C, H, W), masks before (B, 1, 1, W) and after (B, 1, 1, W') -> (B, out, H', W')`, zero where the mask is.
    Starts close to the shortcut (SkipInit, De & Smith 2020, arXiv 2002.10444).
    """

    def __init__(self, channels: int, out: int, stride: tuple[int, int]):
        super().__init__()
        self.stride = stride
        self.first = StandardizedConv2d(channels, out, 3, stride)
        self.second = StandardizedConv2d(out, out, 3)
        self.widen = None if channels == out else StandardizedConv2d(channels, out, 1)
        self.scale = nn.Parameter(torch.full((1,), 0.2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        inner = self.first(F.silu(x) * SILU_GAIN)
        inner = self.second(F.silu(inner) * (mask * SILU_GAIN).to(x.dtype))
        if self.stride != (1, 1):
            x = F.avg_pool2d(x, self.stride)
        if self.widen is not None:
            x = self.widen(x) * mask.to(x.dtype)
        return torch.addcmul(x, inner, (mask * self.scale).to(x.dtype))


class MobileViTBlock(nn.Module):
    """Attention between all patches of the picture, separately for every place in a patch (Mehta & Rastegari 2022).

    `(B, C, H, W), frames (B,), mask (B, 1, 1, W) -> (B, C, H, W)`, zero where the mask is. A patch has `patch`
    columns, and `patch` rows or, where that does not divide the picture, the largest number below that does. The width
    is padded to whole patches; attention masks the places beyond a row's own columns.
    """

    def __init__(self, channels: int, dim: int, heads: int, patch: int, rows: int):
        super().__init__()
        self.columns = patch
        self.rows = max(d for d in range(1, patch + 1) if rows % d == 0)
        self.local = StandardizedConv2d(channels, channels, 3)
        self.proj_in = StandardizedConv2d(channels, dim, 1)
        self.attention_norm, self.attention = LayerNorm(dim), Attention(dim, heads, dim)
        self.ffn_norm = LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))
        self.proj_out = StandardizedConv2d(dim, channels, 1)
        self.fuse = StandardizedConv2d(2 * channels, channels, 3)
        self.scale = nn.Parameter(torch.full((1,), 0.2))

    def forward(self, x: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        mask = mask.to(x.dtype)
        inner = self.proj_in(F.silu(self.local(x)) * SILU_GAIN) * mask
        inner = self.proj_out(self._mixed(inner, frames)) * mask
        inner = self.fuse(F.silu(torch.cat((x, inner), 1)) * SILU_GAIN)
        return torch.addcmul(x, inner, (mask * self.scale).to(x.dtype))

    def _mixed(self, x: Tensor, frames: Tensor) -> Tensor:
        """The picture after attention between its patches, (B, dim, H, W) like the input."""
        width, dim, tall = x.shape[3], x.shape[1], x.shape[2] // self.rows
        x = F.pad(x, (0, -width % self.columns))
        wide = x.shape[3] // self.columns
        x = x.view(-1, dim, tall, self.rows, wide, self.columns).permute(0, 3, 5, 2, 4, 1)
        x = x.reshape(-1, tall * wide, dim)  # lines and places in a patch, patches, features
        # Softmax must not see a fully masked row, so the first patch is valid at all its places.
        valid = column_mask(frames.clamp(min=self.columns), wide * self.columns).view(-1, wide, self.columns)
        valid = valid.transpose(1, 2)[:, None, :, None].expand(-1, self.rows, -1, tall, -1)
        bias = (1 - valid.float()).reshape(-1, 1, 1, tall * wide) * MASKED
        x = x + self.attention(self.attention_norm(x), bias)
        x = x + self.ffn(self.ffn_norm(x))
        x = x.view(-1, self.rows, self.columns, tall, wide, dim).permute(0, 5, 3, 1, 4, 2)
        return x.reshape(-1, dim, tall * self.rows, wide * self.columns)[..., :width]


class HybridRecognizer(LineRecognizer):
    """Residual convolutions and MobileViT blocks to columns, then bidirectional LSTM layers over the columns."""

    config: HybridConfig
    has_shortcut = True

    def __init__(self, config: HybridConfig, classes: int):
        super().__init__()
        self.config = config
        hidden, channels = config.hidden, config.channels
        self.stem = StandardizedConv2d(1, channels[0], 7, (2, 2))
        self.stages = nn.ModuleList(
            nn.ModuleList(
                ResidualBlock(before if first else after, after, stride if first else (1, 1))
                for first in (True, *(False,) * (blocks - 1))
            )
            for before, after, stride, blocks in zip(channels[:3], channels[1:], STRIDES, config.blocks, strict=True)
        )
        self.mixers = nn.ModuleList(
            MobileViTBlock(c, config.dim, config.heads, patch, config.height // rows)
            for c, patch, rows in zip(channels[1:3], config.patches, (4, 8), strict=True)
        )
        self.recurrence = nn.ModuleList(BidirectionalLayer(dim, hidden) for dim in self.layer_dims[:-1])
        self.dropout = SequenceDropout(config.dropout)
        self.norm, self.fusion = LayerNorm(2 * hidden), nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, classes)
        self.shortcut = nn.Conv1d(channels[3], classes, 3, padding=1)

    @property
    def layer_dims(self) -> tuple[int, ...]:
        return (self.config.channels[3], *(2 * self.config.hidden for _ in range(self.config.layers)))

    def encode(self, pixels: Tensor, widths: Tensor) -> Encoding:
        """The columns of the picture, which are zero beyond a row's frames, and the output of every LSTM layer."""
        ink, widths = standardize_ink(pixels, widths, STRIDE)
        halves = (widths + 1) // 2
        frames = (halves + 1) // 2
        # A tensor with one channel has no definite memory layout; fixed here, no later layer has to convert it.
        x = self.stem(ink.to(self.head.weight.dtype)).contiguous(memory_format=torch.channels_last)
        x = x * column_mask(halves, x.shape[3])[:, None, None].to(x.dtype)
        mask = column_mask(frames, x.shape[3] // 2)[:, None, None].to(x.dtype)
        for stage, mixer in zip(self.stages, (*self.mixers, None), strict=True):
            for block in cast(nn.ModuleList, stage):
                x = block(x, mask)
            x = x if mixer is None else mixer(x, frames, mask)
        layers = [F.max_pool2d(x, (x.shape[2], 1)).squeeze(2).transpose(1, 2)]
        for number, layer in enumerate(self.recurrence):
            layers.append(layer(self.dropout(layers[-1]) if number else layers[-1], frames))
        return Encoding(layers, frames)

    def classify(self, features: Tensor) -> Tensor:
        return self.head(F.gelu(self.fusion(self.norm(features)))).float()

    def shortcut_logits(self, encoding: Encoding) -> Tensor:
        """Logits FP32 (B, T, classes) of a convolution over the columns, without the recurrence."""
        return self.shortcut(encoding.layers[0].transpose(1, 2)).transpose(1, 2).float()

    def output_layers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        return {"head": self.head, "shortcut": self.shortcut}

    def float_layers(self) -> tuple[str, ...]:
        """The stem: its one input channel makes integer kernels slow."""
        return ("stem",)
