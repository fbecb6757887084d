"""What models read in several corpora, by hand: `python benchmarks/studies/corpora.py MODEL,MODEL --data DIR,DIR`.

Every model reads the test splits of every corpus, those of a corpus by themselves, and each is timed on lines of all of
them, in memory and from image files, in interleaved rounds. With `--beside NAME` the error rates of all models are
compared, line by line, with those of one of them.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import command_line, save
from benchmarks.splits import Split, sample_of_corpora, splits_of_corpora
from benchmarks.timing import Spread, measure, require_positive
from htrcompress import metrics, runs
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.models.registry import build
from htrcompress.runtime import Recognizer, load
from htrcompress.runtime.backend import precision_of
from htrcompress.utils import machine


@dataclass(frozen=True)
class CorporaOptions:
    """Reads the test splits of several corpora with several models."""

    models: str | None = None
    """The models' names or files, with commas between."""
    data: str | None = None
    """The corpora's folders, with commas between."""
    beside: str | None = None
    """One of the models, with which the others are compared line by line; the first if not given."""
    batch: int = 32
    """Lines in a batch."""
    threads: int = 2
    """CPU threads."""
    lines: int = 256
    """How many lines are timed, the same number of each corpus."""
    rounds: int = 5
    """Timed rounds."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(batch=self.batch, threads=self.threads, lines=self.lines, rounds=self.rounds)
        for name in ("models", "data"):
            if not getattr(self, name):
                raise HtrError(f"--{name} is missing: name one or several, with commas between")
        if self.beside is not None and self.beside not in (self.models or "").split(","):
            raise HtrError(f"--beside {self.beside} is none of --models {self.models}")


@dataclass(frozen=True)
class ModelRow:
    """One model file; rates are fractions.

    Attributes:
        name: what the model is called.
        file: the file's name.
        precision: `FP32`, `FP16` or `INT8`, of the file.
        parameters: numbers that were trained.
        bytes: size of the file.
        scores: corpus and split, such as `hooker_en/test`, to cer, interval, wer, and the difference to the compared
            model with its paired 95 % interval; an unread line counts as an empty reading.
        memory, files: lines per second.
    """

    name: str
    file: str
    precision: str
    parameters: int
    bytes: int
    scores: dict[str, Any]
    memory: Spread
    files: Spread | None


@dataclass(frozen=True)
class CorporaResult:
    """Models on corpora.

    Attributes:
        command: how this was measured.
        splits: corpus and split to its lines and hash.
        rows: one for each model file.
        groups: corpus and split to rows of group, lines and CER by model, where there are 2 to 30 groups.
        beside: the file that the others are compared with.
        settings: batch, threads, timed lines, rounds.
        machine: the processor.
    """

    command: str
    splits: dict[str, Any]
    rows: list[ModelRow]
    groups: dict[str, list[dict[str, Any]]]
    beside: str
    settings: dict[str, int]
    machine: str
    kind: str = "corpora"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("model", *(f"CER % {name}" for name in self.splits), "lines/s", "from files")
        for row in self.rows:
            rates = (f"{100 * row.scores[name]['cer']:.2f}" for name in self.splits)
            files = f"{row.files.median:.0f}" if row.files else ""
            table.add_row(row.file, *rates, f"{row.memory.median:.0f}", files)
        return table


def read_corpora(options: CorporaOptions) -> CorporaResult:
    """Reads all test splits of every corpus with every model, and times the models.

    Raises:
        HtrError: a model or a corpus cannot be used.
    """
    assert options.models and options.data
    names = options.models.split(",")
    files = [runs.reader(name) for name in names]
    recognizers = {file.name: load(file, options.threads, "cpu") for file in files}
    if len(recognizers) < len(files):
        raise HtrError(f"--models {options.models}: two of the files have the same name")
    beside = files[names.index(options.beside or names[0])].name
    splits = splits_of_corpora(options.data, next(iter(recognizers.values())).card)
    scores = {
        key: {name: split.compare(split.read(recognizer, options.batch)) for name, recognizer in recognizers.items()}
        for key, split in splits.items()
    }
    memory, from_files, timed = _speeds(recognizers, splits, options)
    rows = [
        ModelRow(
            recognizer.card.name,
            file.name,
            precision_of(file),
            sum(p.numel() for p in build(recognizer.card.architecture, len(recognizer.card.charset) + 1).parameters()),
            file.stat().st_size,
            {key: _rates(found[file.name], found[beside]) for key, found in scores.items()},
            memory[file.name],
            from_files[file.name],
        )
        for file, recognizer in zip(files, recognizers.values(), strict=True)
    ]
    result = CorporaResult(
        command_line(),
        {key: {"lines": len(split.lines), "hash": split.hash} for key, split in splits.items()},
        rows,
        {key: split.groups(scores[key]) for key, split in splits.items() if split.has_groups},
        beside,
        {"batch": options.batch, "threads": options.threads, "lines": timed, "rounds": options.rounds},
        machine.processor(),
    )
    save(result, options.out)
    return result


def _rates(score: metrics.Score, beside: metrics.Score) -> dict[str, Any]:
    difference = metrics.paired_interval(score, beside)
    return {"cer": score.cer, "interval": score.interval(), "wer": score.wer, "difference": difference}


def _speeds(
    recognizers: dict[str, Recognizer], splits: dict[str, Split], options: CorporaOptions
) -> tuple[dict[str, Spread], dict[str, Spread | None], int]:
    """Lines per second of each model from memory and from files, on the same number of lines of every corpus."""
    cards = [recognizer.card for recognizer in recognizers.values()]
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        greys, paths = sample_of_corpora(splits, cards, options.lines, Path(scratch))
        timings = measure(list(recognizers.values()), greys, options.batch, options.rounds, paths)
    named = dict(zip(recognizers, timings, strict=True))
    memory = {name: timing.lines_per_second for name, timing in named.items()}
    return memory, {name: timing.files_per_second for name, timing in named.items()}, len(greys)


if __name__ == "__main__":
    run_command(read_corpora, positional="models")
