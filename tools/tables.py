"""The Markdown of committed results: one function for each kind of result, which gives its table and its notes."""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.results import FOLDER, markdown

NOT_EXECUTED = "built, not executed"

Result = dict[str, Any]


def render(result: Result) -> list[str]:
    """The lines of a result's table and notes, by its `kind`."""
    return RENDERERS[result["kind"]](result)


def with_interval(rate: float, interval: tuple[float, float]) -> str:
    """An error rate and its interval, fractions, in per cent."""
    low, high = interval
    return f"{100 * rate:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def _notes(*notes: str) -> list[str]:
    return ["", *(line for note in notes for line in (note, ""))]


def benchmark(result: Result) -> list[str]:
    """Every artefact of a run: error rates, size, speed and memory."""
    splits = [name for name in result["splits"] if any(row["splits"] for row in result["rows"])]
    headings = ["model", "runtime", "parameters", "MiB", *(f"CER % {name}" for name in splits)]
    headings += ["lines/s (min–max)", "from files", "× teacher", "× PyTorch", "peak MiB"]
    machine, settings = result["machine"], result["settings"]
    hashes = ", ".join(f"{name} {split['hash']} ({split['lines']} lines)" for name, split in result["splits"].items())
    how = (
        f"`{result['command']}`, {result['date'][:10]}, {machine['processor']}, {settings['threads']} threads on "
        f"{machine['cores']} cores, batch {settings['batch']}, {settings['timed_lines']} lines, median of "
        f"{settings['rounds']} interleaved rounds. Splits: {hashes}."
    )
    rows = [_artefact(row, splits) for row in result["rows"]]
    lines = [*markdown(headings, rows, 2), *_notes(how, *map(_difference, result["differences"]))]
    for split, groups in result["groups"].items():
        models = list(groups[0]["cer"])
        cells = [[g["group"], str(g["lines"]), *(f"{100 * g['cer'][m]:.2f}" for m in models)] for g in groups]
        lines += [*markdown([f"CER % on {split}", "lines", *models], cells, 1), ""]
    return lines


def _artefact(row: Result, splits: list[str]) -> list[str]:
    speed, files = row["lines_per_second"], row.get("files_per_second")
    if row["runtime"].startswith("TensorRT") and not any(FOLDER.glob("rtx-*.json")):
        speed, files = None, None  # speeds without a committed result of a GPU are not shown
    spread = f"{speed['median']:.0f} ({speed['min']:.0f}–{speed['max']:.0f})" if speed else NOT_EXECUTED
    scores = [f"{100 * row['splits'][name]['cer']:.2f}" if row["splits"] else "" for name in splits]
    ratios = [f"{row[key]:.2f}" if row[key] else "" for key in ("speedup_over_teacher", "speedup_over_pytorch")]
    runtime = row["runtime"] if row["precision"] == "FP32" else f"{row['runtime']}, {row['precision']} file"
    size = [f"{row['parameters'] / 1e6:.2f} M", f"{row['size_bytes'] / 2**20:.1f}"]
    memory = f"{row['peak_memory_mib']:.0f}" if row["peak_memory_mib"] else ""
    return [row["model"], runtime, *size, *scores, spread, f"{files['median']:.0f}" if files else "", *ratios, memory]


def _difference(d: Result) -> str:
    low, high = (f"{100 * bound:+.2f}" for bound in d["interval"])
    points = f"{100 * d['difference']:+.2f}"
    return f"CER on {d['split']}: {d['one']} minus {d['other']} {points} points (95 % paired: {low} to {high})."


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
    return [*markdown(headings, rows, 0), *_notes(how)]


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
    return [*markdown(headings, rows, 0), *_notes(how)]


def decode_cost(result: Result) -> list[str]:
    """What the decode in the graph costs, in a sentence."""
    share, low, high = (100 * value for value in result["share"])
    with_it, without = (result["bytes"][kind] for kind in ("graph", "none"))
    what = (
        f"{share:+.2f} % of {result['model']}'s time (95 %: {low:+.2f} to {high:+.2f}) at batch {result['batch']}: "
        f"a line's outputs are {with_it:,.0f} bytes with it and {without:,.0f} without (these are the logits)."
    )
    how = f"`{result['command']}`, {result['machine']}, {result['threads']} threads, {result['lines']} lines a round."
    return _notes(what, how)[1:]


def decoders(result: Result) -> list[str]:
    """A row for each decoder: error rates of every split, and speed."""
    splits = result["splits"]
    headings = ["decoder"]
    for name in splits:
        headings += [f"CER % {name} (95 %)", "to greedy, points (95 %)", "WER %"]
    rows = []
    for decoder, speed in result["speed"].items():
        row = [decoder]
        for split in splits.values():
            found = split["decoders"][decoder]
            mean, low, high = (f"{100 * value:+.2f}" for value in found["difference"])
            row += [with_interval(found["cer"], found["interval"]), f"{mean} ({low} to {high})"]
            row.append(f"{100 * found['wer']:.2f}")
        memory, files = (f"{speed[kind]['median']:.0f}" for kind in ("memory", "files"))
        rows.append([*row, memory, files])
    hashes = ", ".join(f"{name} {split['hash']} ({split['lines']} lines)" for name, split in splits.items())
    settings = result["settings"]
    how = (
        f"`{result['command']}`, {result['machine']}, {settings['threads']} threads, batch {settings['batch']}, "
        f"{settings['lines']} timed lines, {settings['rounds']} interleaved rounds; the search in "
        f"{result.get('search', 'NumPy')}, a language model of "
        f"{result['lm']['bytes'] / 2**20:.1f} MiB. Splits of {result['data']}: {hashes}."
    )
    return [*markdown([*headings, "lines/s", "from files"], rows, 1), *_notes(how)]


