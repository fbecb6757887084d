"""The connector: from a recogniser's frames to a few tokens that a language model takes as a prefix."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.models.layers import LayerNorm, column_mask, sinusoidal_positions

WIDTH, HEADS = 256, 8


class Connector(nn.Module):
    """Q-Former: learned queries attend to the frames of a line (Li et al. 2023, arXiv 2301.12597), without its text.

    `(B, T, dim), frames (B,) -> FP32 (B, queries, out)`. Values beyond a row's frames have no effect.

    Args:
        dim: width of the frames.
        queries: tokens to make.
        out: width of the language model.
        scale: root mean square of the language model's embeddings; the tokens have it at the start.
    """

    scale: Tensor

    def __init__(self, dim: int, queries: int, out: int, scale: float):
        super().__init__()
        self.proj_in = nn.Sequential(LayerNorm(dim), nn.Linear(dim, WIDTH))
        self.queries = nn.Parameter(torch.randn(queries, WIDTH))
        self.query_norm, self.query = LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.frame_norm, self.keys_values = LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.ffn = nn.Sequential(LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.proj_out = nn.Sequential(
            LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, out)
        )
        self.gain = nn.Parameter(torch.ones(out))
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        batch, length, _ = x.shape
        inputs = self.proj_in(x) + sinusoidal_positions(length, WIDTH, x.device).to(x.dtype)
        keys, values = self.keys_values(self.frame_norm(inputs)).chunk(2, 2)
        query = self.query(self.query_norm(self.queries)).expand(batch, -1, -1)
        q, k, v = (t.unflatten(2, (HEADS, -1)).transpose(1, 2) for t in (query, keys, values))
        found = F.scaled_dot_product_attention(
            q, k.to(q.dtype), v.to(q.dtype), column_mask(frames, length)[:, None, None]
        )
        tokens = self.queries + self.out(found.transpose(1, 2).flatten(2))
        tokens = self.proj_out(tokens + self.ffn(tokens)).float()
        return F.rms_norm(tokens, tokens.shape[2:], eps=1e-6) * (self.gain * self.scale)
