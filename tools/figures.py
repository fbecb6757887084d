"""Writes the README's figures from the committed results: `python tools/figures.py`.

Every table between the README's markers comes from one file of `benchmarks/results/`, with the command that
made it, so no figure stands there that nobody measured. `make test` fails where README and results differ. TensorRT's
rows say "built, not executed" until `make rtx` has left a `results/rtx-<gpu>.json`; that has a table of its own.
"""

import json
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
NOT_EXECUTED = "built, not executed"
BEGIN, END = "<!-- figures: written by tools/figures.py -->", "<!-- end of figures -->"
TITLES = {
    "demo": "The demo: built-in handwriting, tiny presets",
    "speed": "Speed on real lines, full sizes with random weights",
    "hooker_en": "Real handwriting: hooker_en (`teacher` has the size `student`, `student` and `control` that of "
    "`student-s`; `pruned` is half the teacher's work)",
    "copiste_fr": "Real handwriting: copiste_fr, `student-s` trained alone",
    "proofs": "Every exported form beside the model in PyTorch (`export.verify`)",
    "distillation": "Distilled, and trained alone: hooker_en",
    "distillation_fr": "Distilled, and trained alone: copiste_fr",
    "recurrent": "A recurrent teacher of a convolutional student, `tiny` presets",
    "language": "A language model's help in as many steps (`intermediate`: CTC at the layer that it looks at)",
    "language_time": "The same in as much time (alone on a core: 99 lines/s, 95 and 23)",
    "pretraining": "Built-in handwriting first, then real lines",
    "transfer": "Another corpus first: `student-s` on hooker_en from nothing, and after copiste_fr",
    "builds": "TensorRT-RTX engines of every preset, random weights: built, not executed",
    "decode": "What the decode in the graph costs",
    "finetune": "A few lines of a new hand",
    "training": "Training on two cores, and what makes it fast",
}
"""The results that the README shows, in order, and what it calls them."""


def figures() -> str:
    """The README's section, from all the results that are there."""
    parts = [BEGIN, ""]
    for name, title in TITLES.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            parts += [f"### {title}", "", *_written(result), ""]
    for path in _cards():
        parts += _rtx(json.loads(path.read_text(encoding="utf-8")))
    return "\n".join([*parts, END])


def _written(result: dict[str, Any]) -> list[str]:
    if "engines" in result:
        return _builds(result)
    if "proofs" in result:
        return _proofs(result)
    if "points" in result:
        return _curve(result)
    if "share" in result:
        return _decode(result)
    if "rows" not in result:
        return _seeds(result)
    return _table(result) if isinstance(result["rows"], list) else _training(result)


