"""Makes a character language model for the beam search: `python -m htrcompress.lm TEXTS_OR_DATA --order 6 --out FILE`.

    python -m htrcompress.lm data/letters --out letters.ngram                      from a dataset's training texts
    python -m htrcompress.lm books/*.txt --order 7 --out books.ngram --arpa        from text files; ARPA as well
    python -m htrcompress.lm data/letters --size 2 --out small.ngram               at most 2 MiB
    python -m htrcompress.lm other.arpa --out other.ngram                          from another toolkit's model
    python -m htrcompress.lm letters.ngram --out here.ngram --tune student.onnx --data data/letters    tuned once more

The result is one file that `transcribe` and `evaluate` take with `--lm`; it holds the characters, where its text came
from, and, once it was tuned, its weight against the recogniser and the bonus for each character.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from htrcompress import runs
from htrcompress.card import is_printable
from htrcompress.cli import run_command
from htrcompress.errors import HtrError

if TYPE_CHECKING:
    from htrcompress.data.lines import Line
    from htrcompress.decoding.kneser_ney import Order
    from htrcompress.decoding.ngram import NGram
    from htrcompress.decoding.tuning import Tuned

HEADER = 8192
"""Bytes of a file that are left to its header, with --size."""


@dataclass(frozen=True)
class LmOptions:
    """Trains, converts or tunes a character language model."""

    texts: list[str]
    """Datasets (their training texts), text files with a line of writing in each row or with a word, a tab and how
    often it occurs, one .arpa file, or one .ngram file to tune."""
    order: int = 6
    """The longest n-gram, in characters."""
    size: float | None = None
    """At most so many MiB for the file: n-grams that are needed least are left out. All are kept if not given."""
    out: Path | None = None
    """The file to write, which ends in .ngram."""
    licence: str | None = None
    """Of the texts, with the attributions that they ask for: kept in the file."""
    arpa: bool = False
    """Write the model as an ARPA file as well, beside the .ngram file."""
    tune: str | Path | None = None
    """A model's file or name whose readings of --data decide the weight and the bonus."""
    words: Path | None = None
    """A list of words whose bonus is tuned with them; see `--lm.words` of `transcribe`."""
    data: str | None = None
    """The dataset that perplexity is measured and weights are tuned on; the first of the texts if not given."""
    split: str = "valid"
    """The split of that dataset."""

    def __post_init__(self) -> None:
        from htrcompress.decoding.kneser_ney import LARGEST_ORDER

        if not self.texts:
            raise HtrError("name the texts to learn from: datasets, text files, or one .arpa or .ngram file")
        if not 1 <= self.order <= LARGEST_ORDER:
            raise HtrError(f"--order must be from 1 to {LARGEST_ORDER}, not {self.order}")
        if self.out is None:
            raise HtrError("name the file to write with --out, such as --out letters.ngram")
        if self.out.suffix != ".ngram":
            raise HtrError(f"--out {self.out} must end in .ngram")
        if self.size is not None:
            if not 0 < self.size < float("inf"):
                raise HtrError(f"--size must be a number of MiB above 0, not {self.size}")
            if Path(self.texts[0].removesuffix(".gz")).suffix in (".arpa", ".ngram"):
                raise HtrError("--size needs the texts, in which n-grams are counted: it takes no .arpa or .ngram file")
        if self.licence is not None and not is_printable(self.licence):
            raise HtrError("--licence must be one line of printable characters")
        if self.arpa and Path(self.texts[0]).suffix == ".ngram":
            raise HtrError("--arpa is for models that are trained or converted here, not for one that is only tuned")
        if self.licence is not None and not is_printable(self.licence):
            raise HtrError("--licence must be one line of printable characters")
        if self.arpa and Path(self.texts[0]).resolve() == self.out.with_suffix(".arpa").resolve():
            raise HtrError(f"--arpa would replace {self.texts[0]}, which is read: name another --out")
        if self.words is not None and self.tune is None:
            raise HtrError("--words is for tuning its bonus: name a model with --tune")


@dataclass(frozen=True)
class LmResult:
    """The result of `make_language_model`.

    Attributes:
        path: the file that was written.
        order, states, bytes: its size.
        characters: number of characters that it knows.
        perplexity: for each character of `data`, line ends included; None without such data.
        tuned: what tuning found; None without --tune.
    """

    path: Path
    order: int
    states: int
    bytes: int
    characters: int
    perplexity: float | None
    tuned: "Tuned | None"

    def __rich__(self) -> str:
        text = f"{self.path}: order {self.order}, {self.characters} characters, {self.states:,} states, "
        text += f"{self.bytes / 2**20:.1f} MiB"
        if self.perplexity is not None:
            text += f"\nperplexity {self.perplexity:.2f} a character"
        if self.tuned is not None:
            before, after = (100 * value for value in (self.tuned.greedy, self.tuned.cer))
            text += f"\nweight {self.tuned.weight:g}, bonus {self.tuned.bonus:g}"
            if self.tuned.words_bonus is not None:
                text += f", for listed words {self.tuned.words_bonus:g}"
            text += f" on {self.tuned.lines} lines: "
            text += f"CER {before:.2f} % greedy, {after:.2f} % with it"
        return text


