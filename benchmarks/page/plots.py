"""The plots of a benchmark: error against speed and size, learning curves, errors by length and width, calibration."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.evidence import Evidence
from benchmarks.page.axis import axis
from benchmarks.page.html import figure, legend
from benchmarks.page.svg import Line, Plot, Point
from benchmarks.rows import Benchmark, Row
from htrcompress.metrics import ratio

BINS = 6
"""Bins of lines of like length or width, equally many lines in each."""


def colours(result: Benchmark) -> dict[str, int]:
    """A colour for each model, the same on the whole page."""
    return {model: n for n, model in enumerate(dict.fromkeys(row.model for row in result.rows))}


def pareto(result: Benchmark) -> list[str]:
    """CER against lines per second from memory and from files, parameters and bytes; with what nothing surpasses."""
    rows = [row for row in result.rows if row.cer is not None and row.lines_per_second]
    if not rows:
        return []
    of_model, labels = colours(result), list(dict.fromkeys(row.label for row in rows))
    measures: list[tuple[str, str, Callable[[Row], float | None], bool]] = [
        ("lines per second, from memory", "CER and speed", lambda r: _median(r.lines_per_second), True),
        ("lines per second, from files", "CER and speed from image files", lambda r: _median(r.files_per_second), True),
        ("parameters", "CER and parameters", lambda r: r.parameters, False),
        ("bytes of the file", "CER and bytes", lambda r: r.size_bytes, False),
    ]
    figures = []
    for name, title, measure, more_is_better in measures:
        points = []
        for row in rows:
            value, cer = measure(row), row.cer
            if value and cer is not None:
                text = f"{row.model}, {row.label}: CER {100 * cer:.2f} %, {value:,.0f} {name}"
                low, high = row.cer_interval or (cer, cer)
                colour, shape = of_model[row.model], labels.index(row.label)
                points.append(Point(value, 100 * cer, text, colour, shape, (100 * low, 100 * high)))
        if points:
            figures.append(figure(_against(points, name, more_is_better).svg(), title))
    key: list[tuple[str, int | None, int | None]] = [
        (model, of_model[model], None) for model in dict.fromkeys(row.model for row in rows)
    ]
    key += [(label, None, shape) for shape, label in enumerate(labels)]
    return [f'<div class="grid2">{"".join(figures)}</div>', legend(key)]


def _against(points: list[Point], name: str, more_is_better: bool) -> Plot:
    best = front(points, more_is_better)
    text = f"CER in per cent against {name}, {len(points)} artefacts. " + "; ".join(p.title for p in best)
    heights = [bound for point in points for bound in (point.span or (point.y, point.y))]
    x, y = axis(name, [p.x for p in points], log=True), axis("CER %", heights)
    return Plot(x, y, text, points, [Line(best, COLOUR_OF_FRONT, dashed=True)])


COLOUR_OF_FRONT = 7


def front(points: Sequence[Point], more_is_better: bool) -> list[Point]:
    """The points that no other surpasses in both: the lowest `y` of all that are as good in `x`, in the order of x."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.x if more_is_better else p.x, p.y)):
        if not kept or point.y < kept[-1].y:
            kept.append(point)
    return sorted(kept, key=lambda p: p.x)


def _median(spread: object) -> float | None:
    return getattr(spread, "median", None)


def curves(result: Benchmark) -> list[str]:
    """CER on the validation split against steps and against minutes of training."""
    of_model, figures = colours(result), []
    kinds = (("steps", "CER while training, by steps"), ("minutes", "CER while training, by time"))
    for name, heading in kinds:
        lines = []
        for model, found in result.curves.items():
            points = []
            for p in found:
                at = p.step if name == "steps" else p.seconds / 60
                title = f"{model}: {at:,.0f} {name}, CER {100 * p.cer:.2f} %"
                points.append(Point(at, 100 * p.cer, title, of_model[model]))
            lines.append(Line(points, of_model[model]))
        everything = [point for line in lines for point in line.points]
        if everything:
            text = f"CER on the validation split against {name}. "
            text += "; ".join(f"{m}: {100 * f[0].cer:.1f} to {100 * f[-1].cer:.1f} %" for m, f in result.curves.items())
            x = axis(name, [p.x for p in everything], zero=True)
            y = axis("CER %, validation", [p.y for p in everything])
            figures.append(figure(Plot(x, y, text, lines=lines).svg(), heading))
    key = legend([(model, of_model[model], None) for model in result.curves])
    return [f'<div class="grid2">{"".join(figures)}</div>', key] if figures else []


def by_size(result: Benchmark, evidence: Evidence) -> list[str]:
    """CER of every model in PyTorch by the lines' length and width."""
    models, figures = originals(result, evidence), []
    for sizes, name, unit in ((evidence.lengths, "length", "characters"), (evidence.widths, "width", "pixels")):
        parts = [part for part in np.array_split(np.argsort(sizes, kind="stable"), BINS) if len(part)]
        ordered = np.array(sizes)
        labels = {float(n): f"{ordered[part].min()}–{ordered[part].max()}" for n, part in enumerate(parts)}
        lines = []
        for model, (key, colour) in models.items():
            edits, lengths = np.array(evidence.edits[key]), np.array(evidence.lengths)
            rates = [100 * ratio(edits[part], lengths[part]) for part in parts]
            points = [
                Point(n, rate, f"{model}: {labels[n]} {unit}, CER {rate:.2f} %", colour) for n, rate in enumerate(rates)
            ]
            lines.append(Line(points, colour))
        heights = [point.y for line in lines for point in line.points]
        x, y = axis(f"{name} of the line in {unit}", labels), axis("CER %", heights, zero=True)
        text = f"CER by the {name} of the lines. " + "; ".join(p.title for line in lines for p in line.points)
        figures.append(figure(Plot(x, y, text, lines=lines, labels=labels).svg(), f"CER by {name}"))
    key = legend([(model, colour, None) for model, (_, colour) in models.items()])
    return [f'<div class="grid2">{"".join(figures)}</div>', key]


def calibrated(result: Benchmark, evidence: Evidence) -> list[str]:
    """The accuracy of lines against the confidence that their model gave them."""
    of_model, lines = colours(result), []
    for model, bins in evidence.calibration.items():
        points = []
        for some in bins:
            sure, right = 100 * some.confidence, 100 * some.accuracy
            title = f"{model}: confidence {sure:.1f} %, right {right:.1f} % ({some.lines} lines)"
            points.append(Point(sure, right, title, of_model[model]))
        lines.append(Line(points, of_model[model]))
    everything = [point for line in lines for point in line.points]
    if not everything:
        return []
    x = axis("confidence of the line, %", [p.x for p in everything])
    y = axis("characters right, %", [p.y for p in everything])
    low, high = max(x.low, y.low), min(x.high, y.high)
    ideal = [Line([Point(low, low, ""), Point(high, high, "")], COLOUR_OF_FRONT, dashed=True)] if low < high else []
    text = "Share of characters that are right against the confidence of their lines. "
    plot = Plot(x, y, text + "; ".join(point.title for point in everything), lines=[*ideal, *lines])
    key = [(model, of_model[model], None) for model in evidence.calibration]
    return [f'<div class="grid2">{figure(plot.svg(), "Confidence and accuracy")}</div>', legend(key)]


def originals(result: Benchmark, evidence: Evidence) -> dict[str, tuple[str, int]]:
    """Model to its artefact in PyTorch, the first of its rows, and its colour."""
    of_model, found = colours(result), {}
    for row in result.rows:
        if row.model not in found and row.key in evidence.edits:
            found[row.model] = (row.key, of_model[row.model])
    return found
