"""How far confidences can be trusted: `python benchmarks/studies/calibration.py MODEL --data DIR --lm FILE`.

Greedy decoding, and a beam search with the language model, read the validation lines; the maps that make probabilities
of confidences are fitted there, and so are the choices: whether a word is as sure as all of its characters or as the
least sure one, and by which figure lines are sent to a person. The test lines are then read once: expected calibration
errors before and after, reliability, and the CER of what remains when the least sure lines are left to a person.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import command_line, save
from htrcompress import metrics, runs
from htrcompress.card import Card
from htrcompress.cli import run_command
from htrcompress.decoding.alignment import align
from htrcompress.decoding.base import Decoder, GreedyDecoder
from htrcompress.decoding.batches import batches
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.calibration import (
    Judged,
    calibration_error,
    fit_calibration,
    fit_map,
    judge,
    of_characters,
    of_words,
    reliability,
)
from htrcompress.decoding.confidence import Calibration, Map, Odds
from htrcompress.decoding.language import Language, LanguageOptions, open_language
from htrcompress.errors import HtrError
from htrcompress.runtime.backend import Open, open_backend
from htrcompress.runtime.logits import logits_of
from htrcompress.utils import machine

SHARES = (0.0, 0.05, 0.1, 0.2)
"""Of the lines, sent to a person."""
Floats = NDArray[np.float64]
Logits = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class CalibrationStudyOptions:
    """Measures how far confidences can be trusted."""

    model: str | Path | None = None
    """A model's file or name, or a run folder."""
    data: str | None = None
    """A dataset; what the model was trained on if not given."""
    fit: str = "valid"
    """The split that everything is chosen on."""
    split: str = "test"
    """The split that is reported."""
    lm: LanguageOptions = LanguageOptions()
    """what the beam search knows about the language"""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""
    threads: int = 2
    """CPU threads."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        if self.lm.file is None:
            raise HtrError("name a language model with --lm")


@dataclass(frozen=True)
class CalibrationStudy:
    """What `study_calibration` measured; rates are fractions.

    Attributes:
        command: how.
        model, lm: names of the files.
        data: the dataset.
        splits: of `fit` and of the reported split, hash and lines.
        decoders: decoder to what was chosen on `fit` and measured on the other; see `_study`.
        machine: the processor.
    """

    command: str
    model: str
    lm: str
    data: str
    splits: dict[str, Any]
    decoders: dict[str, Any]
    machine: str
    kind: str = "calibration"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("decoder", "calibration error %", "before", "after", title=self.model)
        for name, found in self.decoders.items():
            for what in ("characters", "words"):
                errors = found[what]["error"]
                table.add_row(name, what, *(f"{100 * errors[key]:.2f}" for key in ("odds", "calibrated")))
            cers = ", ".join(f"{100 * row['share']:.0f} %: {100 * row['cer']:.2f}" for row in found["trade"])
            table.add_row(name, f"CER % of the rest, by {found['sorted_by']}", cers, "")
        return table


def study_calibration(options: CalibrationStudyOptions) -> CalibrationStudy:
    """Fits on one split and measures on another, greedily and with the language model.

    Raises:
        HtrError: the model, the language model or the data cannot be used.
    """
    lm = options.lm.located()
    assert lm is not None
    file = runs.reader(options.model)
    backend = open_backend(file, Open(options.threads, "cpu", logits=True))
    card = backend.card
    dataset = runs.open_data(options.data, file, card)
    names = options.fit, options.split
    truth = {name: [line.text for line in dataset.split(name)] for name in names}
    logits = {name: logits_of(backend, dataset.split(name)) for name in names}
    told = open_language(options.lm, card.characters())
    decoders: dict[str, tuple[Decoder, Language]] = {
        "greedy": (GreedyDecoder(card), Language()),
        "beam, language model": (BeamDecoder(card, told, options.beam), told),
    }
    found = {}
    for name, (decoder, language) in decoders.items():
        odds = Odds(card, language)
        fitted, tested = (judge(decoder, odds, card.characters(), logits[n], truth[n]) for n in names)
        naive = _peaks(card, logits[options.split], tested)
        found[name] = _study(fitted, tested, truth[options.fit], truth[options.split], naive)
    result = CalibrationStudy(
        command_line(),
        file.name,
        lm.name,
        dataset.name,
        {name: {"hash": dataset.identity(name), "lines": len(truth[name])} for name in names},
        found,
        machine.processor(),
    )
    save(result, options.out)
    return result


def _peaks(card: Card, logits: Logits, lines: Sequence[Judged]) -> Floats:
    """What is commonly shown as a confidence: the largest probability of each character in the frames that it has."""
    found = [np.zeros(0)] * len(lines)
    for some, batch, frames in batches(logits):
        probability = np.exp(batch - batch.max(2, keepdims=True))
        probability /= probability.sum(2, keepdims=True)
        labels = [lines[i].labels for i in some]
        for row, i, one in zip(probability, some, align(probability, frames, labels), strict=True):
            spans = zip(one.first, one.last, lines[i].labels, strict=True)
            found[i] = np.array([row[first : last + 1, label].max() for first, last, label in spans])
    return np.concatenate(found).astype(np.float64)


def _study(
    fitted: Sequence[Judged], tested: Sequence[Judged], known: Sequence[str], truth: Sequence[str], naive: Floats
) -> dict[str, Any]:
    """What is chosen on the fitted lines and found on the tested ones, for one decoder.

    Returns:
        `cer` of the tested lines; the `calibration`; `characters` and `words` with their `count`, the share that is
        `right`, `error` (expected calibration errors of what is commonly shown, of the odds as they are, calibrated),
        and `reliability` before and after; for words also the log loss of both combinations on the fitted lines;
        `sorted_by`, chosen on the fitted lines; and `trade`: CER of what remains, and the lowest that any order could
        reach, by the share of lines sent away.
    """
    calibration = fit_calibration(fitted)
    odds, right = of_characters(tested)
    sorted_by = min(ORDERS, key=lambda name: sum(row["cer"] for row in _trade(fitted, known, calibration, name)))
    texts = [line.text for line in tested]
    return {
        "cer": metrics.cer(truth, texts),
        "calibration": calibration.to_text(),
        "characters": {
            "count": len(right),
            "right": float(right.mean()),
            "error": {
                "shown": calibration_error(naive, right),
                "odds": calibration_error(Map()(odds), right),
                "calibrated": calibration_error(calibration.character(odds), right),
            },
            "reliability": _bins(Map()(odds), calibration.character(odds), right),
        },
        "words": _words(fitted, tested, calibration),
        "sorted_by": sorted_by,
        "trade": _trade(tested, truth, calibration, sorted_by),
    }


def _words(fitted: Sequence[Judged], tested: Sequence[Judged], calibration: Calibration) -> dict[str, Any]:
    """The part of `_study` on words."""
    losses = {}
    for name, combine in (("product", of_words), ("minimum", _least)):
        odds, right = combine(fitted, calibration.character)
        losses[name] = _log_loss(fit_map(odds, right)(odds), right)
    plain, right = of_words(tested, Map())
    odds, _ = of_words(tested, calibration.character)
    after = calibration.word(odds)
    return {
        "count": len(right),
        "right": float(right.mean()),
        "log_loss_on_fit": losses,
        "error": {"odds": calibration_error(Map()(plain), right), "calibrated": calibration_error(after, right)},
        "reliability": _bins(Map()(plain), after, right),
    }


def _least(lines: Sequence[Judged], character: Map) -> tuple[Floats, NDArray[np.bool_]]:
    """Like `of_words`: log-odds of the least sure character of each word."""
    odds = [
        character.slope * line.odds[start:end].min() + character.offset for line in lines for start, end in line.words
    ]
    right = np.concatenate([line.words_right for line in lines])
    return character.slope * np.array(odds) + character.offset, right


def _log_loss(probability: Floats, right: NDArray[np.bool_]) -> float:
    return float(-np.log(np.maximum(np.where(right, probability, 1 - probability), 1e-12)).mean())


def _bins(before: Floats, after: Floats, right: NDArray[np.bool_]) -> dict[str, Any]:
    return {name: [asdict(b) for b in reliability(p, right)] for name, p in (("before", before), ("after", after))}


ORDERS: dict[str, Callable[[Floats], float]] = {
    "mean confidence": lambda p: float(p.mean()) if len(p) else 0.0,
    "expected errors": lambda p: -float((1 - p).sum()) if len(p) else -np.inf,
}
"""What lines may be sorted by, the least sure first; an empty reading is the least sure."""


def _trade(
    lines: Sequence[Judged], truth: Sequence[str], calibration: Calibration, name: str
) -> list[dict[str, float]]:
    score = metrics.score(truth, [line.text for line in lines])
    sure = np.array([ORDERS[name](calibration.character(line.odds)) for line in lines])
    rows = []
    for share in SHARES:
        sent = round(share * len(lines))
        kept = np.argsort(sure, kind="stable")[sent:]
        cer = metrics.ratio(score.edits[kept], score.lengths[kept])
        rows.append({"share": share, "cer": cer, "lowest": _lowest(score, sent)})
    return rows


def _lowest(score: metrics.Score, sent: int) -> float:
    """The lowest CER that can remain without so many lines: those with the most errors beyond it (Dinkelbach 1967)."""
    cer = score.cer
    for _ in range(20):
        kept = np.argsort(cer * score.lengths - score.edits, kind="stable")[sent:]
        cer, before = metrics.ratio(score.edits[kept], score.lengths[kept]), cer
        if cer == before:
            break
    return cer


if __name__ == "__main__":
    run_command(study_calibration, positional="model")
