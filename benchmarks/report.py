"""The tables that people see of a benchmark, in the terminal and in Markdown; numbers come from `rows.Benchmark`."""

from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from benchmarks.artefacts import PYTORCH
from benchmarks.results import markdown as markdown_table
from benchmarks.rows import MEASURED, NOT_EXECUTED, RANDOM, Benchmark

HALF_NOTE = (
    "FP16 file: ONNX Runtime's CPU provider computes FP16 graphs in FP32; these rows are the file's, "
    "not those of half precision"
)


@dataclass(frozen=True)
class Sheet:
    """A table before it is drawn; the columns after the first `texts` are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    texts: int

    def rich(self) -> Table:
        """For the terminal."""
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.collapse_padding = True  # fits 120 columns
        for place, heading in enumerate(self.headings):
            justify: Literal["left", "right"] = "left" if place < self.texts else "right"
            table.add_column(heading.replace(" ", "\n"), justify=justify, no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For files."""
        return "\n".join([f"### {self.title}", "", *markdown_table(self.headings, self.rows, self.texts), ""])


def terminal(result: Benchmark) -> Group:
    """The tables for people, without the groups."""
    tables = [part for sheet in (_speeds(result), *_errors(result)) for part in (sheet.rich(), "")]
    return Group(*tables, *notes(result))


def markdown(result: Benchmark) -> str:
    """A page with everything."""
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    hashes = ", ".join(f"{name} {split['hash']} ({split['lines']} lines)" for name, split in result.splits.items())
    facts = [
        f"- `{result.command}`, {result.date}",
        f"- {machine['processor']}, {machine['cores']} cores, {machine['system']}",
        f"- {versions}",
        f"- splits of {result.data}: {hashes}",
        *(f"- {note}" for note in notes(result)),
    ]
    drawn = (sheet.markdown() for sheet in sheets(result))
    return "\n".join([f"## Benchmark of {result.run}", "", *facts, "", *drawn])


def sheets(result: Benchmark) -> list[Sheet]:
    """Every table."""
    return [_speeds(result), *_errors(result), *_groups(result)]


def _speeds(result: Benchmark) -> Sheet:
    s, machine = result.settings, result.machine
    weights = " with random weights" if any(row.status == RANDOM for row in result.rows) else ""
    title = (
        f"{result.run}{weights} on {result.data}/{s['split']}: {s['timed_lines']} lines, batch {s['batch']}, "
        f"{s['rounds']} rounds, {s['threads']} threads on {machine['cores']} cores, "
        f"{s['device']}"
    )
    sizes = ("params M", "MiB", "GFLOP")
    speeds = ("lines/s (min–max)", "from files", "× teacher", "× PyTorch")
    headings = ("model", "runtime", *sizes, "CER %", *speeds, "p50 ms", "p95 ms", "peak MiB")
    rows: list[tuple[str, ...]] = []
    for row in result.rows:
        speed, latency = row.lines_per_second, row.latency_ms
        cells = [row.model, row.label, f"{row.parameters / 1e6:.2f}", f"{row.size_bytes / 2**20:.1f}"]
        cells += [f"{row.gflop_per_line:.2f}", _percent(row.cer)]
        cells += [f"{_rate(speed.median)} ({_rate(speed.min)}–{_rate(speed.max)})" if speed else "not executed"]
        cells += [_rate(row.files_per_second.median) if row.files_per_second else ""]
        cells += [f"{ratio:.2f}" if ratio else "" for ratio in (row.speedup_over_teacher, row.speedup_over_pytorch)]
        cells += [_rate(latency.p50), _rate(latency.p95)] if latency else ["", ""]
        cells += [f"{row.peak_memory_mib:.0f}" if row.peak_memory_mib else ""]
        rows.append(tuple(cells))
    return Sheet(title, headings, rows, 2)


def _errors(result: Benchmark) -> list[Sheet]:
    """Error rates of each split; a model's exports only where they read something else than PyTorch does."""
    headings = ("split", "model", "runtime", "CER %", "95 %", "WER %", "95 %", "differs")
    rows: list[tuple[str, ...]] = []
    for name, split in result.splits.items():
        for row in result.rows:
            score = (row.splits or {}).get(name)
            if score is None or (row.runtime != PYTORCH and not score.differs):
                continue
            cells = [f"{name} ({split['lines']})", row.model, row.label]
            cells += [_percent(score.cer), _span(score.cer_interval), _percent(score.wer), _span(score.wer_interval)]
            rows.append((*cells, str(score.differs)))
    title = "Error rates; exports only where they differ, by the lines read otherwise than in PyTorch"
    return [Sheet(title, headings, rows, 3)] if rows else []


def _groups(result: Benchmark) -> list[Sheet]:
    sheets = []
    for split, groups in result.groups.items():
        models = list(groups[0]["cer"])
        rows = [(g["group"] or "(none)", str(g["lines"]), *(_percent(g["cer"][m]) for m in models)) for g in groups]
        sheets.append(Sheet(f"CER % by group, {split}", ("group", "lines", *models), rows, 1))
    return sheets


def notes(result: Benchmark) -> list[str]:
    """What to know about the tables, in sentences."""
    found = [str(difference) for difference in result.differences]
    exports = [row for row in result.rows if row.splits and row.runtime != PYTORCH]
    if exports and not any(score.differs for row in exports for score in (row.splits or {}).values()):
        found.append(f"the {len(exports)} exported files read every line as PyTorch does")
    for split in result.splits:
        failed = max((row.splits[split].failed for row in result.rows if row.splits), default=0)
        if failed:
            found.append(f"{failed} lines of {split} cannot be read and count as empty readings")
    for row in result.rows:
        if row.status not in (MEASURED, RANDOM, NOT_EXECUTED):
            found.append(f"{row.model}, {row.label} was not executed: {row.status}")
    decode = result.decode_ms_per_line
    decoding = "" if decode is None else f", whose decoding takes one thread {decode:.2f} ms a line"
    found.append(
        "lines/s (median over interleaved rounds) and latency: from grey pixels in memory at their own size to text, "
        f"scaling and decoder included; from files: the same lines as image files{decoding}"
    )
    found.append(
        f"GFLOP: a line of {result.settings['flop_width']} pixels, the median of {result.settings['split']}; "
        "2 per multiply-add of convolutions and matrix products; peak MiB: a process of its own, libraries included"
    )
    if any((row.runtime, row.precision, row.arithmetic) == ("ONNX Runtime", "FP16", "FP32") for row in result.rows):
        found.append(HALF_NOTE)
    return found


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