def beam_settings(result: Result) -> list[str]:
    """A row for each order, a column for each beam: error rate and processor time."""
    widths = list(dict.fromkeys(row["width"] for row in result["rows"]))
    rows: dict[int, list[str]] = {}
    for row in result["rows"]:
        start = [str(row["order"]), f"{row['bytes'] / 2**20:.1f}", f"{row['perplexity']:.2f}"]
        cells = rows.setdefault(row["order"], [*start, f"{row['weight']:g}, {row['bonus']:g}"])
        cells.append(f"{100 * row['cer']:.2f} ({row['milliseconds']:.2f} ms)")
    headings = ["order", "MiB", "perplexity", "weight, bonus", *(f"beam {width}" for width in widths)]
    what = (
        f"CER % on {result['lines']} validation lines, {100 * result['greedy']:.2f} greedy, and the processor's time "
        f"of the search for a line, in {result['search']}; weight and bonus were tuned on the same lines at beam 12."
    )
    data = result["data"]
    how = f"`{result['command']}`, {result['machine']}; {data['name']}/{data['split']} {data['hash']}."
    return [*markdown(headings, list(rows.values()), 1), *_notes(what, how)]


def calibration(result: Result) -> list[str]:
    """Calibration errors of each decoder, and what remains when the least sure lines are sent to a person."""
    rows, trades = [], []
    for decoder, found in result["decoders"].items():
        for what in ("characters", "words"):
            part = found[what]
            errors = [
                f"{100 * part['error'][k]:.2f}" if k in part["error"] else "" for k in ("shown", "odds", "calibrated")
            ]
            rows.append([decoder, what, f"{part['count']:,}", f"{100 * part['right']:.2f}", *errors])
        cells = [f"{100 * row['cer']:.2f} ({100 * row['lowest']:.2f})" for row in found["trade"]]
        trades.append([decoder, found["sorted_by"], *cells])
    shares = [f"{100 * row['share']:.0f} % sent" for row in found["trade"]]
    splits = ", ".join(f"{name} {split['hash']} ({split['lines']} lines)" for name, split in result["splits"].items())
    how = (
        f"`{result['command']}`, {result['machine']}. Chosen on the first and reported on the second split of "
        f"{result['data']}: {splits}. Expected calibration error over 15 bins; in brackets the lowest CER that any "
        "order of the lines could leave."
    )
    headings = ["decoder", "of", "number", "% right", "error % as commonly shown", "of the odds", "calibrated"]
    remains = markdown(["decoder", "sorted by", *(f"CER % of the rest, {share}" for share in shares)], trades, 2)
    return [*markdown(headings, rows, 2), "", *remains, *_notes(how)]


def builds(result: Result) -> list[str]:
    """A row for each engine of a preset."""
    rows = []
    for row in result["engines"]:
        sizes = [f"{row[size] / 2**20:.1f}" for size in ("bytes", "onnx_bytes")]
        rows.append([row["preset"], row["precision"].upper(), f"{row['seconds']:.1f}", *sizes])
    machine, generations = result["machine"], ", ".join(result["capabilities"])
    batch, width = (" to ".join(map(str, (some[0], some[-1]))) for some in result["profile"].values())
    how = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores, TensorRT-RTX {result['version']}: "
        f"each for {generations} in one file, {batch} lines of {width} pixels."
    )
    return [*markdown(["preset", "precision", "seconds", "engine MiB", "ONNX MiB"], rows, 2), *_notes(how)]


def proofs(result: Result) -> list[str]:
    """A row for each exported form of each model."""
    headings = ["data", "model", "form", "CER %", "change, points (95 %)", "lines that differ", "depend on the batch"]
    rows = []
    for proof in result["proofs"]:
        for check in proof["checks"]:
            mean, low, high = (f"{100 * value:+.3f}" for value in check["difference"])
            cells = [proof["data"], check["model"], check["form"], f"{100 * check['cer']:.2f}"]
            cells += [f"{mean} ({low} to {high})", str(check["differing"]), str(check["batch_sensitive"])]
            rows.append([*cells, "ok" if check["passed"] else check["note"]])
    splits = ", ".join(f"{p['data']}/{p['split']} {p['hash']} ({p['lines']} lines)" for p in result["proofs"])
    how = (
        f"`{result['command']}`, {result['machine']}: {splits}. Half precision is PyTorch's on the CPU, the files are "
        "run by ONNX Runtime; no engine was executed."
    )
    return [*markdown([*headings, "verdict"], rows, 3), *_notes(how)]


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
    return [*markdown(headings, rows, 2), *_notes(how)]


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
    return [*markdown(["", "lines/s, median (min–max)", "× first"], rows, 1), *_notes(how)]


