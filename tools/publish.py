"""Makes a trained model one that ships: `python tools/publish.py MODEL --out models/NAME.safetensors`.

The weights are rounded to FP16, the rounded model reads every test split, and its figures, the splits' hashes,
licence and attribution go onto the card. Weights only: nothing of a line's image is in the file.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.splits import Split, test_splits
from htrcompress import runs
from htrcompress.card import Card
from htrcompress.cli import run_command
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_model, save_model
from htrcompress.runtime import Recognizer, load

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


@dataclass(frozen=True)
class PublishOptions:
    """Rounds a model to FP16, measures it on test splits and writes it with those figures on its card."""

    model: Path | None = None
    """The trained file."""
    out: Path | None = None
    """The file to write; its name becomes the card's."""
    data: str | None = None
    """The dataset; what the model was trained on if not given. Of several, with commas between, each is read by itself,
    and their splits are called `corpus/split` on the card."""
    licence: str | None = None
    """Of the weights, with the attributions that the data asks for; what the trained file's card says if not given."""
    splits: str | None = None
    """The test splits, with commas between; all of them if not given."""


def publish(options: PublishOptions) -> Published:
    """Rounds a model to FP16, measures it on test splits and writes it with those figures on its card.

    Raises:
        HtrError: a file cannot be used, or the result is larger than what ships.
    """
    if options.model is None or options.out is None:
        raise HtrError("name the trained file and, with --out, the file to write")
    if options.out.resolve() == options.model.resolve():
        raise HtrError(f"--out {options.out} is the trained file itself, which would lose its precision: name another")
    network, card = load_model(options.model)
    source = options.data or runs.own_data(options.model, card)
    dataset = open_dataset(source, read_config(card))
    splits = splits_of(source, card, options.splits)
    licence = options.licence or card.licence or "Apache-2.0"
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        rounded = Path(scratch, options.out.name)
        save_model(rounded, network.half(), replace(card, name=options.out.stem, licence=licence))
        if rounded.stat().st_size > LARGEST:
            raise HtrError(f"{options.model} has more than {LARGEST // 2**20} MiB in FP16: it is too large to ship")
        recognizer = load(rounded)
        scores = {name: measure(recognizer, split) for name, split in splits.items()}
    trained = card.data.get("splits", {}).get("train", {}).get("hash")
    same = "train" in dataset.splits and dataset.identity("train") == trained
    named = card.data.get("name") or dataset.name  # no folder of this machine
    if same and options.data and not Path(options.data).is_absolute():
        named = options.data
    known = {name: row for name, row in card.metrics.items() if name == "valid"}
    card = replace(
        card, name=options.out.stem, licence=licence, metrics=known | scores, data={**card.data, "path": named}
    )
    save_model(options.out, network.half(), card)
    return Published(options.out, options.out.stat().st_size, scores)


def splits_of(source: str, card: Card, names: str | None = None) -> dict[str, Split]:
    """The test splits of a dataset, or of several with commas between, by what the card calls them.

    Args:
        source: the datasets.
        card: of the model that reads them.
        names: the splits, with commas between; all test splits if None.

    Raises:
        HtrError: a dataset cannot be used, or has none of the splits.
    """
    found: dict[str, Split] = {}
    for one in source.split(","):
        dataset = open_dataset(one, read_config(card))
        prefix = f"{dataset.name}/" if "," in source else ""
        wanted = [name for name in names.split(",") if not prefix or name in dataset.splits] if names else None
        found |= {prefix + name: Split(dataset, name) for name in wanted or test_splits(dataset)}
    return found


def measure(recognizer: Recognizer, split: Split) -> dict[str, Any]:
    """CER, WER and interval of a split; a line that cannot be read counts as an empty reading."""
    score = split.compare(split.read(recognizer, BATCH))
    low, high = score.interval()
    row = {"cer": score.cer, "wer": score.wer, "interval": [low, high]}
    return {**row, "lines": len(split.lines), "hash": split.hash}


if __name__ == "__main__":
    run_command(publish, positional="model")
