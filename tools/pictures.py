"""Draws the pictures of the pages: `python tools/pictures.py` writes `docs/chain.svg` and `docs/network.svg`.

`chain.svg` is the way from lines to a recogniser that runs, with the command of each step and what proves it;
`network.svg` is the network of a preset, with its sizes. Letters are text, and colours follow the reader's system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.models.gated import GatedConfig
from htrcompress.models.presets import PRESETS
from htrcompress.utils.io import write_atomic

DOCS = Path(__file__).parent.parent / "docs"
STYLE = """
:root { --ink: #1b1b1f; --faint: #60606a; --rule: #8a8a94; --box: #eef4fa; --warm: #fdf0e6; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --faint: #a8a8b2; --rule: #7c7c88; --box: #1d2b39; --warm: #3a2a1c; --paper: #16161a; }
}
.paper { fill: var(--paper); } rect.box { fill: var(--box); stroke: var(--rule); } rect.warm { fill: var(--warm); }
.frame { fill: none; stroke: var(--rule); stroke-dasharray: 4 3; }
.arrow { stroke: var(--rule); stroke-width: 1.4; fill: none; } .head { fill: var(--rule); }
text { font: 13px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; }
.name { font-weight: 600; font-size: 15px; } .code { font-family: ui-monospace, monospace; font-size: 12px; }
.small, .faint { font-size: 12px; } .faint { fill: var(--faint); } .left { text-anchor: start; }
"""


@dataclass(frozen=True)
class PictureOptions:
    """Draws the pictures of the pages."""

    preset: str = "student-s"
    """The network whose sizes are shown: one without recurrence."""
    out: Path = DOCS
    """The folder for `chain.svg` and `network.svg`."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that were written."""

    paths: tuple[Path, ...]

    def __rich__(self) -> str:
        return "\n".join(f"written: {path}" for path in self.paths)


def draw(options: PictureOptions) -> Pictures:
    """Writes both pictures.

    Raises:
        HtrError: no such preset of the gated network, or the folder cannot be written.
    """
    config = PRESETS.get(options.preset)
    if not isinstance(config, GatedConfig):
        known = ", ".join(name for name, sizes in PRESETS.items() if isinstance(sizes, GatedConfig))
        raise HtrError(f"--preset {options.preset} is no gated network: choose {known}")
    drawings = {"chain.svg": chain(), "network.svg": network(options.preset, config)}
    for name, drawing in drawings.items():
        write_atomic(options.out / name, drawing.encode())
    return Pictures(tuple(options.out / name for name in drawings))


def chain() -> str:
    """From lines to text: the steps, their commands, and what each is checked by."""
    steps = (
        ("Lines", ("PAGE, ALTO, IAM,", "parquet, tables"), "data", ("✓ a report and", "a page of lines")),
        ("Teacher", ("a large network,", "trained on the lines"), "train", ("✓ lines kept apart", "for validation")),
        (
            "Student",
            ("a small one, learns", "from the teacher too"),
            "distill",
            ("✓ a control that was", "trained alone"),
        ),
        ("Files", ("ONNX in FP32, FP16,", "INT8; engines"), "export", ("✓ verify: every form", "reads like its model")),
        (
            "Text",
            ("Python, C++, browser,", "Triton, TensorRT"),
            "transcribe",
            ("✓ benchmarks: errors", "and lines a second"),
        ),
    )
    wide, gap, top = 146, 20, 8
    parts = []
    for place, (name, about, command, proof) in enumerate(steps):
        left = 10 + place * (wide + gap)
        middle = left + wide / 2
        parts += [f'<rect class="box" x="{left}" y="{top}" width="{wide}" height="96" rx="8"/>']
        parts += [_text(middle, top + 24, name, "name")]
        parts += [_text(middle, top + 46 + 16 * row, words, "small") for row, words in enumerate(about)]
        parts += [_text(middle, top + 85, command, "code")]
        parts += [_text(middle, top + 120 + 16 * row, words, "faint") for row, words in enumerate(proof)]
        if place:
            parts.append(_arrow(left - gap + 1, top + 48, left - 2))
    said = "; ".join(
        f"{name}: {' '.join(about)}; checked by {' '.join(proof).removeprefix('✓ ')}" for name, about, _, proof in steps
    )
    return _svg(830, 150, f"The chain in five steps. {said}", parts)