def make_language_model(options: LmOptions) -> LmResult:
    """Trains, converts or tunes a language model and writes it.

    Raises:
        HtrError: a text cannot be read or is empty, the order does not fit, or the model to tune with cannot be used.
    """
    from htrcompress.decoding.arpa import write_arpa
    from htrcompress.decoding.ngram_file import save_ngram

    assert options.out is not None
    held_out = _held_out(options)
    if options.tune is not None and held_out is None:
        raise HtrError("--tune needs lines to read: name a dataset with --data")
    model, orders = _model(options)
    tuned = None
    if options.tune is not None and held_out is not None:
        tuned = _tuned(options.tune, model, held_out, options.words)
        found = {"weight": tuned.weight, "bonus": tuned.bonus, "words_bonus": tuned.words_bonus}
        kept = {name: f"{value:g}" for name, value in found.items() if value is not None}
        settings = {name: value for name, value in model.settings.items() if name != "calibration"}  # of other weights
        model = replace(model, settings={**settings, **kept})
    if options.licence is not None:
        model = replace(model, settings={**model.settings, "licence": options.licence})
    save_ngram(options.out, model)
    if options.arpa and orders is not None:
        write_arpa(options.out.with_suffix(".arpa"), orders, model.charset)
    perplexity = model.perplexity([line.text for line in held_out]) if held_out else None
    size = options.out.stat().st_size
    characters = len(model.charset.characters)
    return LmResult(options.out, model.order, model.states, size, characters, perplexity, tuned)


def _model(options: LmOptions) -> "tuple[NGram, list[Order] | None]":
    """The model that the texts give, and its n-grams where it was made here."""
    from htrcompress.charset import Charset
    from htrcompress.decoding.arpa import read_arpa
    from htrcompress.decoding.entropy_pruning import pruned
    from htrcompress.decoding.kneser_ney import SPECIAL, count, estimate, symbol_bits
    from htrcompress.decoding.ngram import compile_orders, rounded
    from htrcompress.decoding.ngram_file import load_ngram

    kinds = {Path(text.removesuffix(".gz")).suffix for text in options.texts}
    if kinds & {".arpa", ".ngram"} and len(options.texts) > 1:
        raise HtrError("a .arpa or .ngram file stands alone: name no other texts beside it")
    if kinds == {".ngram"}:
        return load_ngram(Path(options.texts[0])), None
    names = {"from": ", ".join(Path(text).name for text in options.texts)}
    if kinds == {".arpa"}:
        orders, charset = read_arpa(Path(options.texts[0]))
        return compile_orders(orders, charset, names), orders
    lines = [line for text in options.texts for line in _lines(text)]
    charset = Charset.of(lines)
    known = {c: i + SPECIAL for i, c in enumerate(charset.characters)}
    size = len(charset.characters)
    grams = count(([known[c] for c in charset.on_page(line)] for line in lines), options.order, size)
    orders, names = estimate(grams, size), {**names, "lines": str(len(lines))}
    if options.size is None:
        return compile_orders(orders, charset, names), orders
    orders = pruned(orders, grams, symbol_bits(size), int(options.size * 2**20) - HEADER)
    return rounded(compile_orders(orders, charset, names)), orders


def _lines(source: str) -> list[str]:
    """The clean lines of a text file, text after a list of words with frequencies, or a dataset's training texts."""
    from htrcompress.charset import clean_text
    from htrcompress.data.readers.open import open_dataset
    from htrcompress.decoding.words import lines_of, read_words
    from htrcompress.utils.io import read_rows

    if Path(source).is_file():
        rows = read_rows(Path(source))
        if re.fullmatch(r"[^\t]+\t\d+\s*", rows[0]):
            return lines_of(read_words(Path(source)))
        return [text for line in rows if (text := clean_text(line))]
    return [line.text for line in open_dataset(source).split("train")]


def _held_out(options: LmOptions) -> "Sequence[Line] | None":
    """The lines that perplexity and weights are measured on; None where there are none."""
    from htrcompress.data.readers.open import open_dataset

    source = options.data
    if source is None:
        source = next((text for text in options.texts if not Path(text).is_file()), None)
    if source is None:
        return None
    dataset, asked = open_dataset(source), options.data or options.tune or options.split != LmOptions.split
    return dataset.split(options.split) if asked or dataset.splits.get(options.split) else None


def _tuned(model: str | Path, lm: "NGram", lines: "Sequence[Line]", words: Path | None) -> "Tuned":
    """Weight and bonuses for one recogniser on some lines."""
    from htrcompress.decoding.beam import BeamDecoder, BeamOptions
    from htrcompress.decoding.language import Language, Scorer
    from htrcompress.decoding.tuning import tune
    from htrcompress.decoding.words import compile_words, read_words
    from htrcompress.runtime.backend import Open, open_backend
    from htrcompress.runtime.logits import logits_of

    backend = open_backend(runs.reader(model), Open(logits=True))
    card = backend.card
    listed = None if words is None else compile_words(read_words(words), card.characters())
    BeamDecoder(card, Language((Scorer(lm, 1.0),))).report_unknown()
    return tune(card, lm, logits_of(backend, lines), [line.text for line in lines], BeamOptions(), listed)


if __name__ == "__main__":
    run_command(make_language_model, positional="texts")
