"""The Markdown of committed results: one function for each kind of result, which gives its table and its notes.

Those of studies are in `study_tables.py` and `decoding_tables.py`.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.results import FOLDER, markdown
from tools import decoding_tables, study_tables
from tools.markdown import notes, with_interval

NOT_EXECUTED = "built, not executed"

Result = dict[str, Any]


def render(result: Result) -> list[str]:
    """The lines of a result's table and notes, by its `kind`."""
    return RENDERERS[result["kind"]](result)


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
    lines = [*markdown(headings, rows, 2), *notes(how, *map(_difference, result["differences"]))]
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
    return [*markdown(["preset", "precision", "seconds", "engine MiB", "ONNX MiB"], rows, 2), *notes(how)]


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
    return [*markdown([*headings, "verdict"], rows, 3), *notes(how)]


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
    return [*markdown(headings, rows, 2), *notes(how, *kernel, *missing)]


def peers(result: Result) -> list[str]:
    """Tables of recognisers, corpus by corpus: those trained on it, those that never saw it, and random weights."""
    settings, machine = result["settings"], result["machine"]
    batch = settings["batch"]
    speeds = [(source, lines) for source in ("files", "memory") for lines in (1, batch)]
    headings = ["", "runs in", "parameters", "MiB", "CER % (95 %)", "to the first, points (95 %)"]
    headings += [f"lines/s from {source}, batch {lines}" for source, lines in speeds] + ["otherwise alone"]
    titles = {
        "trained": "trained on lines of this corpus",
        "zero-shot": "zero-shot",
        "speed": "random weights, for the speed alone",
    }
    lines: list[str] = []
    for corpus in result["corpora"]:
        for kind, title in titles.items():
            rows = [_peer(row, speeds) for row in corpus["rows"] if row["kind"] == kind]
            if rows:
                name = f"{corpus['name']}/{corpus['split']}"
                lines += [f"**{name}: {title}**", "", *markdown(headings, rows, 2), ""]
    read = [
        f"{corpus['name']}/{corpus['split']} ({corpus['hash']}): {corpus['lines']} lines for the error rates, "
        f"{corpus['timed']} for the speeds"
        for corpus in result["corpora"]
    ]
    how = (
        f"`{result['command']}`, {machine['processor']}, {machine['cores']} cores. {'; '.join(read)}. "
        f"{settings['threads']} threads each, median of {settings['rounds']} interleaved rounds, own preprocessing and "
        f"decoding included. “Otherwise alone”: timed lines that are read otherwise one by one than in batches of "
        f"{batch}."
    )
    return [*lines, *notes(how)[1:]]


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
    return [
        name,
        runs_in,
        parameters,
        size,
        rate,
        difference,
        *cells,
        "" if row["differing"] is None else str(row["differing"]),
    ]


RENDERERS: dict[str, Callable[[Result], list[str]]] = {
    "benchmark": benchmark,
    "seeds": study_tables.seeds,
    "finetuning": study_tables.finetuning,
    "adaptation": study_tables.adaptation,
    "crops": study_tables.crops,
    "decode_cost": study_tables.decode_cost,
    "decoders": decoding_tables.decoders,
    "calibration": decoding_tables.calibration,
    "ngrams": decoding_tables.ngrams,
    "beam_settings": decoding_tables.beam_settings,
    "training_speed": study_tables.training_speed,
    "scaling": study_tables.scaling,
    "corpora": study_tables.corpora,
    "peers": peers,
    "proofs": proofs,
    "builds": builds,
    "rtx": rtx,
}
"""Kind of result to what renders it."""
