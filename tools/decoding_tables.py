"""The Markdown of what studies of decoders found; see `tables.py`."""

from typing import Any

from benchmarks.results import markdown
from tools.markdown import notes, with_interval

Result = dict[str, Any]


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
    return [*markdown([*headings, "lines/s", "from files"], rows, 1), *notes(how)]


def beam_settings(result: Result) -> list[str]:
    """A row for each order, a column for each beam: error rate and processor time."""
    widths = list(dict.fromkeys(row["width"] for row in result["rows"]))
    rows: dict[tuple[int, int], list[str]] = {}
    for row in result["rows"]:
        start = [str(row["order"]), f"{row['bytes'] / 2**20:.1f}", f"{row['perplexity']:.2f}"]
        cells = rows.setdefault((row["order"], row["bytes"]), [*start, f"{row['weight']:g}, {row['bonus']:g}"])
        cells.append(f"{100 * row['cer']:.2f} ({row['milliseconds']:.2f} ms)")
    headings = ["order", "MiB", "perplexity", "weight, bonus", *(f"beam {width}" for width in widths)]
    what = (
        f"CER % on {result['lines']} validation lines, {100 * result['greedy']:.2f} greedy, and the processor's time "
        f"of the search for a line, in {result['search']}; weight and bonus were tuned on the same lines at beam 12."
    )
    data = result["data"]
    how = f"`{result['command']}`, {result['machine']}; {data['name']}/{data['split']} {data['hash']}."
    return [*markdown(headings, list(rows.values()), 1), *notes(what, how)]


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
    return [*markdown(headings, rows, 2), "", *remains, *notes(how)]


def ngrams(result: Result) -> list[str]:
    """For each model a row for each decoder: error rates in every corpus, what they gain, and speed."""
    splits, settings = result["splits"], result["settings"]
    rows = []
    for model in result["models"].values():
        for decoder, found in model["decoders"].items():
            row = [f"`{model['name']}`, {model['precision']}", decoder]
            for key in splits:
                score = found["scores"][key]
                mean, low, high = (f"{100 * value:+.2f}" for value in score["difference"])
                gain = f"; {mean} ({low} to {high})" if decoder != "greedy" else ""
                row.append(f"{with_interval(score['cer'], score['interval'])}{gain}")
            rows.append(
                [*row, *(f"{found[kind]['median']:.0f}" if found[kind] else "" for kind in ("memory", "files"))]
            )
    headings = ["model", "decoder", *(f"CER % {key} (95 %); to greedy, points (95 %)" for key in splits)]
    made = "; ".join(
        f"`{name}` has {lm['bytes'] / 2**20:.1f} MiB (order {lm['order']}, weight {lm['weight']}, bonus {lm['bonus']})"
        for name, lm in result["lms"].items()
    )
    hashes = ", ".join(f"{key} {split['hash']} ({split['lines']} lines)" for key, split in splits.items())
    timed = (
        f"; speeds: {settings['lines']} lines of all corpora, median of {settings['rounds']} interleaved rounds"
        if settings["rounds"]
        else "; speeds were not measured"
    )
    how = (
        f"`{result['command']}`, {result['machine']}, {settings['threads']} threads, batch {settings['batch']}; the "
        f"search in {result['search']}{timed}. Language models: {made}. Splits: {hashes}."
    )
    return [*markdown([*headings, "lines/s", "from files"], rows, 2), *notes(how)]
