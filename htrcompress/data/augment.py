"""Augmentation of a batch: variations of the writing, the ink and the scan.

Crop, slant, size, stretch, drift and a smooth elastic field are one resampling (kornia); stroke weight, resolution,
ink, noise, black and white, and blank stripes follow. Every random number comes from the seed of the step, so a
resumed run repeats them. The pictures in `tests/golden` show each part.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from kornia.geometry.transform import remap
from kornia.morphology import dilation, erosion
from torch import Tensor

from htrcompress.config import AugmentConfig
from htrcompress.data.batching import WIDTH_STEP, Batch
from htrcompress.image import PAPER


def augment(batch: Batch, config: AugmentConfig, frames_needed: Tensor, stride: int, seed: int) -> Batch:
    """Varies every line of a batch.

    Args:
        batch: the lines as read.
        config: strengths.
        frames_needed: int64 (B,), frames that the labels need; no line is made too narrow for them.
        stride: pixels a frame.
        seed: decides every random number.

    Returns:
        a batch whose pixels, and with them widths, differ; uint8 as before.
    """
    draw = _Draw(seed, batch.pixels.shape[0], batch.pixels.device)
    stretch = 1 + config.stretch * draw.signed()
    zoom = _zoom(config.crop, draw)
    widths = (batch.widths * stretch * zoom).round().long()
    # CTC needs its frames; a line that was too narrow before augmentation keeps its width.
    widths = torch.maximum(widths, torch.minimum(frames_needed * stride, batch.widths.long())).clamp(min=1)
    ink = _warp(1 - batch.pixels.float() / PAPER, batch.widths, widths, zoom, config, draw)
    ink = _restroke(ink, config.stroke, draw)
    ink = _coarsen(ink, config.coarse, draw)
    ink = _reink(ink, config, draw)
    ink = _binarise(ink, widths, config.bitonal, draw)
    ink = _stripe(ink, widths, config.stripes, draw)
    ink = ink * (torch.arange(ink.shape[3], device=ink.device) < widths[:, None])[:, None, None]
    pixels = ((1 - ink) * PAPER).round().clamp(0, PAPER).to(torch.uint8)
    return replace(batch, pixels=pixels, widths=widths.int())


class _Draw:
    """Random numbers of one batch; a row's do not depend on where the batch is computed."""

    def __init__(self, seed: int, rows: int, device: torch.device):
        self.generator = torch.Generator().manual_seed(seed)
        self.rows, self.device = rows, device

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1), (B, *shape)."""
        return torch.rand((self.rows, *shape), generator=self.generator).to(self.device)

    def signed(self, *shape: int) -> Tensor:
        """In [-1, 1), (B, *shape)."""
        return 2 * self.uniform(*shape) - 1

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, (B, *shape)."""
        return torch.randn((self.rows, *shape), generator=self.generator).to(self.device)


def _zoom(crop: float, draw: _Draw) -> Tensor:
    """How much larger the writing becomes in each line, (B,): 1 / (1 + crop) to 1 + crop / 4, half of them smaller."""
    if not crop:
        return torch.ones(draw.rows, device=draw.device)
    way = draw.signed()
    return torch.where(way < 0, (1 + crop) ** way, (1 + crop / 4) ** way)


