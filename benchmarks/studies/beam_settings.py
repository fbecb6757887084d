"""How long n-grams and how wide a beam: `python benchmarks/studies/beam_settings.py MODEL --data DIR`.

Language models of several orders, and with `--sizes` of several sizes, are made of the training texts of the data or of
`--texts`. Each is tuned at the default beam, and the validation lines, whose logits are computed once, are decoded with
beams of several widths. Time is the processor's, of the decode alone, so that it means something on a busy machine.
"""

import itertools
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from benchmarks.timing import require_positive
from htrcompress import metrics, runs
from htrcompress.cli import run_command
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.decoding.batches import decode_all
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.compiled import compiled_search
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.decoding.tuning import tune
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model
from htrcompress.runtime.backend import Open, open_backend
from htrcompress.runtime.logits import logits_of
from htrcompress.utils import machine


@dataclass(frozen=True)
class BeamSettingsOptions:
    """Decodes validation lines with language models of several orders and beams of several widths."""

    model: str | Path | None = None
    """A model's file or name, or a run folder."""
    data: str | None = None
    """A dataset's folder, or several with commas between; what the model was trained on if not given."""
    texts: str | None = None
    """The datasets whose training texts the language models are made of, with commas between; those of --data if not
    given."""
    sizes: tuple[float, ...] = ()
    """MiB that each language model is pruned to, beside the whole one."""
    orders: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    """The longest n-grams, in characters."""
    widths: tuple[int, ...] = (4, 8, 12, 25, 64)
    """The beams."""
    lines: int = 400
    """At most so many validation lines, spread over the split."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(lines=self.lines)
        if not self.orders or not self.widths:
            raise HtrError("name at least one of --orders and one of --widths")


@dataclass(frozen=True)
class BeamSettings:
    """One row for each order and width; rates are fractions.

    Attributes:
        command: how this was measured.
        model: the model file's name.
        data: dataset, split and its hash.
        lines: how many were decoded.
        greedy: character error rate of greedy decoding.
        rows: order, the `size` in MiB that it was pruned to (None for the whole), bytes and perplexity of the language
            model, weight and bonus that it was tuned to, width, cer, and milliseconds of the processor for a line.
        search: what searched, `C++` or `NumPy`.
        machine: the processor.
    """

    command: str
    model: str
    data: dict[str, str]
    lines: int
    greedy: float
    rows: list[dict[str, Any]]
    search: str
    machine: str
    kind: str = "beam_settings"

    def __rich__(self) -> Any:
        from rich.table import Table

        title = f"{self.model}: greedy {100 * self.greedy:.2f} % on {self.lines} lines of {self.data['split']}"
        table = Table("order", "MiB", "weight", "bonus", "beam", "CER %", "CPU ms a line", title=title)
        for row in self.rows:
            size, cer = f"{row['bytes'] / 2**20:.1f}", f"{100 * row['cer']:.2f}"
            given = (row["order"], size, row["weight"], row["bonus"], row["width"], cer, f"{row['milliseconds']:.2f}")
            table.add_row(*map(str, given))
        return table


def compare_settings(options: BeamSettingsOptions) -> BeamSettings:
    """Makes the language models and decodes the validation lines with each.

    Raises:
        HtrError: the model or the data cannot be used.
    """
    file = runs.reader(options.model)
    backend = open_backend(file, Open(logits=True))
    card = backend.card
    source = options.data or runs.own_data(file, card)
    dataset = open_dataset(source, read_config(card))
    valid = dataset.split("valid")
    count = min(options.lines, len(valid))
    lines = [valid[i * len(valid) // count] for i in range(count)]
    truth, logits = [line.text for line in lines], logits_of(backend, lines)
    charset, rows, greedy = card.characters(), [], 0.0
    texts = (options.texts or source).split(",")
    for order, size in itertools.product(options.orders, (None, *options.sizes)):
        with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
            path = Path(scratch) / "letters.ngram"
            made = make_language_model(LmOptions(texts, order=order, size=size, out=path, data=source))
            model = load_ngram(path)
            tuned = tune(card, model, logits, truth, BeamOptions())
            greedy, settings = tuned.greedy, {"weight": f"{tuned.weight:g}", "bonus": f"{tuned.bonus:g}"}
            save_ngram(path, replace(model, settings=settings))
            language = open_language(LanguageOptions(path), charset)
            for width in options.widths:
                decoder = BeamDecoder(card, language, BeamOptions(width))
                row: dict[str, Any] = {"order": order, "size": size, "bytes": made.bytes, "width": width}
                row |= {"perplexity": made.perplexity, "weight": tuned.weight, "bonus": tuned.bonus}
                rows.append(row | _measured(decoder, logits, truth))
    result = BeamSettings(
        command_line(),
        file.name,
        {"name": dataset.name, "split": "valid", "hash": dataset.identity("valid")},
        count,
        greedy,
        rows,
        "C++" if compiled_search() else "NumPy",
        machine.processor(),
    )
    save(result, options.out)
    return result


def _measured(decoder: BeamDecoder, logits: list, truth: list[str]) -> dict[str, float]:
    """Error rate, and milliseconds of the processor for a line: the least of three rounds."""
    charset, times, texts = decoder.card.characters(), [], [""]
    for _ in range(3):
        start = time.process_time()
        labels = decode_all(decoder, logits)
        times.append(time.process_time() - start)
        texts = [charset.decode(row) for row in labels]
    return {"cer": metrics.cer(truth, texts), "milliseconds": 1000 * min(times) / len(truth)}


if __name__ == "__main__":
    run_command(compare_settings, positional="model")
