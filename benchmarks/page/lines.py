"""What a page shows of single lines: the worst ones, the mistakes in characters, and where forms disagree."""

from html import escape

from benchmarks.evidence import Evidence
from benchmarks.page.html import SPACE, bar, difference, table
from benchmarks.page.plots import colours
from benchmarks.rows import Benchmark

SHOWN = 20


def confusions(result: Benchmark, evidence: Evidence) -> str:
    """The most frequent mistakes of the model whose lines are shown, and how often the others make them."""
    shown = evidence.confusions.get(evidence.worst_of, [])[:SHOWN]
    if not shown:
        return ""
    most, colour = shown[0][2], colours(result)[evidence.worst_of]
    others = [model for model in evidence.confusions if model != evidence.worst_of]
    counts = {model: {(e, r): count for e, r, count in evidence.confusions[model]} for model in others}
    rows = []
    for expected, read, count in shown:
        cells = [f"<code>{_character(expected)}</code>", f"<code>{_character(read)}</code>"]
        cells += [bar(count / most, str(count), colour)]
        rows.append([*cells, *(str(counts[model].get((expected, read), "")) for model in others)])
    return table(["expected", "read", evidence.worst_of, *others], rows, 3, "The most frequent mistakes, by model")


def _character(character: str) -> str:
    return escape({"": "∅", " ": SPACE}.get(character, character))


def agreement(evidence: Evidence) -> str:
    """How many lines each two artefacts read otherwise."""
    names, total = list(evidence.differing), max(len(evidence.lengths), 1)
    if len(names) < 2:
        return ""
    rows = []
    for number, one in enumerate(names, 1):
        counts = [evidence.differing[one][other] for other in names]
        cells = [f'<span class="heat" style="--share:{count / total:.3f}">{count}</span>' for count in counts]
        rows.append([f"{number} {escape(one)}", *cells])
    return table(["artefact", *map(str, range(1, len(names) + 1))], rows, 1, f"Of {total} lines, those read otherwise")


def worst(evidence: Evidence, pictures: dict[str, str]) -> str:
    """The lines with the most errors: picture, truth, reading, and the difference in colour."""
    items = []
    for line in evidence.worst:
        errors = "1 error" if line.edits == 1 else f"{line.edits} errors"
        rate = f"{errors}, CER {100 * line.edits / max(len(line.text), 1):.0f} %"
        about = " · ".join(escape(part) for part in (line.id, line.group, rate) if part)
        picture = ""
        if line.id in pictures:
            picture = f'<img src="{escape(pictures[line.id])}" alt="The line “{escape(line.text)}”" loading="lazy">'
        texts = (("truth", escape(line.text)), ("reading", escape(line.reading) or "<em>nothing</em>"))
        rows = [*texts, ("difference", difference(line.text, line.reading))]
        listed = "".join(f'<dt>{name}</dt><dd dir="auto">{text}</dd>' for name, text in rows)
        items.append(f'<li><p class="about">{about}</p>{picture}<dl>{listed}</dl></li>')
    return f'<ol class="worst">{"".join(items)}</ol>' if items else ""
