"""`LineRecognizer`: what every network here is, and all that losses, compression passes and exporters may ask of one.

A new network is one file with a config dataclass and a subclass, and one row in `models.FAMILIES`. Nothing outside
reaches into a network by attribute names: what a loss, a pass or an exporter needs is a method below.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Encoding:
    """What `LineRecognizer.encode` gives for a batch.

    Attributes:
        layers: what enters the sequence part and what each of its layers gives, (B, T, layer_dims[i]) each. Values
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
    """

    config: Any
    stride: ClassVar[int] = 4
    half_precision: ClassVar[bool] = True
    """Whether an FP16 export is offered."""

    @property
    @abstractmethod
    def layer_dims(self) -> tuple[int, ...]:
        """Width of every layer that `encode` gives."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of outputs, the blank included."""

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
