"""What networks in PyTorch have in common here: batches of like widths, one forward pass each, CTC's best path."""

from collections.abc import Sequence
from typing import Any

import torch
from protocol import Reader, batches, greedy


class TorchLines(Reader):
    """A network over prepared lines.

    Attributes:
        network: gives logits (B, classes, T) for pixels (B, 1, H, W) and widths (B,).
        characters: of the labels from 1 on; None for random weights, whose labels stand for themselves.
        padding: grey value beyond a line's own width.
    """

    network: Any
    characters: Sequence[str] | None = None
    padding = 0.0

    def prepared(self, picture: Any) -> torch.Tensor:
        """One picture as the network takes it, (1, H, W)."""
        raise NotImplementedError

    def read(self, pictures: Sequence[Any], batch: int) -> list[str]:
        lines = [self.prepared(picture) for picture in pictures]
        texts = [""] * len(lines)
        for places in batches([line.shape[2] for line in lines], batch):
            for place, text in zip(places, self._batch([lines[place] for place in places]), strict=True):
                texts[place] = text
        return texts

    @torch.inference_mode()
    def _batch(self, lines: list[torch.Tensor]) -> list[str]:
        widths = torch.tensor([line.shape[2] for line in lines])
        pixels = torch.full((len(lines), 1, lines[0].shape[1], int(widths.max())), self.padding)
        for row, line in zip(pixels, lines, strict=True):
            row[:, :, : line.shape[2]] = line
        logits = self.network(pixels, widths)
        best = logits.argmax(1)
        frames = torch.ceil(widths * best.shape[1] / pixels.shape[3]).int().tolist()
        return [self._text(greedy(row[:count])) for row, count in zip(best.tolist(), frames, strict=True)]

    def _text(self, labels: list[int]) -> str:
        known = self.characters
        return "".join(chr(0xE000 + label) if known is None else known[label - 1] for label in labels)


def size(network: torch.nn.Module) -> dict[str, int]:
    """Parameters, and their bytes in FP32."""
    count = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": count, "bytes": 4 * count}
