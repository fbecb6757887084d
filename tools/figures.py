"""Writes the tables of README and docs, and their plot, from the committed results: `python tools/figures.py`.

`docs/benchmarks.md` gets a table for each file of `benchmarks/results/`, with the command that made it, and the README
the table of shipped models from the cards of `models/`, so no figure stands there that nobody measured. `make test`
fails where a page and the results differ.
"""

import json
from pathlib import Path

from benchmarks.peer_rows import Peers
from benchmarks.results import FOLDER, markdown, read
from htrcompress.catalogue import DEFAULT
from tools.plot import drawing
from tools.tables import render

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- tables: written by tools/figures.py -->", "<!-- end of tables -->"
TITLES = {
    "corpora": "The models that ship, in every corpus",
    "crops": "Lines cut or scanned in another way: `latin-s` before its second stage, and as it ships",
    "crops_latin": "Lines cut or scanned in another way: `latin` before its third stage, and as it ships",
    "demo": "The demo: built-in handwriting, tiny presets",
    "speed": "Speed on real lines, full sizes with random weights",
    "hooker_en": "Real handwriting: hooker_en (`teacher` has the size `student`, `student` and `control` that of "
    "`student-s`; `pruned` does half the teacher's work)",
    "copiste_fr": "Real handwriting: copiste_fr, `student-s` trained alone",
    "ngrams": "The language models that ship, in every corpus",
    "decoders": "Beam search and a language model: hooker_en, `hooker_en-student` in INT8",
    "decoders_fr": "Beam search and a language model: copiste_fr, FP32",
    "ngram_sizes": "Orders and sizes of the language models that ship: `latin-s` in INT8, validation lines",
    "beam_settings": "Orders of n-grams and widths of the beam: `hooker_en-student` in INT8, validation lines",
    "beam_settings_fr": "Orders of n-grams and widths of the beam: copiste_fr, validation lines",
    "calibration": "Confidences: hooker_en, `hooker_en-student`",
    "calibration_fr": "Confidences: copiste_fr",
    "proofs": "Every exported form beside the model in PyTorch (`export.verify`)",
    "distillation": "Distilled against trained alone: hooker_en",
    "distillation_fr": "Distilled against trained alone: copiste_fr",
    "recurrent": "A recurrent teacher of a convolutional student, `tiny` presets",
    "language": "A language model's help, equal steps (`intermediate`: CTC at the layer that it looks at)",
    "language_time": "A language model's help, equal time (alone on a core: 99 lines/s, 95 and 23)",
    "pretraining": "Built-in handwriting first, then real lines",
    "transfer": "Another corpus first: `student-s` on hooker_en from nothing, and after copiste_fr",
    "builds": "TensorRT-RTX engines of every preset, random weights: built, not executed",
    "decode": "What the decode in the graph costs",
    "finetune": "A few lines of a new hand",
    "scaling": "How reading time grows",
    "peers": "Beside other recognisers",
    "training": "Training on two cores, and what makes it fast",
}
"""Results in the order of the page, and their headings."""


def benchmark_page() -> str:
    """All tables, between the markers."""
    parts = [BEGIN, ""]
    for name, title in TITLES.items():
        if not (FOLDER / f"{name}.json").is_file():
            continue  # not measured yet
        result = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        parts += [f"## {title}", "", *render(result), ""]
    for path in sorted(FOLDER.glob("rtx-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        parts += [f"## {result['gpu']['name']}: engines executed", "", *render(result), ""]
    return "\n".join([*parts, END])


def adaptation_table() -> str:
    """What lines of a new hand gain, between the markers."""
    path = FOLDER / "adaptation.json"
    measured = render(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ["Not measured yet.", ""]
    return "\n".join([BEGIN, "", *measured, END])


SHIPPED = {
    "latin": "French and English, many hands, 16th to 20th century",
    "latin-s": "the same, smaller; the model that reads where none is named",
    "copiste_fr": "French, modern, many hands",
    "hooker_en-student": "English, one hand, 1870s to 1911",
}
"""The models that most users want, and what each reads."""


def model_table() -> str:
    """These models, between the markers, as `benchmarks/studies/corpora.py` measured them."""
    result = json.loads((FOLDER / "corpora.json").read_text(encoding="utf-8"))
    splits = {key: split for key, split in result["splits"].items() if "unseen_text" not in key}
    forms = {(row["name"], row["precision"]): row for row in result["rows"]}
    headings = ["model", "reads", "parameters", *(f"CER % {key}" for key in splits), "lines/s, FP32 and INT8"]
    rows = []
    for name, reads in SHIPPED.items():
        fp32, int8 = forms[name, "FP32"], forms[name, "INT8"]
        rates = [f"{100 * fp32['scores'][key]['cer']:.1f}" for key in splits]
        speeds = " and ".join(f"{form['files']['median']:.0f}" for form in (fp32, int8))
        rows.append([f"`{name}`", reads, f"{fp32['parameters'] / 1e6:.2f} M", *rates, speeds])
    note = (
        f"Speeds: ONNX Runtime on {result['settings']['threads']} threads of an {result['machine']}, from image files; "
        "[intervals, splits and more models](docs/benchmarks.md#the-models-that-ship-in-every-corpus)."
    )
    return "\n".join([BEGIN, "", *markdown(headings, rows, 2), "", note, "", *language_note(), END])


def language_note() -> list[str]:
    """What the language model inside the package gains for the default model; nothing if that was not measured."""
    path = FOLDER / "ngrams.json"
    if not path.is_file():
        return []
    result = json.loads(path.read_text(encoding="utf-8"))
    [decoders] = [row["decoders"] for row in result["models"].values() if row["name"] == DEFAULT]
    found, greedy = (decoders[name]["scores"] for name in (f"beam, {DEFAULT}", "greedy"))
    rates = [
        f"{100 * greedy[key]['cer']:.1f} to {100 * found[key]['cer']:.1f} on {key}"
        for key in result["splits"]
        if "unseen_text" not in key
    ]
    name = decoders[f"beam, {DEFAULT}"]["lm"]
    what = f"`--lm {name}`, a language model inside the package, takes the INT8 file of `{DEFAULT}` from"
    return [f"{what} {', '.join(rates)} ([language models](docs/decoders.md#language-models-that-ship)).", ""]


def updated(page: str, section: str) -> str:
    """A page with the section between its markers replaced."""
    before, _, rest = page.partition(BEGIN)
    return before + section + rest.partition(END)[2]


PLOT = "docs/pareto.svg"


def plot() -> str:
    """Our models beside other recognisers."""
    path = FOLDER / "peers.json"
    return drawing(read(path, Peers), str(path))[0]


PAGES = {"README.md": model_table, "docs/benchmarks.md": benchmark_page, "docs/adaptation.md": adaptation_table}
"""Page to what makes its section."""


if __name__ == "__main__":
    for name, make in PAGES.items():
        page = ROOT / name
        page.write_text(updated(page.read_text(encoding="utf-8"), make()), encoding="utf-8", newline="\n")
        print(f"written: {name}")
    (ROOT / PLOT).write_text(plot(), encoding="utf-8", newline="\n")
    print(f"written: {PLOT}")
