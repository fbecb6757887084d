"""The Markdown of committed results of `benchmarks/studies`: one function for each kind, as in `tables.py`."""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.results import markdown
from tools.markdown import notes, with_interval

Result = dict[str, Any]


def finetuning(result: Result) -> list[str]:
    """A row for each number of lines, a column for each start."""
    starts = list(dict.fromkeys(point["start"] for point in result["points"]))
    points = {(point["lines"], point["start"]): point for point in result["points"]}
    model, data = result["model"], result["data"]
    headings = ["lines", *(f"CER % from {'nothing' if start == 'nothing' else model['name']}" for start in starts)]
    rows = []
    for lines in dict.fromkeys(point["lines"] for point in result["points"]):
        found = [points.get((lines, start)) for start in starts]
        rows.append([str(lines), *(with_interval(p["cer"], p["interval"]) if p else "" for p in found)])
    how = (
        f"`{result['command']}`, {result['machine']}. {model['name']} was trained on {model['data']} and reads "
        f"{data['lines']} lines of {data['name']}/{data['split']} ({data['hash']}) after so many training lines of it."
    )
    return [*markdown(headings, rows, 0), *notes(how)]


def adaptation(result: Result) -> list[str]:
    """A row for each number of lines: CER on the new hand, and on the corpora that should not be forgotten."""
    model, data, others = result["model"], result["data"], result["others"]
    headings = ["lines", f"CER % on {data['name']}", "change", "seconds"]
    headings += [f"CER % on {other['name']}" for other in others]
    first = with_interval(result["before"]["cer"], result["before"]["interval"])
    rows = [["0", first, "", "", *(f"{100 * other['before']:.2f}" for other in others)]]
    for size in result["sizes"]:
        seconds = f"{statistics.mean(size['seconds']):.0f}"
        found = [with_interval(size["mean"], size["interval"]), f"{100 * size['relative']:+.0f} %", seconds]
        rows.append([str(size["lines"]), *found, *(f"{100 * o['after'][str(size['lines'])]:.2f}" for o in others)])
    several = [f"{100 * rate:.2f}" for size in result["sizes"] if len(size["cer"]) > 1 for rate in size["cer"]]
    splits = ", ".join(f"{d['name']}/{d['split']} {d['hash']} ({d['lines']} lines)" for d in (data, *others))
    how = (
        f"`{result['command']}`, {result['machine']}, threads: {result['threads']}. {model['name']} had not seen "
        f"{data['name']}. Splits: {splits}. Means of several seeds, which drew other lines each and reached: "
        f"{', '.join(several)}."
    )
    return [*markdown(headings, rows, 0), *notes(how)]


def crops(result: Result) -> list[str]:
    """A row for each change of the lines, a column for each model and corpus."""
    cells = [(model, corpus) for model in result["rows"] for corpus in result["splits"]]
    first_model, first_corpus = cells[0]
    headings = ["lines", *(f"CER % `{Path(model).stem}` {corpus}" for model, corpus in cells)]
    rows = []
    for change in result["rows"][first_model][first_corpus]:
        found = [result["rows"][model][corpus][change] for model, corpus in cells]
        rows.append([change, *(f"{100 * rate['cer']:.2f}" for rate in found)])
    splits = ", ".join(f"{name}/{s['split']} {s['hash']} ({s['lines']} lines)" for name, s in result["splits"].items())
    how = (
        f"`{result['command']}`, {result['machine']}. Changes are made at the images' own size; intervals are in the "
        f"result. Splits: {splits}."
    )
    return [*markdown(headings, rows, 0), *notes(how)]


def decode_cost(result: Result) -> list[str]:
    """What the decode in the graph costs, in a sentence."""
    share, low, high = (100 * value for value in result["share"])
    with_it, without = (result["bytes"][kind] for kind in ("graph", "none"))
    what = (
        f"{share:+.2f} % of {result['model']}'s time (95 %: {low:+.2f} to {high:+.2f}) at batch {result['batch']}: "
        f"a line's outputs are {with_it:,.0f} bytes with it and {without:,.0f} without (these are the logits)."
    )
    how = f"`{result['command']}`, {result['machine']}, {result['threads']} threads, {result['lines']} lines a round."
    return notes(what, how)[1:]


