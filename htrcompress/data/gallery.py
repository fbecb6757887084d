"""A page of a dataset's lines beside their texts, to look through: one file that opens without a network.

Random lines of every split, the widest and the narrowest, and those whose text fits their image least: there most
mistakes of a corpus are seen in a minute.
"""

import base64
import html
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from htrcompress.bidi import Direction
from htrcompress.data.lines import Dataset, JoinedLines, Line
from htrcompress.data.report import oddness, rank
from htrcompress.data.sizes import Sizes
from htrcompress.errors import HtrError
from htrcompress.image import scale

HEIGHT = 64
"""Of the images, in pixels; taller ones are scaled down."""
WIDEST = 3000
"""In pixels: wider images are scaled down, and no line takes more space than a few others."""
LONGEST = 1000
"""Characters of a text that are shown."""
LARGEST = 24 << 20
"""Bytes of the page: images that come after are left out, and it says so."""
QUALITY = 70

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --ink: #1c1b19; --paper: #fbfaf7; --faint: #6b675f; --rule: #ddd8cc; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8e4da; --paper: #191817; --faint: #9c968a; --rule: #38352f; }} }}
body {{ margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; }}
h1 {{ font-size: 1.4rem; margin: .3rem 0; }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .4rem; }}
p, nav {{ color: var(--faint); margin: .2rem 0 .8rem; max-width: 46rem; }} a {{ color: inherit; margin-right: 1em; }}
figure {{ margin: 0; padding: .7rem 0; border-top: 1px solid var(--rule); }}
.image {{ overflow-x: auto; }} img {{ display: block; max-width: none; background: #fff; }}
.text {{ font-size: 1.15rem; margin: .35rem 0 .1rem; white-space: pre-wrap; overflow-wrap: anywhere; }}
.about {{ color: var(--faint); font-size: .8rem; overflow-wrap: anywhere; }}
@media (min-width: 48rem) {{ img {{ max-width: 100%; height: auto; }} }}
</style></head><body>
<h1>{title}</h1><p>{about}</p><nav>{links}</nav>
{sections}</body></html>
"""


@dataclass(frozen=True)
class Shown:
    """A section of the page: a heading, what it shows, and lines with a remark on each."""

    heading: str
    about: str
    lines: Sequence[tuple[Line, str]]


def sections(dataset: Dataset, measured: dict[str, Sizes], height: int, count: int, seed: int) -> Iterator[Shown]:
    """What the page shows.

    Args:
        dataset: the dataset.
        measured: the sizes of its images, by split.
        height: that widths are counted at, in pixels.
        count: of lines in each section.
        seed: decides which are shown at random.
    """
    splits = {name: dataset.splits[name] for name in sorted(dataset.splits, key=rank) if dataset.splits[name]}
    for name, lines in splits.items():
        rows = sorted(random.Random(f"gallery/{seed}/{name}").sample(range(len(lines)), min(count, len(lines))))
        yield Shown(f"{name}: at random", f"{len(rows)} of {len(lines)} lines", [(lines[i], "") for i in rows])
    if not splits:
        return
    every = JoinedLines(list(splits.values()))
    widths = np.concatenate([measured[name].at(height) for name in splits])
    odd = np.concatenate([oddness(lines, measured[name].at(height)) for name, lines in splits.items()])

    def chosen(order: NDArray[np.int64], remark: str) -> list[tuple[Line, str]]:
        rows = [int(i) for i in order if widths[i] > 0][:count]
        values = [remark.format(width=widths[i], ratio=float(np.exp(odd[i]))) for i in rows]
        return [(every[i], value) for i, value in zip(rows, values, strict=True)]

    if widths.any():
        wide, by_width = "{width} pixels wide", np.argsort(widths, kind="stable")
        suspicious = chosen(np.argsort(-np.abs(odd), kind="stable"), "{ratio:.2f} times the median width a character")
        about = "the width a character is far from the median: is it the right text, the whole line, one line?"
        if odd.any():  # some lines have texts
            yield Shown("Suspicious", about, suspicious)
        yield Shown("The widest", f"at a height of {height} pixels", chosen(by_width[::-1], wide))
        yield Shown("The narrowest", f"at a height of {height} pixels", chosen(by_width, wide))


def page(dataset: Dataset, shown: Sequence[Shown], direction: Direction = "ltr") -> str:
    """The page as HTML.

    Args:
        dataset: gives its title.
        shown: the sections.
        direction: of the texts, `ltr` or `rtl`.
    """
    used, left_out, parts = 0, 0, []
    for number, section in enumerate(shown):
        figures = []
        for line, remark in section.lines:
            figure = _figure(line, remark, direction)
            if used + len(figure) > LARGEST:
                left_out += 1
                continue
            used += len(figure)
            figures.append(figure)
        heading = f'<h2 id="s{number}">{html.escape(section.heading)}</h2><p>{html.escape(section.about)}</p>'
        parts.append(f"<section>{heading}{''.join(figures)}</section>\n")
    counts = ", ".join(f"{len(lines)} {name}" for name, lines in dataset.splits.items())
    about = f"{dataset.format}; lines: {counts}" + (f"; {left_out} images left out for their size" if left_out else "")
    links = "".join(f'<a href="#s{i}">{html.escape(section.heading)}</a>' for i, section in enumerate(shown))
    return _PAGE.format(
        title=html.escape(_shown(dataset.name)), about=html.escape(about), links=links, sections="".join(parts)
    )


def _figure(line: Line, remark: str, direction: Direction) -> str:
    about = " · ".join(filter(None, (line.split, line.id, line.group, line.page, remark)))
    try:
        image = _image(line.pixels())
    except HtrError as error:
        image = f'<p class="about">{html.escape(_shown(str(error)))}</p>'
    except Exception as error:  # a plug-in reader's function gives the pixels
        image = f'<p class="about">{html.escape(type(error).__name__)}</p>'
    text = line.text if len(line.text) <= LONGEST else f"{line.text[:LONGEST]} …"
    return (
        f'<figure><div class="image">{image}</div><div class="text" dir="{direction}">{html.escape(_shown(text))}</div>'
        f'<figcaption class="about">{html.escape(_shown(about))}</figcaption></figure>'
    )


def _image(pixels: NDArray[np.uint8]) -> str:
    """A line as an element with its pixels inside."""
    high, wide = pixels.shape
    ratio = min(1.0, HEIGHT / high, WIDEST / wide)
    small = scale(pixels, max(1, round(high * ratio)), max(1, round(wide * ratio)))
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "WEBP", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" width="{small.shape[1]}" height="{small.shape[0]}" src="data:image/webp;base64,{data}">'


def _shown(text: str) -> str:
    """A text as a page can hold it: half surrogates, of file names that are not UTF-8, become question marks."""
    return text.encode("utf-8", "replace").decode()
