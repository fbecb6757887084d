"""A small Transformer decoder over a recogniser's frames, which writes a line's text character by character.

CTC gives every frame a character of its own; this decoder also sees what has been written so far (Vaswani et al. 2017,
arXiv 1706.03762). `--aux.attention` trains it beside CTC (Kim et al. 2017, arXiv 1609.06773); `--decoder attention` and
`--decoder joint` read with it where the model's file keeps it.

Labels are those of CTC; label 0, CTC's blank, starts and ends a text. The frames beyond a line's own are masked, so a
line's values do not depend on the lines beside it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from htrcompress.models.layers import MASKED, LayerNorm, SequenceDropout, column_mask, sinusoidal_positions

LARGEST_DIM, DEEPEST = 4096, 64
"""Largest width and number of layers, so that a hostile file cannot ask for endless ones."""


@dataclass(frozen=True)
class AttentionSizes:
    """Sizes of an `AttentionDecoder`."""

    layers: int
    """Transformer layers."""
    dim: int
    """Their width."""
    heads: int
    """Attention heads; must divide `dim`."""
    dropout: float = 0.1
    """Dropout in training."""

    def __post_init__(self) -> None:
        if not all(isinstance(size, int) for size in (self.layers, self.dim, self.heads)):
            raise ValueError("layers, dim and heads must be whole numbers")
        if not 1 <= self.layers <= DEEPEST:
            raise ValueError(f"layers must be from 1 to {DEEPEST}, not {self.layers}")
        if not 2 <= self.dim <= LARGEST_DIM or self.dim % 2:
            raise ValueError(f"dim must be even and from 2 to {LARGEST_DIM}, not {self.dim}")
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}")


class DecoderLayer(nn.Module):
    """Attention to the characters so far, attention to the frames, and a feed-forward layer, each with a pre-norm.

    The two methods for attention to the characters are the same computation: over a whole text in training, and for
    one more character with the keys and values of those before in reading.
    """

    def __init__(self, sizes: AttentionSizes):
        super().__init__()
        dim, self.heads = sizes.dim, sizes.heads
        self.own_norm, self.own_qkv, self.own_out = LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.frame_norm, self.frame_query, self.frame_out = LayerNorm(dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.ffn_norm = LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = SequenceDropout(sizes.dropout)

    def split(self, x: Tensor) -> Tensor:
        """`(..., U, D) -> (..., heads, U, D / heads)`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def own(self, x: Tensor, bias: Tensor) -> Tensor:
        """Texts after attention to their own characters, (B, U, D); `bias` (U, U) hides those that follow."""
        q, k, v = (self.split(y) for y in self.own_qkv(self.own_norm(x)).chunk(3, -1))
        return x + self.dropout(self.own_out(_attended(q, k, v, bias)))

    def own_step(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the next character of some texts, (B, K, D), behind the keys and values of those before,
        (B, K, heads, U, D / heads), which come back with one more."""
        q, k, v = (self.split(y.unsqueeze(2)) for y in self.own_qkv(self.own_norm(x)).chunk(3, -1))
        keys, values = torch.cat((keys, k), 3), torch.cat((values, v), 3)
        return x + self.own_out(_attended(q, keys, values, None).squeeze(2)), keys, values

    def over_frames(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Characters (B, U, D) after attention to the frames, (B, heads, T, D / heads), and the feed-forward layer."""
        q = self.split(self.frame_query(self.frame_norm(x)))
        x = x + self.dropout(self.frame_out(_attended(q, keys, values, bias)))
        return x + self.dropout(self.ffn(self.ffn_norm(x)))


class AttentionDecoder(nn.Module):
    """From frames and the characters so far to the next character.

    Args:
        sizes: see `AttentionSizes`.
        features: width of the frames, that of the last layer of an `Encoding`.
        classes: labels, 0 included, which starts and ends a text.
    """

    def __init__(self, sizes: AttentionSizes, features: int, classes: int):
        super().__init__()
        self.sizes = sizes
        self.frames_norm, self.frames_in = LayerNorm(features), nn.Linear(features, sizes.dim)
        self.memory_out = nn.Linear(sizes.dim, 2 * sizes.layers * sizes.dim)
        self.embedding = nn.Embedding(classes, sizes.dim)
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.layers))
        self.norm, self.head = LayerNorm(sizes.dim), nn.Linear(sizes.dim, classes)

    def memory(self, features: Tensor, frames: Tensor) -> Tensor:
        """Keys and values of the frames for all layers, computed once for a line.

        `(B, T, features), (B,) -> (B, T, 2 * layers * dim)`, the same for whatever stands beyond a row's frames.
        """
        valid = column_mask(frames, features.shape[1]).unsqueeze(2)
        x = self.frames_in(self.frames_norm(features.masked_fill(~valid, 0)))
        return self.memory_out(x + sinusoidal_positions(x.shape[1], self.sizes.dim, x.device).to(x.dtype))

    def forward(self, memory: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
        """Logits of the label behind each character of whole texts, as training needs them.

        Args:
            memory: see `memory`.
            frames: (B,), valid frames of each row.
            labels: int64 (B, U), each row beginning with 0.

        Returns:
            (B, U, classes); place u depends on the labels up to u alone.
        """
        length = labels.shape[1]
        x = self.embedding(labels)
        x = x + sinusoidal_positions(length, self.sizes.dim, x.device).to(x.dtype)
        hidden = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        causal, bias = hidden.float() * MASKED, _frame_bias(frames, memory.shape[1])
        for layer, (keys, values) in zip(self.layers, self._frame_keys(memory), strict=True):
            assert isinstance(layer, DecoderLayer)
            x = layer.over_frames(layer.own(x, causal), keys, values, bias)
        return self.head(self.norm(x))

    def step(
        self, memory: Tensor, frames: Tensor, labels: Tensor, parents: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the label behind the last character of several texts of each line.

        Args:
            memory, frames: of the lines, see `forward`.
            labels: int64 (B, K), the last label of each text; 0 where it is empty.
            parents: int64 (B, K), which of the line's texts of the step before each text continues.
            keys, values: what the step before gave, (layers, B, K', heads, U, dim / heads); U is 0 at the start.

        Returns:
            FP32 (B, K, classes), and keys and values with one more character.
        """
        lines, before, length = keys.shape[1], keys.shape[2], keys.shape[4]
        rows = (parents + before * torch.arange(lines, device=parents.device).unsqueeze(1)).flatten()
        keys, values = (y.flatten(1, 2)[:, rows].unflatten(1, labels.shape) for y in (keys, values))
        x = self.embedding(labels)
        x = x + sinusoidal_positions(length + 1, self.sizes.dim, x.device)[-1:].to(x.dtype)
        bias, made = _frame_bias(frames, memory.shape[1]), []
        for number, (layer, (over, of)) in enumerate(zip(self.layers, self._frame_keys(memory), strict=True)):
            assert isinstance(layer, DecoderLayer)
            x, *new = layer.own_step(x, keys[number], values[number])
            x = layer.over_frames(x, over, of, bias)
            made.append(new)
        keys, values = (torch.stack(y) for y in zip(*made, strict=True))
        return self.head(self.norm(x)).float().log_softmax(-1), keys, values

    def start(self, lines: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The keys and values of no characters, for the first step."""
        sizes = self.sizes
        shape = sizes.layers, lines, 1, sizes.heads, 0, sizes.dim // sizes.heads
        return torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def _frame_keys(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, (B, heads, T, dim / heads) each."""
        width = self.sizes.dim // self.sizes.heads
        y = memory.unflatten(2, (self.sizes.layers, 2, self.sizes.heads, width)).permute(2, 3, 0, 4, 1, 5)
        return [(y[layer, 0], y[layer, 1]) for layer in range(self.sizes.layers)]


def _attended(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """`(..., heads, U, d)` queries over (..., heads, T, d) keys and values, to (..., U, heads * d)."""
    scores = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).float()
    weights = torch.softmax(scores if bias is None else scores + bias, -1).to(v.dtype)
    return (weights @ v).transpose(-3, -2).flatten(-2)


def _frame_bias(frames: Tensor, steps: int) -> Tensor:
    """What hides the frames beyond each row's own, FP32 (B, 1, 1, steps)."""
    return (~column_mask(frames, steps)).float()[:, None, None] * MASKED
