"""Measures a model on a split: `python -m htrcompress.evaluate --model student.safetensors --data DIR`.

An image that cannot be read, or is too wide for the model, is reported and counts as an empty reading, so it stays in
the error rates.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from htrcompress import metrics, runs
from htrcompress.cli import console, run_command
from htrcompress.data.lines import Line
from htrcompress.decoding.attention import AttentionOptions
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.runtime import Device, Reading, load
from htrcompress.utils.io import write_atomic

SHOWN = 10
"""Confusions, unknown characters and failures that people are shown."""
GROUPS = range(2, 31)
"""Numbers of groups for which error rates are shown by group; with more, the table would fill pages."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Measures a model's error rates on one split of a dataset."""

    model: str | Path | None = None
    """A model's name (see `htrcompress models`), a .safetensors, .onnx or .engine file, or a run folder; the student of
    the newest run if not given."""
    data: str | None = None
    """A dataset's folder, or `synthetic`; what the model was trained on if not given."""
    split: str = "test"
    """The split to measure on."""
    batch: int = 32
    """The most lines in one batch of the network; every thread has its own batch."""
    threads: int | None = None
    """CPU threads; one for each core that the process may use if not given."""
    device: Device | None = None
    """Where to compute, with no fallback to another device; if not given, CUDA where it works, else the CPU."""
    decoder: str | None = None
    """How logits become text: greedy or beam; or attention or joint, with a model that keeps an attention decoder; if
    not given, beam with --lm, else greedy."""
    lm: LanguageOptions = LanguageOptions()
    """what is known about the language"""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""
    attention: AttentionOptions = AttentionOptions()
    """how the attention decoder reads"""
    out: Path | None = None
    """JSON file for every line's reading; `<model>.<split>.json` for a model in a run if not given."""


@dataclass(frozen=True)
class GroupScore:
    """Error rates of the lines of one group, such as a font or a hand."""

    group: str
    lines: int
    cer: float
    wer: float


@dataclass(frozen=True)
class Evaluation:
    """What a model scores on a split; rates are fractions.

    Attributes:
        model: the model file.
        runtime: what ran it, and on which device.
        data: the dataset.
        split: the split of it.
        hash: identity of the split's ids and texts.
        lines: number of lines.
        cer: character error rate.
        wer: word error rate.
        interval: 95 % bootstrap interval of `cer` over lines.
        wer_interval: the same of `wer`.
        failed: lines that could not be read; each counts as an empty reading.
        unknown: characters of the references outside the charset, with their counts.
        confusions: the most frequent mistakes as (expected, read, count).
        groups: error rates by group, where the data has 2 to 30 of them.
    """

    model: Path
    runtime: str
    data: str
    split: str
    hash: str
    lines: int
    cer: float
    wer: float
    interval: tuple[float, float]
    wer_interval: tuple[float, float]
    failed: int
    unknown: dict[str, int]
    confusions: list[tuple[str, str, int]]
    groups: list[GroupScore] = field(default_factory=list)

    def __rich__(self) -> Stack:
        table = Table(title=Text(f"{self.model} on {self.data}/{self.split} ({self.runtime})"))
        for heading in ("", "lines", "CER %", "95 %", "WER %", "95 %"):
            table.add_column(heading, justify="left" if not heading else "right")
        table.add_row("all", str(self.lines), *_percents(self.cer, self.interval, self.wer, self.wer_interval))
        for group in self.groups:
            rates = _percents(group.cer, None, group.wer, None)
            table.add_row(Text(group.group or "(none)"), str(group.lines), *rates)
        notes = [f"split hash {self.hash}"]
        if self.failed:
            notes.append(f"{self.failed} lines could not be read and count as empty readings")
        if self.unknown:
            unknown = " ".join(f"{character!r} ({count})" for character, count in list(self.unknown.items())[:SHOWN])
            notes.append(f"outside the charset: {unknown}")
        if self.confusions:
            worst = ", ".join(f"{a or '∅'}→{b or '∅'} ({count})" for a, b, count in self.confusions[:SHOWN])
            notes.append(f"most frequent mistakes: {worst}")
        return Stack(table, *map(Text, notes))  # plain text: a bracket in it is no markup