def rtx(result: Result) -> list[str]:
    """Engines on one GPU: a row for each engine and batch size."""
    headings = ["model", "engine", "lines", "CER %", "to text ms", "execute ms (min–max)", "decode %", "KiB back"]
    rows = []
    for model in result["models"]:
        rates = {check["form"]: check["cer"] for check in model["checks"] if check["arithmetic"]}
        for row in model["engines"]:
            steps = ("upload_ms", "execute_ms", "download_ms", "host_ms")
            low, high = row["execute_range"]
            rate, share = rates.get(row["engine"]), row["decode_share"]
            cells = [model["name"], row["engine"], str(row["batch"]), "" if rate is None else f"{100 * rate:.2f}"]
            cells += [f"{sum(row[step] for step in steps):.3f}", f"{row['execute_ms']:.3f} ({low:.3f}–{high:.3f})"]
            rows.append([*cells, "" if share is None else f"{100 * share:.1f}", f"{row['bytes_down'] / 1024:.1f}"])
    kernel = [
        f"The decode kernel alone, {row['batch']} × {row['frames']} × {row['classes']}: {row['fp32_us']:.1f} µs in "
        f"FP32, {row['fp16_us']:.1f} µs in FP16."
        for row in result["kernel"]
    ]
    missing = [f"{step['name']}: {step['state']}, {step['reason']}." for step in result["steps"] if step["reason"]]
    data = ", ".join(f"{model['name']} {model['data']}" for model in result["models"])
    how = f"`{result['command']}`, {result['date'][:10]}, driver {result['gpu']['driver']}; lines: {data}."
    return [*markdown(headings, rows, 2), *_notes(how, *kernel, *missing)]


def peers(result: Result) -> list[str]:
    """Tables of recognisers: those trained on the data, those read zero-shot, and those with random weights."""
    batch, data, machine = result["settings"]["batch"], result["data"], result["machine"]
    speeds = [(source, lines) for source in ("files", "memory") for lines in (1, batch)]
    headings = ["", "runs in", "parameters", "MiB", "CER % (95 %)", "to the first, points (95 %)"]
    headings += [f"lines/s from {source}, batch {lines}" for source, lines in speeds] + ["otherwise alone"]
    titles = {"trained": "Trained on these data", "zero-shot": "Zero-shot", "speed": "Random weights: speed alone"}
    lines: list[str] = []
    for kind, title in titles.items():
        rows = [_peer(row, speeds) for row in result["rows"] if row["kind"] == kind]
        if rows:
            lines += [f"**{title}**", "", *markdown(headings, rows, 2), ""]
    settings = result["settings"]
    how = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores: {data['lines']} lines of "
        f"{data['name']}/{data['split']} ({data['hash']}), {settings['threads']} threads each, median of "
        f"{settings['rounds']} interleaved rounds, own preprocessing and decoding included. “Otherwise alone”: lines "
        f"that are read otherwise one by one than in batches of {batch}."
    )
    return [*lines, *_notes(how)[1:]]


def _peer(row: Result, speeds: list[tuple[str, int]]) -> list[str]:
    parameters = f"{row['parameters'] / 1e6:.2f} M" if row["parameters"] else ""
    size = f"{row['bytes'] / 2**20:.1f}" if row["bytes"] else ""
    name = f"`{row['name']}`" if row["ours"] else row["name"]
    if row["reason"]:
        return [name, row["reason"], parameters, size, *[""] * (len(speeds) + 3)]
    rate = with_interval(row["cer"], row["interval"]) if row["cer"] is not None else ""
    points = [f"{100 * value:+.2f}" for value in row["difference"] or ()]
    difference = "{} ({} to {})".format(*points) if points else ""
    found = [row["speeds"].get(f"{source}, batch {lines}") for source, lines in speeds]
    cells = [f"{speed['median']:.1f}" if speed else "" for speed in found]
    runs_in = f"{row['version']}; {row['arithmetic']}"
    return [name, runs_in, parameters, size, rate, difference, *cells, str(row["differing"])]


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
    return [*markdown(["sweep", "value", "lines/s (min–max)", "ms a line"], rows, 1), *_notes(how, *laws)]


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
    return [*lines, *_notes(how)[1:]]


RENDERERS: dict[str, Callable[[Result], list[str]]] = {
    "benchmark": benchmark,
    "seeds": seeds,
    "finetuning": finetuning,
    "adaptation": adaptation,
    "decode_cost": decode_cost,
    "decoders": decoders,
    "calibration": calibration,
    "beam_settings": beam_settings,
    "training_speed": training_speed,
    "scaling": scaling,
    "corpora": corpora,
    "peers": peers,
    "proofs": proofs,
    "builds": builds,
    "rtx": rtx,
}
"""Kind of result to what renders it."""
