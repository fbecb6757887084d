"""PyLaia's and Retsinas' networks in their published sizes, with random weights: their speed in PyTorch, no text.

PyLaia's default (4 convolutions of 16, 16, 32 and 32 channels with pooling after three, 3 bidirectional LSTMs of 256)
at height 128; and that of Retsinas et al., "Best practices for a handwritten text recognition system" (DAS 2022): a
convolution of 7x7, residual blocks 2x64, 3x128 and 2x256, a maximum over the columns, 3 bidirectional LSTMs of 256,
lines padded to 128x1024. Written from these sizes.
"""

import itertools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from PIL import Image
from protocol import serve
from torch import nn
from torch_lines import TorchLines, size

HEIGHT = 128
CLASSES = 80
FIXED_WIDTH = 1024


class Recurrent(nn.Module):
    """Bidirectional LSTMs over columns (B, features, T), then logits (B, classes, T)."""

    def __init__(self, features: int, layers: int = 3, units: int = 256) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, units, layers, bidirectional=True)
        self.output = nn.Linear(2 * units, CLASSES)

    def forward(self, columns: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(columns.permute(2, 0, 1))
        return self.output(hidden).permute(1, 2, 0)


class PyLaia(nn.Module):
    """The default network of `pylaia-htr-create-model`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (1, 16, 16, 32, 32)
        for number, (before, after) in enumerate(itertools.pairwise(sizes)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU()]
            layers += [nn.MaxPool2d(2)] if number < 3 else []
        self.convolutions = nn.Sequential(*layers)
        self.top = Recurrent(sizes[-1] * HEIGHT // 8)

    def forward(self, pixels: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
        return self.top(self.convolutions(pixels).flatten(1, 2))


class Block(nn.Module):
    """Two convolutions with batch normalisation, and a way around them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        around = (nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        self.around = nn.Identity() if before == after else nn.Sequential(*around)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x) + self.around(x))


class Retsinas(nn.Module):
    """Residual blocks, a maximum over the columns, LSTMs; its second output helps training alone and is left out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 32, 7, (4, 2), 3), nn.ReLU()]
        channels = 32
        for number, (count, after) in enumerate(((2, 64), (3, 128), (2, 256))):
            layers += [nn.MaxPool2d(2)] if number else []
            for _ in range(count):
                layers.append(Block(channels, after))
                channels = after
        self.convolutions = nn.Sequential(*layers)
        self.top = Recurrent(channels)

    def forward(self, pixels: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
        return self.top(self.convolutions(pixels).amax(2))


class Published(TorchLines):
    """One of the two networks."""

    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.fixed = options["network"] == "retsinas"
        self.network = (Retsinas() if self.fixed else PyLaia()).eval()
        self.about = {"version": f"torch {version('torch')}", "arithmetic": "PyTorch, FP32", **size(self.network)}

    def decoded(self, files: Sequence[str]) -> list[Any]:
        return [Image.open(file).convert("L") for file in files]

    def prepared(self, picture: Any) -> torch.Tensor:
        width = max(8, round(picture.width * HEIGHT / picture.height))
        if self.fixed:
            width = min(width, FIXED_WIDTH)
        grey = np.asarray(picture.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)
        line = torch.from_numpy(1 - grey / 255)[None]
        return nn.functional.pad(line, (0, FIXED_WIDTH - width)) if self.fixed else line


if __name__ == "__main__":
    serve(Published)