def seeds(result: Result) -> list[str]:
    """A row for each arm of a study."""
    splits, training = result["splits"], result["training"]
    base = next(iter(training))
    headings = ["arm", "preset", "seeds", "steps", "minutes", *(f"CER % {name}, to {base} (95 %)" for name in splits)]
    rows = []
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
    how = f"`{result['command']}`, {result['machine']}. Splits of {result['data']}: {hashes}."
    return [*markdown(headings, rows, 2), *notes(how)]


def training_speed(result: Result) -> list[str]:
    """A row for each measure that makes training fast."""
    settings, machine = result["settings"], result["machine"]
    rows, rounds = [], 0
    for name, row in result["rows"].items():
        speeds = row["lines_per_second"]
        spread = f"{statistics.median(speeds):.1f} ({min(speeds):.1f}–{max(speeds):.1f})"
        rows.append([name, spread, f"{row['gain']:.2f}"])
        rounds = len(speeds)
    how = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores: `{settings['model']}` on "
        f"{settings['data']}, batch {settings['batch']}, augmentation included, {rounds} interleaved rounds."
    )
    return [*markdown(["", "lines/s, median (min–max)", "× first"], rows, 1), *notes(how)]


def scaling(result: Result) -> list[str]:
    """A row for each value of each sweep, and the exponents below."""
    rows, laws = [], []
    for name, sweep in result["sweeps"].items():
        for value, lines, seconds in zip(sweep["values"], sweep["lines"], sweep["seconds"], strict=True):
            speeds = sorted(lines / some for some in seconds)
            middle = statistics.median(speeds)
            spread = f"{middle:.1f} ({speeds[0]:.1f}–{speeds[-1]:.1f})"
            rows.append([name, f"{value:,}", spread, f"{1000 / middle:.2f}"])
        if sweep["fit"]:
            law, (low, high) = sweep["fit"]["exponent"], sweep["fit"]["interval"]
            laws.append(f"Time grows with {name} by the exponent {law:.2f} (95 %: {low:.2f} to {high:.2f}).")
    machine, settings, data = result["machine"], result["settings"], result["data"]
    how = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores: `{result['model']}` on "
        f"{data['name']}/{data['split']} {data['hash']}, {settings['threads']} threads, batch {settings['batch']} and "
        f"{settings['lines']} lines where these are not swept, median of {settings['rounds']} interleaved rounds."
    )
    return [*markdown(["sweep", "value", "lines/s (min–max)", "ms a line"], rows, 1), *notes(how, *laws)]


def corpora(result: Result) -> list[str]:
    """A row for each model file: error rates in every corpus and speed; then its error rates by hand."""
    splits, settings = result["splits"], result["settings"]
    rows = []
    for row in result["rows"]:
        scores = [with_interval(row["scores"][key]["cer"], row["scores"][key]["interval"]) for key in splits]
        size = [f"{row['parameters'] / 1e6:.2f} M", f"{row['bytes'] / 2**20:.1f}"]
        speeds = [f"{row[kind]['median']:.0f}" if row[kind] else "" for kind in ("memory", "files")]
        rows.append([f"`{row['name']}`", row["precision"], *size, *scores, *speeds])
    headings = ["model", "file", "parameters", "MiB", *(f"CER % {key} (95 %)" for key in splits)]
    lines = [*markdown([*headings, "lines/s", "from files"], rows, 2), ""]
    for key, groups in result["groups"].items():
        models = list(groups[0]["cer"])
        cells = [[g["group"], str(g["lines"]), *(f"{100 * g['cer'][m]:.2f}" for m in models)] for g in groups]
        lines += [*markdown([f"CER % on {key}", "lines", *models], cells, 1), ""]
    hashes = ", ".join(f"{key} {split['hash']} ({split['lines']} lines)" for key, split in splits.items())
    how = (
        f"`{result['command']}`, {result['machine']}, {settings['threads']} threads, batch {settings['batch']}; "
        f"speeds: ONNX Runtime, {settings['lines']} lines of all corpora, median of {settings['rounds']} interleaved "
        f"rounds. Splits: {hashes}."
    )
    return [*lines, *notes(how)[1:]]
