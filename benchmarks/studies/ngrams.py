"""What language models gain for several models in several corpora: `python benchmarks/studies/ngrams.py MODEL,MODEL`.

    python benchmarks/studies/ngrams.py latin-s,models/latin --lms latin-s,models/latin \
        --data data/hooker_en,data/copiste_fr,data/hands_fr --out benchmarks/results/ngrams.json

Every model reads the test splits of every corpus greedily, with a beam search alone, and with each language model; the
error rates are compared line by line with those of greedy decoding. The network computes each split once. Then each
decoder is timed on lines of all corpora, in memory and from image files, in interleaved rounds.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from benchmarks.splits import Split, sample_of_corpora, splits_of_corpora
from benchmarks.timing import Spread, measure, require_positive
from htrcompress import metrics, runs
from htrcompress.card import Card
from htrcompress.cli import run_command
from htrcompress.decoding.base import Decoder, GreedyDecoder
from htrcompress.decoding.batches import decode_all
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.compiled import compiled_search
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.errors import HtrError
from htrcompress.runtime import Recognizer, load
from htrcompress.runtime.backend import precision_of
from htrcompress.runtime.logits import logits_of
from htrcompress.utils import machine

GREEDY = "greedy"


@dataclass(frozen=True)
class NgramsOptions:
    """Reads the test splits of several corpora with several models, each with and without language models."""

    models: str | None = None
    """The models' names or files, with commas between."""
    lms: str | None = None
    """The language models' names or files, with commas between."""
    data: str | None = None
    """The corpora's folders, with commas between."""
    wide: int = 25
    """A wider beam, with which the last language model reads once more."""
    batch: int = 32
    """Lines in a batch."""
    threads: int = 2
    """CPU threads."""
    lines: int = 96
    """How many lines are timed, the same number of each corpus."""
    rounds: int = 5
    """Timed rounds; 0 times nothing."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(wide=self.wide, batch=self.batch, threads=self.threads, lines=self.lines)
        if self.rounds < 0:
            raise HtrError(f"--rounds must be 0 or more, not {self.rounds}")
        for name in ("models", "lms", "data"):
            if not getattr(self, name):
                raise HtrError(f"--{name} is missing: name one or several, with commas between")


@dataclass(frozen=True)
class Reads:
    """How a decoder is made.

    Attributes:
        lm: the language model; None for none.
        beam: how it searches; None for greedy decoding.
    """

    lm: LanguageOptions = LanguageOptions()
    beam: BeamOptions | None = None

    def decoder(self, card: Card) -> Decoder:
        """For logits that are there."""
        if self.beam is None:
            return GreedyDecoder(card)
        return BeamDecoder(card, open_language(self.lm, card.characters()), self.beam)

    def recognizer(self, file: Path, threads: int) -> Recognizer:
        """From pixels on."""
        if self.beam is None:
            return load(file, threads, "cpu")
        return load(file, threads, "cpu", "beam", self.lm, self.beam)


@dataclass(frozen=True)
class NgramsResult:
    """Decoders of several models; rates are fractions.

    Attributes:
        command: how this was measured.
        splits: corpus and split to its lines and hash.
        lms: language model to its file, bytes, order, weight and bonus.
        models: model file to its `name`, `precision`, and `decoders`: decoder to `lm`, `width`, `scores` (corpus and
            split to cer, interval, wer, and the difference to greedy decoding with its paired 95 % interval), and lines
            per second from `memory` and from `files`, None where nothing was timed.
        settings: batch, threads, timed lines, rounds.
        machine: the processor.
        search: what searches, `C++` (`python -m htrcompress.native`) or `NumPy`.
    """

    command: str
    splits: dict[str, Any]
    lms: dict[str, Any]
    models: dict[str, Any]
    settings: dict[str, int]
    machine: str
    search: str
    kind: str = "ngrams"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("model", "decoder", *(f"CER % {key}" for key in self.splits), "lines/s", "from files")
        for file, row in self.models.items():
            for decoder, found in row["decoders"].items():
                rates = (f"{100 * found['scores'][key]['cer']:.2f}" for key in self.splits)
                speeds = (f"{found[kind].median:.0f}" if found[kind] else "" for kind in ("memory", "files"))
                table.add_row(file, decoder, *rates, *speeds)
        return table


def compare_ngrams(options: NgramsOptions) -> NgramsResult:
    """Reads all test splits of every corpus with every model and every decoder, and times them.

    Raises:
        HtrError: a model, a language model or a corpus cannot be used.
    """
    assert options.models and options.lms and options.data
    files = [runs.reader(name) for name in options.models.split(",")]
    names = options.lms.split(",")
    if len({file.name for file in files}) < len(files):
        raise HtrError(f"--models {options.models}: two of the files have the same name")
    reads = {GREEDY: Reads(), "beam": Reads(beam=BeamOptions())}
    reads |= {f"beam, {name}": Reads(LanguageOptions(name), BeamOptions()) for name in names}
    reads[f"beam of {options.wide}, {names[-1]}"] = Reads(LanguageOptions(names[-1]), BeamOptions(options.wide))
    splits: dict[str, Split] = {}
    models: dict[str, Any] = {}
    for file in files:
        recognizers = {name: how.recognizer(file, options.threads) for name, how in reads.items()}
        card = recognizers[GREEDY].card
        splits = splits or splits_of_corpora(options.data, card)
        decoders = _scores(recognizers["beam"], splits, reads)
        for name, speeds in _speeds(recognizers, splits, options).items():
            decoders[name] |= speeds
        models[file.name] = {"name": card.name, "precision": precision_of(file), "decoders": decoders}
    result = NgramsResult(
        command_line(),
        {key: {"lines": len(split.lines), "hash": split.hash} for key, split in splits.items()},
        {name: _of_file(LanguageOptions(name)) for name in names},
        models,
        {"batch": options.batch, "threads": options.threads, "lines": options.lines, "rounds": options.rounds},
        machine.processor(),
        "C++" if compiled_search() else "NumPy",
    )
    save(result, options.out)
    return result


def _scores(recognizer: Recognizer, splits: dict[str, Split], reads: dict[str, Reads]) -> dict[str, dict[str, Any]]:
    """Decoder to how it was made, and to the error rates of every split."""
    card = recognizer.card
    charset, decoders = card.characters(), {name: how.decoder(card) for name, how in reads.items()}
    found: dict[str, dict[str, Any]] = {
        name: {"lm": how.lm.file, "width": how.beam and how.beam.width, "scores": {}} for name, how in reads.items()
    }
    for key, split in splits.items():
        logits = logits_of(recognizer.backend, split.lines)
        scores = {
            name: split.compare([charset.decode(labels) for labels in decode_all(decoder, logits)])
            for name, decoder in decoders.items()
        }
        for name, score in scores.items():
            difference = metrics.paired_interval(score, scores[GREEDY])
            rates = {"cer": score.cer, "interval": score.interval(), "wer": score.wer}
            found[name]["scores"][key] = rates | {"difference": difference}
    return found


def _speeds(
    recognizers: dict[str, Recognizer], splits: dict[str, Split], options: NgramsOptions
) -> dict[str, dict[str, Spread | None]]:
    """Lines per second of each decoder, on the same number of lines of every corpus."""
    if not options.rounds:
        return {name: {"memory": None, "files": None} for name in recognizers}
    cards = [recognizer.card for recognizer in recognizers.values()]
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        greys, paths = sample_of_corpora(splits, cards, options.lines, Path(scratch))
        timings = measure(list(recognizers.values()), greys, options.batch, options.rounds, paths)
    return {
        name: {"memory": timing.lines_per_second, "files": timing.files_per_second}
        for name, timing in zip(recognizers, timings, strict=True)
    }


def _of_file(options: LanguageOptions) -> dict[str, Any]:
    path = options.located()
    assert path is not None
    model = load_ngram(path)
    tuned = {name: model.settings.get(name) for name in ("weight", "bonus")}
    return {"file": path.name, "bytes": path.stat().st_size, "order": model.order, **tuned}


if __name__ == "__main__":
    run_command(compare_ngrams, positional="models")
