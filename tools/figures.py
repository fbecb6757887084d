"""Writes the tables of README and docs from the committed results: `python tools/figures.py`.

`docs/benchmarks.md` gets a table for each file of `benchmarks/results/`, with the command that made it, and the README
the table of shipped models from the cards of `models/`, so no figure stands there that nobody measured. `make test`
fails where a page and the results differ.
"""

import json
from pathlib import Path

from benchmarks.results import FOLDER, markdown
from htrcompress.card import Card
from tools.tables import render, with_interval

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- tables: written by tools/figures.py -->", "<!-- end of tables -->"
TITLES = {
    "demo": "The demo: built-in handwriting, tiny presets",
    "speed": "Speed on real lines, full sizes with random weights",
    "hooker_en": "Real handwriting: hooker_en (`teacher` has the size `student`, `student` and `control` that of "
    "`student-s`; `pruned` does half the teacher's work)",
    "copiste_fr": "Real handwriting: copiste_fr, `student-s` trained alone",
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
    "training": "Training on two cores, and what makes it fast",
}
"""Results in the order of the page, and their headings."""


def benchmark_page() -> str:
    """All tables, between the markers."""
    parts = [BEGIN, ""]
    for name, title in TITLES.items():
        result = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        parts += [f"## {title}", "", *render(result), ""]
    for path in sorted(FOLDER.glob("rtx-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        parts += [f"## {result['gpu']['name']}: engines executed", "", *render(result), ""]
    return "\n".join([*parts, END])


def model_table() -> str:
    """The shipped models by their own cards, between the markers."""
    from htrcompress.models.serialization import load_card

    rows = [_model(path, load_card(path)) for path in sorted((ROOT / "models").glob("*.safetensors"))]
    headings = ["model", "reads", "CER % on its test split (95 %)", "MiB"]
    return "\n".join([BEGIN, "", *markdown(headings, rows, 2), "", END])


def _model(path: Path, card: Card) -> list[str]:
    test = card.metrics.get("test")
    rate = with_interval(test["cer"], test["interval"]) if test else ""
    return [f"`{path.stem}`", str(card.data.get("name", "")), rate, f"{path.stat().st_size / 2**20:.1f}"]


def updated(page: str, section: str) -> str:
    """A page with the section between its markers replaced."""
    before, _, rest = page.partition(BEGIN)
    return before + section + rest.partition(END)[2]


PAGES = {"README.md": model_table, "docs/benchmarks.md": benchmark_page}
"""Page to what makes its section."""


if __name__ == "__main__":
    for name, make in PAGES.items():
        page = ROOT / name
        page.write_text(updated(page.read_text(encoding="utf-8"), make()), encoding="utf-8", newline="\n")
        print(f"written: {name}")
