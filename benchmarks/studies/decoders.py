"""What a decoder gains and costs: `python benchmarks/studies/decoders.py MODEL --data DIR --lm FILE`.

The same model reads the test splits greedily, with a beam search, with a beam search and a language model, and with
`--larger` also with one that was made from more text. The error rates are compared line by line with those of greedy
decoding. Then each decoder is timed on the same lines, in memory and from image files, in interleaved rounds.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from benchmarks.splits import Split, test_splits
from benchmarks.timing import measure, require_positive
from htrcompress import metrics, runs
from htrcompress.cli import run_command
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.compiled import compiled_search
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.runtime import Recognizer, load
from htrcompress.utils import machine


@dataclass(frozen=True)
class DecodersOptions:
    """Compares greedy decoding, a beam search, and a beam search with a language model."""

    model: Path | None = None
    """A model file, or a run folder; the student of the newest run if not given."""
    data: str | None = None
    """A dataset's folder; what the model was trained on if not given."""
    batch: int = 32
    """Lines in a batch."""
    threads: int = 2
    """CPU threads."""
    lines: int = 256
    """How many lines of the first split are timed."""
    rounds: int = 5
    """Timed rounds."""
    out: Path | None = None
    """A JSON file for the result."""
    lm: LanguageOptions = LanguageOptions()
    """what the beam search knows about the language"""
    larger: Path | None = None
    """A second language model, made from more text, with the weights that it was tuned to."""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""

    def __post_init__(self) -> None:
        require_positive(batch=self.batch, threads=self.threads, lines=self.lines, rounds=self.rounds)
        if self.lm.file is None:
            raise HtrError("name a language model with --lm")


@dataclass(frozen=True)
class DecodersResult:
    """Decoders of one model; rates are fractions.

    Attributes:
        command: how this was measured.
        model: the model file's name.
        lm: the language model's name and size in bytes; the same of the larger text's, if there is one, as `larger`.
        data: the dataset.
        splits: split to its hash, its lines and `decoders`: name to cer, wer, interval of the CER, and the difference
            to greedy decoding with its paired 95 % interval.
        speed: decoder to lines per second from memory and from files (median, min, max over the rounds).
        settings: batch, threads, timed lines, rounds.
        machine: the processor.
        search: what searches, `C++` (`python -m htrcompress.native`) or `NumPy`.
    """

    command: str
    model: str
    lm: dict[str, Any]
    data: str
    splits: dict[str, Any]
    speed: dict[str, Any]
    settings: dict[str, int]
    machine: str
    search: str = "NumPy"
    kind: str = "decoders"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("split", "decoder", "CER %", "WER %", "to greedy, points (95 %)", title=self.model)
        for split, row in self.splits.items():
            for name, found in row["decoders"].items():
                mean, low, high = (100 * value for value in found["difference"])
                rates = f"{100 * found['cer']:.2f}", f"{100 * found['wer']:.2f}"
                table.add_row(split, name, *rates, f"{mean:+.2f} ({low:+.2f} to {high:+.2f})")
        for name, speed in self.speed.items():
            table.add_row("lines/s", name, f"{speed['memory'].median:.0f}", f"{speed['files'].median:.0f}", "")
        return table


def compare_decoders(options: DecodersOptions) -> DecodersResult:
    """Reads all test splits with every decoder and times them.

    Raises:
        HtrError: the model, the language model or the data cannot be used.
    """
    lm = options.lm.located()
    assert lm is not None
    file = runs.model(options.model)
    recognizers: dict[str, Recognizer] = {
        "greedy": load(file, options.threads, "cpu"),
        "beam": load(file, options.threads, "cpu", "beam", beam=options.beam),
        "beam, language model": load(file, options.threads, "cpu", lm=options.lm, beam=options.beam),
    }
    if options.larger is not None:
        larger = load(file, options.threads, "cpu", lm=options.larger, beam=options.beam)
        recognizers["beam, larger text"] = larger
    card = recognizers["greedy"].card
    dataset = runs.open_data(options.data, file, card)
    splits = [Split(dataset, name) for name in test_splits(dataset)]
    rates = {split.name: _rates(split, recognizers, options.batch) for split in splits}
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        sample = splits[0].sample([card], options.lines, Path(scratch))
        timings = measure(list(recognizers.values()), sample.greys, options.batch, options.rounds, sample.files)
    speed = {
        name: {"memory": timing.lines_per_second, "files": timing.files_per_second}
        for name, timing in zip(recognizers, timings, strict=True)
    }
    settings = {
        "batch": options.batch,
        "threads": options.threads,
        "lines": len(sample.greys),
        "rounds": options.rounds,
    }
    result = DecodersResult(
        command_line(),
        file.name,
        _of_file(lm) | ({} if options.larger is None else {"larger": _of_file(options.larger)}),
        dataset.name,
        rates,
        speed,
        settings,
        machine.processor(),
        "C++" if compiled_search() else "NumPy",
    )
    save(result, options.out)
    return result


def _of_file(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size}


def _rates(split: Split, recognizers: dict[str, Recognizer], batch: int) -> dict[str, Any]:
    """Error rates of every decoder on one split."""
    scores = {name: split.compare(split.read(recognizer, batch)) for name, recognizer in recognizers.items()}
    decoders = {
        name: {
            "cer": score.cer,
            "wer": score.wer,
            "interval": score.interval(),
            "difference": metrics.paired_interval(score, scores["greedy"]),
        }
        for name, score in scores.items()
    }
    return {"hash": split.hash, "lines": len(split.lines), "decoders": decoders}


if __name__ == "__main__":
    run_command(compare_decoders, positional="model")
