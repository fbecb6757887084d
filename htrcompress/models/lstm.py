"""LSTM layers that read a line the same in any batch and export as one ONNX node each.

Each direction is its own module. The forward one reads padding only after a row's last frame; the backward one reads
rows that `reverse_sequences` has reversed, so that it starts at each row's own last frame.
"""

from typing import Any

import torch
from torch import Tensor, nn

from htrcompress.models.base import Fusable


class _Layer(nn.LSTM):
    """One layer in one direction, its state explicitly zero at the start. `(B, T, D) -> (B, T, hidden)`."""

    def __init__(self, dim: int, hidden: int):
        super().__init__(dim, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        state = x.new_zeros(1, x.shape[0], self.hidden_size)
        return super().forward(x, (state, state))[0]


class Recurrence(_Layer, Fusable):
    """One layer of LSTM in one direction (Hochreiter & Schmidhuber 1997). `(B, T, D) -> (B, T, hidden)`."""

    def fused(self) -> "FusedRecurrence":
        """The same layer for inference and export."""
        return FusedRecurrence(self)


class FusedRecurrence(_Layer):
    """A recurrence that also holds its weights in the layout of ONNX's `LSTM`, so that it exports as that one node.

    PyTorch's exporter would fix the number of frames. The node has an initial state and no `sequence_lens`: otherwise
    TensorRT's parser mixes FP32 into an FP16 graph and refuses it (1.7.1).
    """

    def __init__(self, layer: Recurrence):
        super().__init__(layer.input_size, layer.hidden_size)
        self.load_state_dict(layer.state_dict())
        w, r, *biases = (_onnx_gates(parameter.detach()) for parameter in layer.parameters())
        for name, value in (("onnx_w", w), ("onnx_r", r), ("onnx_b", torch.cat(biases))):
            self.register_buffer(name, value.unsqueeze(0))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if not torch.compiler.is_exporting():
            return super().forward(x)
        (batch, frames, _), size = x.shape, self.hidden_size
        state = x.new_zeros(1, batch, size)
        inputs: Any = (x.transpose(0, 1), self.onnx_w, self.onnx_r, self.onnx_b, None, state, state)
        attributes: Any = {"hidden_size": size}
        shape = (frames, 1, batch, size)
        y = torch.onnx.ops.symbolic("LSTM", inputs, attributes, dtype=x.dtype, shape=shape, version=14)
        return y.squeeze(1).transpose(0, 1)


class BidirectionalLayer(nn.Module):
    """Both directions side by side (Graves & Schmidhuber 2005). `(B, T, D), frames (B,) -> (B, T, 2 hidden)`."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.onward, self.backward = Recurrence(dim, hidden), Recurrence(dim, hidden)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        return torch.cat((self.onward(x), reverse_sequences(self.backward(reverse_sequences(x, frames)), frames)), 2)


def reverse_sequences(x: Tensor, frames: Tensor) -> Tensor:
    """Each row's frames in reverse order, with its padding in place, (B, T, D); its own inverse."""
    at = torch.arange(x.shape[1], device=x.device)
    last = frames.unsqueeze(1) - 1
    return x.gather(1, torch.where(at <= last, last - at, at)[:, :, None].expand(-1, -1, x.shape[2]))


def _onnx_gates(weight: Tensor) -> Tensor:
    """Rows of a weight or bias from PyTorch's order of gates (input, forget, cell, output) to ONNX's (i, o, f, c)."""
    i, f, c, o = weight.chunk(4)
    return torch.cat((i, o, f, c))
