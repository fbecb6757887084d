"""Pieces of a page: tables, legends, bars, and the coloured difference between a truth and a reading."""

from collections.abc import Sequence
from html import escape

from rapidfuzz.distance import Levenshtein

from benchmarks.page.svg import COLOURS, mark
from htrcompress.charset import clean_text

SPACE = "␣"
"""What a missing or a surplus space is shown as."""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int, caption: str) -> str:
    """A table, whose cells are markup; the columns after the first `texts` are numbers."""

    def kind(place: int) -> str:
        return "" if place < texts else ' class="number"'

    head = "".join(f'<th scope="col"{kind(n)}>{escape(heading)}</th>' for n, heading in enumerate(headings))
    body = "".join("<tr>" + "".join(_cell(n, cell, kind(n)) for n, cell in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<p class="caption" aria-hidden="true">{escape(caption)}</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(place: int, cell: str, kind: str) -> str:
    return f'<th scope="row">{cell}</th>' if place == 0 else f"<td{kind}>{cell}</td>"


def section(identity: str, title: str, *parts: str, note: str = "") -> str:
    """A section of the page; nothing where none of its parts holds anything."""
    if not any(parts):
        return ""
    about = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<section id="{identity}"><h2>{escape(title)}</h2>{about}{"".join(parts)}</section>'


def figure(plot: str, title: str) -> str:
    """A plot and its title."""
    return f"<figure><figcaption>{escape(title)}</figcaption>{plot}</figure>"


def legend(entries: Sequence[tuple[str, int | None, int | None]]) -> str:
    """What colours and shapes stand for: (name, colour, shape), either of which may be None."""
    items = []
    for name, colour, shape in entries:
        kind = "plain" if colour is None else f"c{colour % COLOURS}"
        sample = mark(8, 8, 0 if shape is None else shape)
        items.append(
            f'<li><svg class="key {kind}" viewBox="0 0 16 16" aria-hidden="true">{sample}</svg>{escape(name)}</li>'
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def bar(share: float, text: str, colour: int) -> str:
    """A bar of a share of the whole, 0 to 1, and its value."""
    width = 100 * min(max(share, 0), 1)
    return (
        f'<span class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="10"/>'
        f'<rect class="fill c{colour % COLOURS}" width="{width:.1f}" height="10"/></svg>{escape(text)}</span>'
    )


def difference(truth: str, reading: str) -> str:
    """A reading beside its truth as one text: what is missing is struck out, what is wrongly read underlined."""
    truth, reading = clean_text(truth), clean_text(reading)
    parts = []
    for edit in Levenshtein.opcodes(truth, reading):
        lost, found = truth[edit.src_start : edit.src_end], reading[edit.dest_start : edit.dest_end]
        if edit.tag == "equal":
            parts.append(escape(lost))
            continue
        parts.append(f"<del>{escape(lost.replace(' ', SPACE))}</del>" if lost else "")
        parts.append(f"<ins>{escape(found.replace(' ', SPACE))}</ins>" if found else "")
    return "".join(parts)