def network(name: str, config: GatedConfig) -> str:
    """The layers of a gated network from pixels to labels, as they are in the exported graph."""
    height, (c0, c1, c2, c3) = config.height, config.channels
    first = (
        ("grey levels", ("ink, standardised", "over the line"), f"1 × {height} × W", True),
        ("stem", ("convolution,", "SiLU"), f"{c0} × {height // 2} × W/2", False),
        *(
            (f"stage {stage}", ("gated convolutions,", _blocks(blocks)), f"{wide} × {rows} × W/4", False)
            for stage, blocks, wide, rows in zip(
                (1, 2, 3), config.blocks, (c1, c2, c3), (height // 4, height // 8, height // 16), strict=True
            )
        ),
    )
    second = (
        ("frames", ("columns to vectors,", "and positions"), f"{config.dim} × T", False),
        (
            f"{config.layers} blocks",
            (f"attention ({_heads(config.heads)}),", f"conv {config.kernel}, feed-forward"),
            "",
            False,
        ),
        ("head", ("norm, then linear:", "logits"), "T × classes", False),
        ("decode", ("best label a frame,", "repeats merged"), "labels, score", True),
    )
    parts = ['<rect class="frame" x="112" y="34" width="736" height="242" rx="10"/>']
    parts += [_text(480, 26, "the exported graph: every layer sees the line's own columns alone", "faint")]
    parts += [_text(52, 88, "pixels", "name"), _text(52, 106, f"uint8, {height} × W", "faint")]
    parts += [_text(52, 134, "widths", "name"), _text(52, 152, "int32", "faint")]
    parts += _row(first, 124, 44) + _row(second, 198, 164)
    parts += [_arrow(98, 96, 122), _text(912, 206, "labels", "name"), _text(912, 226, "lengths, scores,", "faint")]
    parts += [_text(912, 242, "logits", "faint"), _arrow(198 + 4 * 144 - 14, 216, 858)]
    parts += [f'<path class="arrow" d="M762 148 V155 H160 V216 H188"/>{_head(196, 216)}']
    parts += [
        '<rect class="box warm" x="124" y="290" width="16" height="12" rx="2"/>',
        _text(
            148,
            301,
            "computed in FP32 in every form; so are softmax, norms, masked means and positions inside the others",
            "faint left",
        ),
        _text(
            124,
            322,
            f"Sizes of {name}: channels × height × width for a line of W pixels; T = W/4 frames.",
            "faint left",
        ),
    ]
    said = "; ".join(f"{title}: {' '.join(about)} {size}" for title, about, size, _ in (*first, *second))
    return _svg(964, 334, f"The network {name}, from pixels to labels. {said}", parts)


def _blocks(count: int) -> str:
    return {0: "no further block", 1: "1 residual block"}.get(count, f"{count} residual blocks")


def _heads(count: int) -> str:
    return "1 head" if count == 1 else f"{count} heads"


def _row(boxes: Sequence[tuple[str, tuple[str, str], str, bool]], left: int, top: int) -> list[str]:
    """Boxes from left to right with arrows between; those in FP32 have a colour of their own."""
    parts = []
    for place, (name, about, size, is_float) in enumerate(boxes):
        x, middle = left + place * 144, left + place * 144 + 65
        kind = "box warm" if is_float else "box"
        parts += [f'<rect class="{kind}" x="{x}" y="{top}" width="130" height="104" rx="8"/>']
        parts += [_text(middle, top + 24, name, "name")]
        parts += [_text(middle, top + 48 + 16 * row, words, "faint") for row, words in enumerate(about)]
        parts += [_text(middle, top + 92, size, "code")] if size else []
        parts += [_arrow(x - 13, top + 52, x - 2)] if place else []
    return parts


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(words)}</text>'


def _arrow(start: float, y: float, end: float) -> str:
    return f'<path class="arrow" d="M{start:g} {y:g} H{end - 7:g}"/>{_head(end, y)}'


def _head(x: float, y: float) -> str:
    return f'<path class="head" d="M{x:g} {y:g} l-8 -4 v8 z"/>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
    head += f' aria-label="{escape(label)}">'
    paper = f'<rect class="paper" width="{width}" height="{height}"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", paper, *parts, "</svg>", ""])


if __name__ == "__main__":
    run_command(draw)
