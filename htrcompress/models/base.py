"""`LineRecognizer`: the interface of every network, and all that losses, compression passes and exporters ask of one.

A new network is one file with a config dataclass and a subclass, and one row in `registry.FAMILIES`. Code outside
never reaches into a network by attribute names: what a loss, a pass or an exporter needs is a method below.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

STRIDE = 4
"""Pixels for each frame, the same for all networks: the frames of a student are then those of its teacher."""


@dataclass(frozen=True)
class Encoding:
    """What `LineRecognizer.encode` gives for a batch.

    Attributes:
        layers: the input of the sequence part and the output of each of its layers, (B, T, layer_dims[i]) each. Values
            beyond a row's frames are undefined.
        frames: int64 (B,), valid frames of each row.
    """

    layers: list[Tensor]
    frames: Tensor


class LineRecognizer(nn.Module, ABC):
    """`pixels uint8 (B, 1, H, W), widths int (B,) -> logits FP32 (B, T, classes), frames int64 (B,)`.

    T = ceil(W / stride), a row's frames = max(1, ceil(width / stride)), and logits beyond them are undefined. The input
    of every layer that mixes columns must be zero beyond a row's own width, so that a line reads the same in any batch.

    Attributes:
        config: the frozen dataclass of sizes that the network was built from; `config.height` is the line height.
        stride: pixels for each frame.
        has_shortcut: whether `shortcut_logits` gives logits.
    """

    config: Any
    stride: ClassVar[int] = STRIDE
    has_shortcut: ClassVar[bool] = False

    @property
    @abstractmethod
    def layer_dims(self) -> tuple[int, ...]:
        """Width of every layer that `encode` gives."""

    @property
    def classes(self) -> int:
        """Number of outputs, the blank included."""
        return next(layer.weight.shape[0] for layer in self.output_layers().values())

    @abstractmethod
    def encode(self, pixels: Tensor, widths: Tensor) -> Encoding:
        """Features of a batch, uint8 (B, 1, H, W) and int (B,)."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Logits FP32 (B, T, classes) of the last layer of an `Encoding`."""

    def forward(self, pixels: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        encoding = self.encode(pixels, widths)
        return self.classify(encoding.layers[-1]), encoding.frames

    def shortcut_logits(self, encoding: Encoding) -> Tensor | None:
        """Logits FP32 (B, T, classes) of a head that only training uses; None if the network has no such head."""
        return None

    @abstractmethod
    def output_layers(self) -> Mapping[str, nn.Linear | nn.Conv1d]:
        """Layers with one output row for each class, by module name: what a change of charset replaces."""

    def float_layers(self) -> Sequence[str]:
        """Names of modules that INT8 leaves in floating point, with everything inside them."""
        return ()

    def part_sizes(self) -> dict[str, int]:
        """Number of trained parameters in each part of the network, by the part's name."""
        sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in self.named_children()}
        return {name: size for name, size in sizes.items() if size}


class Fusable(ABC):
    """A layer that has a cheaper form for inference, which computes the same."""

    @abstractmethod
    def fused(self) -> nn.Module:
        """The layer for inference; this one stays as it is."""


def fuse(model: nn.Module) -> nn.Module:
    """Replaces every `Fusable` layer inside a module by its form for inference, in place, and returns the module."""
    for name, child in model.named_children():
        if isinstance(child, Fusable):
            weight = next(child.parameters())
            setattr(model, name, child.fused().to(weight.device, weight.dtype))
        else:
            fuse(child)
    return model
