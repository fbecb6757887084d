"""What a page says of the machine: how near each artefact comes to its peaks, and the environment."""

from html import escape

from benchmarks.page.html import bar, table
from benchmarks.page.plots import colours
from benchmarks.rows import Benchmark

BYTES = {"FP32": 4, "FP16": 2, "BF16": 2, "INT8": 1}
"""Bytes of a number in each arithmetic."""


def roofline(result: Benchmark) -> str:
    """Operations and bytes a second of every artefact against what large products and copies reach here."""
    peaks, of_model, rows = result.peaks, colours(result), []
    if peaks is None:
        return ""
    for row in result.rows:
        peak = peaks.gflops.get(row.arithmetic)
        if not (row.work and row.lines_per_second and peak):
            continue
        speed, colour = row.lines_per_second.median, of_model[row.model]
        reached = row.work.gflop * speed
        moved = row.work.moved * BYTES[row.arithmetic] * speed / 1000
        cells = [escape(row.model), escape(row.label), row.arithmetic]
        cells += [bar(reached / peak, f"{reached:.0f} of {peak:.0f} ({100 * reached / peak:.0f} %)", colour)]
        share = moved / peaks.copy_gb
        rows.append([*cells, bar(share, f"{moved:.1f} of {peaks.copy_gb:.1f} ({100 * share:.0f} %)", colour)])
    headings = ["model", "runtime", "arithmetic", "GFLOP/s of the peak", "GB/s of the peak"]
    return table(headings, rows, 5, "Achieved against this machine's own peaks") if rows else ""


ROOFLINE_NOTE = (
    "Peaks are measured in the same run: the product of two matrices of 1,536 rows (FP32 and BF16 in PyTorch, INT8 in "
    "ONNX Runtime), and copying 256 MiB. Operations are those of convolutions and matrix products. Bytes are what "
    "these would read and write if each layer went through memory; caches save much of it, so this is what copying "
    "would have to carry without them. Scaling, decoding and text are in the time."
)


def environment(result: Benchmark) -> str:
    """Where, when and how it was measured."""
    machine, settings = result.machine, result.settings
    facts = {
        "command": f"<code>{escape(result.command)}</code>",
        "date": escape(result.date),
        "processor": escape(f"{machine['processor']}, {machine['cores']} cores"),
        "system": escape(machine["system"]),
        "versions": escape(", ".join(f"{name} {version}" for name, version in machine["versions"].items())),
        "settings": escape(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())),
    }
    for name, split in result.splits.items():
        facts[name] = f"{split['lines']} lines, hash <code>{escape(split['hash'])}</code>"
    if result.peaks:
        peaks = ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in result.peaks.gflops.items())
        facts["measured peaks"] = f"{peaks}, copying {result.peaks.copy_gb:.1f} GB/s"
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in facts.items())
    return f'<dl class="facts">{listed}</dl>'