def updated(readme: str) -> str:
    """The README with its section written anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + figures() + after


def _cards() -> list[Path]:
    """The results of `make rtx`, one for each GPU."""
    return sorted(RESULTS.glob("rtx-*.json"))


def _rtx(result: dict[str, Any]) -> list[str]:
    """Engines on one GPU: a row an engine and batch."""
    gpu = result["gpu"]
    heads = ["model", "engine", "lines", "CER %", "to text ms", "execute ms (min–max)", "decode %", "KiB back"]
    rows = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 2)]
    for model in result["models"]:
        rates = {check["form"]: check["cer"] for check in model["checks"] if check["arithmetic"]}
        for row in model["engines"]:
            steps = ("upload_ms", "execute_ms", "download_ms", "host_ms")
            low, high = row["execute_range"]
            rate = rates.get(row["engine"])
            share = row["decode_share"]
            cells = [model["name"], row["engine"], str(row["batch"]), "" if rate is None else f"{100 * rate:.2f}"]
            cells += [f"{sum(row[step] for step in steps):.3f}", f"{row['execute_ms']:.3f} ({low:.3f}–{high:.3f})"]
            cells += ["" if share is None else f"{100 * share:.1f}", f"{row['bytes_down'] / 1024:.1f}"]
            rows.append(cells)
    kernel = [
        f"The decode kernel alone, {row['batch']} × {row['frames']} × {row['classes']}: {row['fp32_us']:.1f} µs in "
        f"FP32, {row['fp16_us']:.1f} µs in FP16."
        for row in result["kernel"]
    ]
    missing = [f"{step['name']}: {step['state']}, {step['reason']}." for step in result["steps"] if step["reason"]]
    data = ", ".join(f"{model['name']} {model['data']}" for model in result["models"])
    note = f"`{result['command']}`, {result['date'][:10]}, driver {gpu['driver']}; lines: {data}."
    table = ["| " + " | ".join(row) + " |" for row in rows]
    notes = [line for text in (note, *kernel, *missing) for line in (text, "")]
    return [f"### {gpu['name']}: engines executed", "", *table, "", *notes]


def _table(result: dict[str, Any]) -> list[str]:
    splits = [name for name in result["splits"] if any(row["splits"] for row in result["rows"])]
    heads = ["model", "runtime", "parameters", "MiB", *(f"CER % {name}" for name in splits)]
    heads += ["lines/s (min–max)", "× teacher", "× PyTorch", "peak MiB"]
    rows = [_cells(row, splits) for row in result["rows"]]
    machine, settings = result["machine"], result["settings"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * 2 + ["---:"] * (len(heads) - 2), *rows)]
    hashes = ", ".join(f"{name} {split['hash']} ({split['lines']} lines)" for name, split in result["splits"].items())
    notes = [
        f"`{result['command']}`, {result['date'][:10]}, {machine['processor']}, {settings['threads']} threads on "
        f"{machine['cores']} cores, malloc {machine['allocator']}, batch {settings['batch']}, "
        f"{settings['timed_lines']} lines, median of {settings['rounds']} interleaved rounds. Splits: {hashes}.",
        *(_difference(d) for d in result["differences"]),
    ]
    groups = [line for split, rows in result["groups"].items() for line in _groups(split, rows)]
    return [*lines, "", *(line for note in notes for line in (note, "")), *groups][:-1] + [""] * bool(groups)


def _curve(result: dict[str, Any]) -> list[str]:
    """Fine-tuning: a row a number of lines, a column a start."""
    starts = list(dict.fromkeys(point["start"] for point in result["points"]))
    cells = {(point["lines"], point["start"]): point for point in result["points"]}
    model, data = result["model"], result["data"]
    rows = [["lines", *(f"CER % from {'nothing' if start == 'nothing' else model['name']}" for start in starts)]]
    rows.append(["---:"] * len(rows[0]))
    for lines in dict.fromkeys(point["lines"] for point in result["points"]):
        rows.append([str(lines), *(_interval(cells.get((lines, start))) for start in starts)])
    note = (
        f"`{result['command']}`, {result['machine']}. {model['name']} was trained on {model['data']} and reads "
        f"{data['lines']} lines of {data['name']}/{data['split']} ({data['hash']}) after so many training lines of it."
    )
    return [*("| " + " | ".join(row) + " |" for row in rows), "", note, ""]


def _interval(point: dict[str, Any] | None) -> str:
    if point is None:
        return ""
    low, high = point["interval"]
    return f"{100 * point['cer']:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def _decode(result: dict[str, Any]) -> list[str]:
    share, low, high = (100 * value for value in result["share"])
    with_it, without = (result["bytes"][kind] for kind in ("graph", "none"))
    return [
        f"{share:+.2f} % of {result['model']}'s time (95 %: {low:+.2f} to {high:+.2f}) at batch {result['batch']}: "
        f"a line's outputs are {with_it:,.0f} bytes with it and {without:,.0f} without (these are the logits).",
        "",
        f"`{result['command']}`, {result['machine']}, {result['threads']} threads, {result['lines']} lines a round.",
        "",
    ]


def _builds(result: dict[str, Any]) -> list[str]:
    """Engines of presets: a row an engine."""
    rows = [["preset", "precision", "seconds", "engine MiB", "ONNX MiB"], ["---"] * 2 + ["---:"] * 3]
    for row in result["engines"]:
        sizes = [f"{row[size] / 2**20:.1f}" for size in ("bytes", "onnx_bytes")]
        rows.append([row["preset"], row["precision"].upper(), f"{row['seconds']:.1f}", *sizes])
    machine, generations = result["machine"], ", ".join(result["capabilities"])
    batch, width = (" to ".join(map(str, (some[0], some[-1]))) for some in result["profile"].values())
    note = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores, TensorRT-RTX {result['version']}: "
        f"each for {generations} in one file, {batch} lines of {width} pixels."
    )
    return [*("| " + " | ".join(row) + " |" for row in rows), "", note, ""]


def _proofs(result: dict[str, Any]) -> list[str]:
    """Exported forms of models: a row a form."""
    heads = [
        "data",
        "model",
        "form",
        "CER %",
        "change, points (95 %)",
        "lines differ",
        "turn with the batch",
        "verdict",
    ]
    rows = [heads, ["---"] * 3 + ["---:"] * 4 + ["---"]]
    for proof in result["proofs"]:
        for check in proof["checks"]:
            mean, low, high = (f"{100 * value:+.3f}" for value in check["difference"])
            cells = [proof["data"], check["model"], check["form"], f"{100 * check['cer']:.2f}"]
            cells += [f"{mean} ({low} to {high})", str(check["differing"]), str(check["moved"])]
            rows.append([*cells, "ok" if check["passed"] else check["note"]])
    splits = [f"{p['data']}/{p['split']} {p['hash']} ({p['lines']} lines)" for p in result["proofs"]]
    note = (
        f"`{result['command']}`, {result['machine']}: {', '.join(splits)}. Half precision is PyTorch's on the CPU, the "
        "files are ONNX Runtime's; no engine was executed."
    )
    return [*("| " + " | ".join(row) + " |" for row in rows), "", note, ""]


def _seeds(result: dict[str, Any]) -> list[str]:
    """Arms over several seeds: a row an arm."""
    splits, training = result["splits"], result["training"]
    base = next(iter(training))
    heads = ["arm", "preset", "seeds", "steps", "minutes", *(f"CER % {name}, to {base} (95 %)" for name in splits)]
    rows = [heads, ["---"] * 2 + ["---:"] * 3 + ["---"] * len(splits)]
    for arm, runs in training.items():
        minutes = statistics.median(run["seconds"] or 0 for run in runs) / 60
        row = [arm, runs[0]["preset"] or "", str(len(runs)), str(runs[0]["steps"] or ""), f"{minutes:.0f}"]
        for split in splits.values():
            found = split["arms"][arm]
            rates = ", ".join(f"{100 * rate:.2f}" for rate in found["cer"])
            points = [f"{100 * value:+.2f}" for value in found["difference"] or ()]
            row.append(rates + (" → {} ({} to {})".format(*points) if points else ""))
        rows.append(row)
    hashes = ", ".join(f"{name} {split['hash']} ({split['lines']} lines)" for name, split in splits.items())
    note = f"`{result['command']}`, {result['machine']}. Splits of {result['data']}: {hashes}."
    return [*("| " + " | ".join(row) + " |" for row in rows), "", note, ""]


def _training(result: dict[str, Any]) -> list[str]:
    """Training speed: a row a measure."""
    settings, machine = result["settings"], result["machine"]
    rows = [["", "lines/s, median (min–max)", "× first"], ["---", "---:", "---:"]]
    for name, row in result["rows"].items():
        speeds = row["lines_per_second"]
        spread = f"{statistics.median(speeds):.1f} ({min(speeds):.1f}–{max(speeds):.1f})"
        rows.append([name, spread, f"{row['gain']:.2f}"])
    note = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores: `{settings['model']}` on "
        f"{settings['data']}, batch {settings['batch']}, augmentation included, {len(speeds)} interleaved rounds."
    )
    return [*("| " + " | ".join(row) + " |" for row in rows), "", note, ""]


def _cells(row: dict[str, Any], splits: list[str]) -> list[str]:
    speed = row["lines_per_second"]
    if row["runtime"].startswith("TensorRT") and not _cards():
        speed, status = None, NOT_EXECUTED  # what no committed proof stands behind is not shown
    else:
        status = row["status"]
    spread = f"{speed['median']:.0f} ({speed['min']:.0f}–{speed['max']:.0f})" if speed else status
    scores = [f"{100 * row['splits'][name]['cer']:.2f}" if row["splits"] else "" for name in splits]
    ratios = [f"{row[key]:.2f}" if row[key] else "" for key in ("speedup_over_teacher", "speedup_over_pytorch")]
    runtime = row["runtime"] if row["precision"] == "FP32" else f"{row['runtime']}, {row['precision']} file"
    memory = f"{row['peak_memory_mib']:.0f}" if row["peak_memory_mib"] else ""
    size = [f"{row['parameters'] / 1e6:.2f} M", f"{row['size_bytes'] / 2**20:.1f}"]
    return [row["model"], runtime, *size, *scores, spread, *ratios, memory]


def _difference(d: dict[str, Any]) -> str:
    low, high = (f"{100 * bound:+.2f}" for bound in d["interval"])
    points = f"{100 * d['difference']:+.2f}"
    return f"CER on {d['split']}: {d['one']} minus {d['other']} {points} points (95 % paired: {low} to {high})."


def _groups(split: str, rows: list[dict[str, Any]]) -> list[str]:
    models = list(rows[0]["cer"])
    cells = [[f"CER % on {split}", "lines", *models], ["---"] + ["---:"] * (len(models) + 1)]
    cells += [[r["group"], str(r["lines"]), *(f"{100 * r['cer'][m]:.2f}" for m in models)] for r in rows]
    return [*("| " + " | ".join(row) + " |" for row in cells), ""]


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    print(f"written: {README.name}")