def evaluate(options: EvaluateOptions) -> Evaluation:
    """Measures the error rates of a model on one split of a dataset.

    Raises:
        HtrError: the model or the data cannot be used, or no line at all could be read.
    """
    file, split = runs.reader(options.model or runs.newest()), options.split
    recognizer = load(
        file, options.threads, options.device, options.decoder, options.lm, options.beam, options.attention
    )
    dataset = runs.open_data(options.data, file, recognizer.card)
    dataset.require_height(recognizer.card.height)
    lines = dataset.split(split)
    results = list(recognizer.read_each([line.image for line in lines], options.batch))
    failures = [(line, r) for line, r in zip(lines, results, strict=True) if isinstance(r, HtrError)]
    for line, error in failures[:SHOWN]:
        console.print(f"{line.id}: {error}", style="red")
    if len(failures) == len(lines):
        raise HtrError(f"no line of {dataset.name}/{split} could be read; the first: {failures[0][1]}")

    readings = [Reading("", -math.inf) if isinstance(r, HtrError) else r for r in results]
    references, texts = [line.text for line in lines], [reading.text for reading in readings]
    score = metrics.score(references, texts)
    unknown = Counter(c for text in references for c in recognizer.card.characters().unknown(text))
    out = options.out or (file.with_name(f"{file.stem}.{split}.json") if _in_run(file) else None)
    if out:
        try:
            _write_lines(out, lines, results, score)
        except HtrError as error:  # the result is worth more than the list of its lines
            console.print(f"warning: {error}", style="red")
    backend = recognizer.backend
    return Evaluation(
        model=file,
        runtime=f"{backend.name}, {backend.device}",
        data=dataset.name,
        split=split,
        hash=dataset.identity(split),
        lines=len(lines),
        cer=score.cer,
        wer=score.wer,
        interval=score.interval(),
        wer_interval=score.interval(words=True),
        failed=len(failures),
        unknown=dict(unknown.most_common()),
        confusions=metrics.confusions(references, texts),
        groups=_groups(lines, score),
    )


def _groups(lines: Sequence[Line], score: metrics.Score) -> list[GroupScore]:
    names = sorted({line.group for line in lines})
    if len(names) not in GROUPS:
        return []
    of_line = np.array([line.group for line in lines])
    rows = []
    for name in names:
        chosen = of_line == name
        cer = metrics.ratio(score.edits[chosen], score.lengths[chosen])
        wer = metrics.ratio(score.word_edits[chosen], score.word_lengths[chosen])
        rows.append(GroupScore(name, int(chosen.sum()), cer, wer))
    return rows


def _in_run(file: Path) -> bool:
    return runs.ROOT.resolve() in file.resolve().parents


def _write_lines(out: Path, lines: Sequence[Line], results: list[Reading | HtrError], score: metrics.Score) -> None:
    rows = []
    for line, result, edits in zip(lines, results, score.edits.tolist(), strict=True):
        row = {"id": line.id, "text": line.text, "reading": "", "score": None, "edits": edits}
        if isinstance(result, HtrError):
            row["error"] = str(result)
        else:
            row |= {"reading": result.text, "score": result.score if math.isfinite(result.score) else None}
        rows.append(row)
    text = json.dumps(rows, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    write_atomic(out, text.encode(errors="backslashreplace"))  # an id may be a file name that is not UTF-8


def _percents(
    cer: float, interval: tuple[float, float] | None, wer: float, wer_interval: tuple[float, float] | None
) -> list[str]:
    def span(pair: tuple[float, float] | None) -> str:
        return f"{100 * pair[0]:.2f} to {100 * pair[1]:.2f}" if pair else ""

    return [f"{100 * cer:.2f}", span(interval), f"{100 * wer:.2f}", span(wer_interval)]


if __name__ == "__main__":
    run_command(evaluate)
