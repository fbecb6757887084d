"""How long n-grams and how wide a beam should be: `python benchmarks/studies/beam_settings.py MODEL --data DIR`.

A character n-gram of each order is made from the training texts and tuned on the validation lines, which then say the
error rate with it; the order with the lowest one is searched with beams of several widths. Nothing is read but the
training texts and the validation lines, so the test lines stay unseen.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import command_line, save
from htrcompress import metrics, runs
from htrcompress.card import Card
from htrcompress.cli import console, run_command
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.decoding.batches import decode_all
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import Language, Scorer
from htrcompress.decoding.ngram import NGram
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.decoding.tuning import Tuned, tune
from htrcompress.lm import LmOptions, make_language_model
from htrcompress.runtime.backend import Open, open_backend
from htrcompress.runtime.logits import logits_of
from htrcompress.utils import machine


@dataclass(frozen=True)
class BeamSettingsOptions:
    """Compares orders of n-grams and widths of beams on validation lines."""

    model: str | Path | None = None
    """A model's file or name, or a run folder."""
    data: str | None = None
    """A dataset; what the model was trained on if not given."""
    split: str = "valid"
    """The split to read."""
    orders: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    """Orders of the n-grams."""
    widths: tuple[int, ...] = (4, 8, 12, 16, 32, 64)
    """Widths of the beam."""
    threads: int = 2
    """CPU threads of the network."""
    out: Path | None = None
    """A JSON file for the result."""


@dataclass(frozen=True)
class BeamSettings:
    """What `compare_settings` found; rates are fractions.

    Attributes:
        command: how.
        model, data, split: what was read, with the split's hash and lines.
        greedy: CER of greedy decoding.
        orders: `order`, `bytes` and `perplexity` of each language model, and `weight`, `bonus` and `cer` after tuning.
        order: the one that the widths were measured with.
        widths: `width` and `cer`.
        machine: the processor.
    """

    command: str
    model: str
    data: str
    split: dict[str, Any]
    greedy: float
    orders: list[dict[str, float]]
    order: int
    widths: list[dict[str, float]]
    machine: str
    kind: str = "beam_settings"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("", "CER %", "", title=f"{self.model}: {100 * self.greedy:.2f} % greedy")
        for row in self.orders:
            size = f"{row['bytes'] / 2**20:.1f} MiB, perplexity {row['perplexity']:.2f}"
            table.add_row(f"order {row['order']}", f"{100 * row['cer']:.2f}", size)
        for row in self.widths:
            table.add_row(f"width {row['width']}", f"{100 * row['cer']:.2f}", f"order {self.order}")
        return table


def compare_settings(options: BeamSettingsOptions) -> BeamSettings:
    """Tunes a language model of each order, and reads with beams of several widths.

    Raises:
        HtrError: the model or the data cannot be used.
    """
    file = runs.reader(options.model)
    backend = open_backend(file, Open(options.threads, "cpu", logits=True))
    source = options.data or runs.own_data(file, backend.card)
    dataset = open_dataset(source, read_config(backend.card))
    lines = dataset.split(options.split)
    logits, truth = logits_of(backend, lines), [line.text for line in lines]
    found: list[tuple[dict[str, float], NGram, Tuned]] = []
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        for order in options.orders:
            with console.status(f"order {order}"):
                path = Path(scratch, f"{order}.ngram")
                made = make_language_model(LmOptions([source], order, path, data=source, split=options.split))
                lm = load_ngram(path)
                tuned = tune(backend.card, lm, logits, truth, BeamOptions())
            row = {"order": order, "bytes": made.bytes, "perplexity": made.perplexity or 0.0}
            found.append((row | {name: getattr(tuned, name) for name in ("weight", "bonus", "cer")}, lm, tuned))
        best, lm, tuned = min(found, key=lambda entry: entry[0]["cer"])
        language = Language((Scorer(lm, tuned.weight),), tuned.bonus)
        widths = [_with_width(backend.card, language, width, logits, truth) for width in options.widths]
    result = BeamSettings(
        command_line("benchmarks/studies/beam_settings.py"),
        file.name,
        dataset.name,
        {"name": options.split, "hash": dataset.identity(options.split), "lines": len(truth)},
        tuned.greedy,
        [row for row, _, _ in found],
        int(best["order"]),
        widths,
        machine.processor(),
    )
    save(result, options.out)
    return result


def _with_width(
    card: Card, language: Language, width: int, logits: Sequence[NDArray[np.float32]], truth: Sequence[str]
) -> dict[str, float]:
    charset = card.characters()
    decoder = BeamDecoder(card, language, replace(BeamOptions(), width=width))
    texts = [charset.decode(labels) for labels in decode_all(decoder, logits)]
    return {"width": width, "cer": metrics.cer(truth, texts)}


if __name__ == "__main__":
    run_command(compare_settings, positional="model")
