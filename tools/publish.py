"""Makes a trained model one that ships: `python tools/publish.py MODEL --out models/NAME.safetensors`.

The weights are rounded to FP16, the rounded model reads every test split, and its figures, the splits' hashes,
licence and attribution go onto the card. Weights only: nothing of a line's image is in the file.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.splits import Split, test_splits
from htrcompress.cli import run_command
from htrcompress.data.readers.open import default_data, open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_model, save_model
from htrcompress.runtime import Recognizer, load
from htrcompress.utils import machine

LARGEST = 20 * 2**20
"""Bytes of a file that ships."""
BATCH = 32


@dataclass(frozen=True)
class Published:
    """A file that ships, and what it scores: split to CER, WER, lines, interval (fractions) and hash."""

    path: Path
    bytes: int
    metrics: dict[str, Any]

    def __rich__(self) -> str:
        scores = ", ".join(f"{split} {100 * row['cer']:.2f} %" for split, row in self.metrics.items())
        return f"{self.path}: {self.bytes / 2**20:.1f} MiB, CER {scores}"


def publish(
    model: Path | None = None,
    out: Path | None = None,
    data: str | None = None,
    licence: str | None = None,
    splits: str | None = None,
) -> Published:
    """Rounds a model to FP16, measures it on test splits and writes it with those figures on its card.

    Args:
        model: the trained file.
        out: the file to write; its name becomes the card's.
        data: the dataset; what the model was trained on if not given.
        licence: of the weights, with the attributions that the data asks for; what the trained file's card says if
            not given.
        splits: the test splits, with commas between; all of them if not given.

    Raises:
        HtrError: a file cannot be used, or the result is larger than what ships.
    """
    if model is None or out is None:
        raise HtrError("name the trained file and, with --out, the file to write")
    if out.resolve() == model.resolve():
        raise HtrError(f"--out {out} is the trained file itself, which would lose its precision: name another")
    network, card = load_model(model)
    dataset = open_dataset(data or default_data(card), read_config(card))
    names = splits.split(",") if splits else test_splits(dataset)
    licence = licence or card.licence or "Apache-2.0"
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        rounded = Path(scratch, out.name)
        save_model(rounded, network.half(), replace(card, name=out.stem, licence=licence))
        if rounded.stat().st_size > LARGEST:
            raise HtrError(f"{model} has more than {LARGEST // 2**20} MiB in FP16: it is too large to ship")
        recognizer = load(rounded)
        scores = {name: _measure(recognizer, Split(dataset, name)) for name in names}
    trained = card.data.get("splits", {}).get("train", {}).get("hash")
    same = "train" in dataset.splits and dataset.identity("train") == trained
    named = card.data.get("name") or dataset.name  # no folder of this machine
    if same and data and not Path(data).is_absolute():
        named = data
    known = {name: row for name, row in card.metrics.items() if name == "valid"}
    card = replace(card, name=out.stem, licence=licence, metrics=known | scores, data={**card.data, "path": named})
    save_model(out, network.half(), card)
    return Published(out, out.stat().st_size, scores)


def _measure(recognizer: Recognizer, split: Split) -> dict[str, Any]:
    """CER, WER and interval of a split; a line that cannot be read counts as read as nothing."""
    score = split.compare(split.read(recognizer, BATCH))
    low, high = score.interval()
    row = {"cer": score.cer, "wer": score.wer, "interval": [low, high]}
    return {**row, "lines": len(split.lines), "hash": split.hash}


if __name__ == "__main__":
    machine.tune_allocator()
    run_command(publish, positional="model")