def _warp(ink: Tensor, before: Tensor, after: Tensor, zoom: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    """Resamples ink (B, 1, H, W): output pixel (x, y) comes from a sheared, scaled, waved place."""
    height = ink.shape[2]
    columns = -(-int(after.max()) // WIDTH_STEP) * WIDTH_STEP
    middle = (height - 1) / 2
    x = torch.arange(columns, device=ink.device).float()[None, None]
    y = torch.arange(height, device=ink.device).float()[None, :, None] - middle
    scale = (before / after)[:, None, None]
    size = (1 + config.size * draw.signed(1, 1)) * zoom[:, None, None]
    # A slope over the whole line must not carry it out of the picture.
    slope = config.drift * draw.signed(1, 1) * (4 * height / after[:, None, None]).clamp(max=1)
    source_x = x * scale + y * config.slant * draw.signed(1, 1)
    source_y = y / size + middle + height * config.shift * draw.signed(1, 1) + slope * (x - after[:, None, None] / 2)
    if config.elastic:
        knots = max(2, columns // height)
        field = F.interpolate(draw.normal(2, 3, knots), (height, columns), mode="bilinear", align_corners=True)
        field = field * (config.elastic * height)
        source_x, source_y = source_x + field[:, 0], source_y + field[:, 1]
    last = (before.float() - 1)[:, None, None]
    source_x = torch.minimum(source_x.clamp(min=0), last)  # at most the line's own edge, not the padding behind it
    if not config.crop:
        return remap(ink, source_x, source_y, padding_mode="border", align_corners=True)
    source_y = source_y + middle * (1 / zoom - 1).abs()[:, None, None] * draw.signed(1, 1)
    return _remap_beyond(ink, before, source_x, source_y, draw)


def _remap_beyond(ink: Tensor, widths: Tensor, source_x: Tensor, source_y: Tensor, draw: _Draw) -> Tensor:
    """Resamples ink; what is above or below it becomes paper, or mirrored strokes, as neighbouring lines leave them."""
    bottom = ink.shape[2] - 1
    outside = ((source_y < 0) | (source_y > bottom)) & (draw.uniform(1, 1) < 0.5)
    mirrored = bottom - (bottom - source_y.abs()).abs()
    ink_there = remap(ink, source_x, mirrored, padding_mode="border", align_corners=True)
    return torch.where(outside[:, None], _paper(ink, widths), ink_there)


def _paper(ink: Tensor, widths: Tensor) -> Tensor:
    """The median of each line's ink, (B, 1, 1, 1): that of its paper."""
    padding = (torch.arange(ink.shape[3], device=ink.device) >= widths[:, None])[:, None, None]
    return ink.masked_fill(padding, torch.nan).flatten(1).nanmedian(1).values[:, None, None, None]


def _restroke(ink: Tensor, share: float, draw: _Draw) -> Tensor:
    """Thickens or thins the strokes of some lines by a pixel."""
    chance = draw.uniform()
    kernel = torch.ones(2, 2, device=ink.device)
    for rows, change in ((chance < share / 2, dilation), (chance > 1 - share / 2, erosion)):
        if rows.any():
            ink = ink.index_put((rows.nonzero()[:, 0],), change(ink[rows], kernel))
    return ink


def _coarsen(ink: Tensor, share: float, draw: _Draw) -> Tensor:
    """Takes half the resolution from some lines."""
    if not share:
        return ink
    rows = draw.uniform() < share
    if rows.any():
        half = F.interpolate(ink[rows], scale_factor=0.5, mode="bilinear", antialias=True)
        whole = F.interpolate(half, ink.shape[2:], mode="bilinear")
        ink = ink.index_put((rows.nonzero()[:, 0],), whole)
    return ink


def _binarise(ink: Tensor, widths: Tensor, share: float, draw: _Draw) -> Tensor:
    """Makes some lines black and white, with edges as soft as those of a larger picture that was scaled down."""
    if not share:
        return ink
    rows, level = draw.uniform(1, 1, 1) < share, 0.2 + 0.35 * draw.uniform(1, 1, 1)
    paper = _paper(ink, widths)
    darkest = ink.flatten(2).amax(2)[:, :, None, None]
    depth = (darkest - paper).clamp(min=0.05)
    return torch.where(rows, ((ink - paper - level * depth) / (0.2 * depth) + 0.5).clamp(0, 1), ink)


def _reink(ink: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    """Changes contrast, gamma and brightness, and adds noise."""
    gamma = torch.exp(config.ink * draw.signed(1, 1, 1))
    contrast = 1 - config.ink * draw.uniform(1, 1, 1)
    ink = ink.clamp(0, 1) ** gamma * contrast
    grain = draw.normal(1, ink.shape[2], ink.shape[3]) * (config.noise * draw.uniform(1, 1, 1))
    return (ink + grain).clamp(0, 1)


def _stripe(ink: Tensor, widths: Tensor, max_stripes: int, draw: _Draw) -> Tensor:
    """Blanks up to `max_stripes` stripes of a line, each at most a quarter as wide as the line is high."""
    columns = torch.arange(ink.shape[3], device=ink.device)[None, None]
    start = draw.uniform(max_stripes, 1) * widths[:, None, None]
    length = draw.uniform(max_stripes, 1) * draw.uniform(max_stripes, 1).round() * ink.shape[2] / 4
    blank = ((columns >= start) & (columns < start + length)).any(1)[:, None, None]
    return torch.where(blank, _paper(ink, widths), ink)
