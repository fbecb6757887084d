"""The convolutional recogniser: gated convolutions, squeeze-and-excitation, self-attention, CTC logits.

A stem and three stages turn the picture into frames: the height is divided by 16, the width by 4. A small transformer
over the frames follows. There is no recurrence, so the network exports to and runs fast on every runtime. The teacher
and its students are sizes of this one class (`presets.py`).
"""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn

from htrcompress.models.base import STRIDE, Encoding, LineRecognizer
from htrcompress.models.channels import ChannelGroup, head_indices, inputs, outputs, row_indices
from htrcompress.models.layers import (
    MASKED,
    TALLEST,
    GatedBlock,
    LayerNorm,
    Reduction,
    SequenceBlock,
    SqueezeExcite,
    Stem,
    column_mask,
    sinusoidal_positions,
    standardize_ink,
)

DEEPEST = 256
"""Largest number of blocks of any kind, so that a hostile file cannot ask for endless ones."""


@dataclass(frozen=True)
class GatedConfig:
    """Sizes of a `GatedRecognizer`."""

    height: int
    """Height of a line image in pixels, a multiple of 16."""
    channels: tuple[int, int, int, int]
    """Channels after the stem and after each of the three stages."""
    blocks: tuple[int, int, int]
    """Residual gated blocks in each stage."""
    dim: int
    """Width of the sequence part."""
    layers: int
    """Attention blocks."""
    heads: int
    """Attention heads; must divide `dim`."""
    expansion: int = 3
    """Width of the feed-forward layer over `dim`."""
    kernel: int = 9
    """Width in frames of the depth-wise convolution."""
    dropout: float = 0.1
    """Dropout in the sequence part."""
    inner: tuple[int, ...] = ()
    """Width of the attention in each block, a multiple of `heads`; `dim` if not given."""
    hidden: tuple[int, ...] = ()
    """Width of the feed-forward layer in each block; `expansion` times `dim` if not given."""
    standardized: bool = True
    """Whether convolutions standardise their weights in training; those of a pruned network are plain."""

    def __post_init__(self) -> None:
        if self.height % 16 or not 16 <= self.height <= TALLEST:
            raise ValueError(f"height must be a multiple of 16 from 16 to {TALLEST}, not {self.height}")
        if self.layers + sum(self.blocks) > DEEPEST:
            raise ValueError(f"{self.layers} layers and {self.blocks} blocks are more than {DEEPEST}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}")
        if self.dim % self.heads or self.dim % 2:
            raise ValueError(f"dim {self.dim} must be even and a multiple of heads {self.heads}")
        if len(self.inner) not in (0, self.layers) or len(self.hidden) not in (0, self.layers):
            raise ValueError(f"inner and hidden need a width for each of {self.layers} layers")
        if any(width % self.heads or not width for width in self.inner) or 0 in self.hidden:
            raise ValueError(f"inner widths {self.inner} must be multiples of heads {self.heads}, and none is zero")

    @property
    def inners(self) -> tuple[int, ...]:
        """Width of the attention in each block."""
        return self.inner or (self.dim,) * self.layers

    @property
    def hiddens(self) -> tuple[int, ...]:
        """Width of the feed-forward layer in each block."""
        return self.hidden or (self.expansion * self.dim,) * self.layers


