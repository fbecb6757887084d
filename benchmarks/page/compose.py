"""Puts the sections of a page together."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from benchmarks import report
from benchmarks.page import lines, plots
from benchmarks.page.html import section, table
from benchmarks.page.machine import ROOFLINE_NOTE, environment, roofline
from benchmarks.rows import Benchmark

STYLE = Path(__file__).with_name("style.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Nothing outside the page is ever asked for."""


def page(result: Benchmark, pictures: Mapping[str, str] | None = None) -> str:
    """A benchmark as an HTML document without script or network.

    Args:
        result: what was measured.
        pictures: id of a line to its picture, a `data:` address; the worst lines are shown without where it has none.
    """
    parts = [_tables(result), *_of_lines(result, dict(pictures or {}))]
    parts += [section("roofline", "The machine's limits", roofline(result), note=ROOFLINE_NOTE)]
    parts += [section("environment", "Environment", environment(result))]
    title = f"{result.run} on {result.data}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'
        f"<title>Benchmark of {escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><header><h1>Benchmark of {escape(title)}</h1>{_summary(result)}</header>"
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def _summary(result: Benchmark) -> str:
    """What to know before anything else."""
    hashes = ", ".join(f"{name} ({split['lines']} lines)" for name, split in result.splits.items())
    s = result.settings
    return (
        f"<p>{escape(result.date[:10])}, {escape(result.machine['processor'])}, {s['threads']} threads on "
        f"{result.machine['cores']} cores, batch {s['batch']}; {escape(hashes)}. Error bars are 95 % bootstrap "
        "intervals over lines.</p>"
    )


def _tables(result: Benchmark) -> str:
    sheets = [
        table(sheet.headings, [[escape(cell) for cell in row] for row in sheet.rows], sheet.texts, sheet.title)
        for sheet in report.sheets(result)
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes(result))
    found = plots.pareto(result)
    note = "The dashed line joins what nothing surpasses in both. Up is worse."
    return section("pareto", "Error, speed and size", *found, note=note if found else "") + section(
        "table", "Every artefact", *sheets, f'<ul class="notes">{notes}</ul>'
    )


def _of_lines(result: Benchmark, pictures: dict[str, str]) -> list[str]:
    """The sections that come from single lines, of the first split."""
    parts = [section("curves", "Learning curves", *plots.curves(result))]
    split, evidence = next(iter(result.evidence.items()), ("", None))
    if evidence is None:
        return parts
    about = f"On {split}, {len(evidence.lengths)} lines."
    confidence = f"{about} Ten groups of equally many lines; the confidence is the geometric mean of a line's "
    confidence += "probabilities. The dashed line is where the two are equal."
    worst_of = f"{about} Lines with the most errors of {evidence.worst_of} in PyTorch."
    return [
        *parts,
        section("size", "Short and long lines", *plots.by_size(result, evidence), note=f"{about} In PyTorch."),
        section("calibration", "Confidence", *plots.calibrated(result, evidence), note=confidence),
        section("confusions", "Mistakes in characters", lines.confusions(result, evidence), note=about),
        section("agreement", "Agreement between forms", lines.agreement(evidence), note=about),
        section("worst", "The worst lines", lines.worst(evidence, pictures), note=worst_of),
    ]