class GatedRecognizer(LineRecognizer):
    """Gated convolutions to frames, then attention blocks over the frames; all layers are `dim` wide."""

    config: GatedConfig

    def __init__(self, config: GatedConfig, classes: int):
        super().__init__()
        self.config = config
        c0, c1, c2, c3 = config.channels
        standard = config.standardized
        self.stem = Stem(c0, standard)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                [Reduction(before, after, stride, standard), *(GatedBlock(after, standard) for _ in range(blocks))]
            )
            for before, after, stride, blocks in zip(
                (c0, c1, c2), (c1, c2, c3), ((2, 2), (2, 1), (2, 1)), config.blocks, strict=True
            )
        )
        self.flatten = nn.Linear(c3 * config.height // 16, config.dim)
        self.flatten_norm = LayerNorm(config.dim)
        self.sequence = nn.ModuleList(
            SequenceBlock(config.dim, config.heads, inner, hidden, config.kernel, config.dropout)
            for inner, hidden in zip(config.inners, config.hiddens, strict=True)
        )
        self.norm = LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, classes)

    @property
    def layer_dims(self) -> tuple[int, ...]:
        return (self.config.dim,) * (1 + self.config.layers)

    def classify(self, features: Tensor) -> Tensor:
        return self.head(self.norm(features)).float()

    def output_layers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        return {"head": self.head}

    def float_layers(self) -> tuple[str, ...]:
        """The stem, whose one input channel makes integer kernels slow, and squeeze-and-excitation.

        A gate of squeeze-and-excitation scales a whole channel, so its rounding error would be amplified.
        """
        return tuple(name for name, module in self.named_modules() if isinstance(module, Stem | SqueezeExcite))

    def channel_groups(self) -> dict[str, ChannelGroup]:
        """Groups of units for pruning, by name: `stem`, `stage0`, ..., and `qk0`, `v0`, `hidden0`, ... for each block.

        A stage's blocks share their channels through the residual sum. Queries and keys are one group, for their
        products need both.
        """
        groups = {}
        reductions = [cast(Reduction, cast(nn.ModuleList, stage)[0]) for stage in self.stages]
        made: list[nn.Module] = [self.stem.conv]
        for place, name in enumerate(("stem", "stage0", "stage1", "stage2")):
            read: list[nn.Module] = [reductions[place].value, reductions[place].gate] if place < 3 else []
            if place:
                made = [reductions[place - 1].value, reductions[place - 1].gate]
                for block in (m for m in self.stages[place - 1].modules() if isinstance(m, GatedBlock)):
                    made += [block.conv.value, block.conv.gate, block.excite.up]
                    read += [block.conv.value, block.conv.gate, block.excite.down]
            cuts = outputs(*made) + inputs(*read)
            if place == 3:
                cuts += inputs(self.flatten, expand=row_indices(self.config.height // 16))
            groups[name] = ChannelGroup(self.config.channels[place], 4, tuple(cuts))
        heads = self.config.heads
        for layer, (inner, hidden) in enumerate(zip(self.config.inners, self.config.hiddens, strict=True)):
            sequence, width = cast(SequenceBlock, self.sequence[layer]), inner // heads
            qk = outputs(sequence.attention.qkv, expand=head_indices((0, 1), heads, width))
            v = outputs(sequence.attention.qkv, expand=head_indices((2,), heads, width))
            v += inputs(sequence.attention.out, expand=head_indices((0,), heads, width))
            groups[f"qk{layer}"] = ChannelGroup(width, 4, tuple(qk))
            groups[f"v{layer}"] = ChannelGroup(width, 4, tuple(v))
            ffn = outputs(sequence.ffn[0]) + inputs(sequence.ffn[2])
            groups[f"hidden{layer}"] = ChannelGroup(hidden, 16, tuple(ffn))
        return groups

    def with_units(self, counts: dict[str, int]) -> GatedConfig:
        """The config with other numbers of units in the groups; values are as wide as queries and keys."""
        layers = range(self.config.layers)
        return replace(
            self.config,
            channels=(counts["stem"], counts["stage0"], counts["stage1"], counts["stage2"]),
            inner=tuple(counts[f"qk{layer}"] * self.config.heads for layer in layers),
            hidden=tuple(counts[f"hidden{layer}"] for layer in layers),
            standardized=False,
        )

    def encode(self, pixels: Tensor, widths: Tensor) -> Encoding:
        ink, widths = standardize_ink(pixels, widths, STRIDE)
        x = ink.to(self.head.weight.dtype)
        halves = (widths + 1) // 2
        frames = (halves + 1) // 2
        mask = column_mask(halves, x.shape[3] // 2)[:, None, None].to(x.dtype)
        x = self.stem(x, mask)
        mask = column_mask(frames, x.shape[3] // 2)[:, None, None].to(x.dtype)
        for stage in self.stages:
            for layer in cast(nn.ModuleList, stage):
                x = layer(x, mask)
        x = self.flatten_norm(self.flatten(x.flatten(1, 2).transpose(1, 2)))
        x = x + sinusoidal_positions(x.shape[1], self.config.dim, x.device).to(x.dtype)
        mask = mask[:, 0, 0, :, None]
        bias = (1 - mask.float()).mT[:, None] * MASKED
        layers = [x]
        for block in self.sequence:
            layers.append(block(layers[-1], mask, bias))
        return Encoding(layers, frames)
