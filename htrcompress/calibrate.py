"""Makes probabilities of a model's confidences: `python -m htrcompress.calibrate MODEL --data DIR`.

    python -m htrcompress.calibrate student.safetensors --data letters/       then export, and the files carry it
    python -m htrcompress.calibrate student.onnx --data letters/              an exported file
    python -m htrcompress.calibrate student.onnx --data letters/ --lm letters.ngram    readings with a language model

Reads the validation lines, compares what is right with how sure the model was, and fits four numbers (`decoding/
calibration.py`). They are kept in the model's file, or, with `--lm`, in the language model's, since confidences with it
depend on both. Weights and texts stay as they are. A few dozen lines of the collection at hand are enough.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from htrcompress import runs
from htrcompress.catalogue.index import PACKAGED
from htrcompress.cli import run_command
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError

if TYPE_CHECKING:
    from htrcompress.card import Card

GOES_INTO = (".safetensors", ".onnx")
"""Model files that a calibration can be written into."""


@dataclass(frozen=True)
class CalibrateOptions:
    """Calibrates a model's confidences on lines with known texts, so that they are probabilities; the file keeps it."""

    model: str | Path | None = None
    """A model's file or name, or a run folder; as for `transcribe` if not given."""
    data: str | None = None
    """A dataset; what the model was trained on if not given."""
    split: str = "valid"
    """The split to fit on."""
    lm: LanguageOptions = LanguageOptions()
    """what the beam search knows about the language"""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""
    out: Path | None = None
    """The file to write; the language model's with --lm, else the model's own, if not given."""


@dataclass(frozen=True)
class CalibrateResult:
    """What `calibrate` found, on the lines that it fitted on.

    Attributes:
        path: the file that carries the calibration.
        calibration: slope and offset of characters, then of words.
        lines, characters, words: what decided.
        characters_right, words_right: the share that is right.
        character_error, word_error: expected calibration error before and after.
    """

    path: Path
    calibration: str
    lines: int
    characters: int
    words: int
    characters_right: float
    words_right: float
    character_error: tuple[float, float]
    word_error: tuple[float, float]

    def __rich__(self) -> str:
        def row(what: str, count: int, right: float, error: tuple[float, float]) -> str:
            before, after = (100 * value for value in error)
            text = f"{count} {what} on {self.lines} lines, {100 * right:.2f} % right: "
            return f"{text}calibration error {before:.2f} % before, {after:.2f} % after"

        characters = row("characters", self.characters, self.characters_right, self.character_error)
        words = row("words", self.words, self.words_right, self.word_error)
        fitted = f"written into {self.path}: slope and offset of characters, then of words: {self.calibration}"
        return f"{fitted}\n{characters}\n{words}"


def calibrate(options: CalibrateOptions) -> CalibrateResult:
    """Calibrates a model's confidences on lines with known texts, and writes what it fitted into the file.

    Raises:
        HtrError: the model or the data cannot be used, or the file cannot carry a calibration.
    """
    from htrcompress.decoding.calibration import calibration_error, fit_calibration, judge, of_characters, of_words
    from htrcompress.decoding.confidence import Map, Odds
    from htrcompress.decoding.language import Language
    from htrcompress.decoding.registry import BEAM, GREEDY, DecoderOptions, make_decoder
    from htrcompress.runtime.backend import Open, open_backend
    from htrcompress.runtime.logits import logits_of

    file = runs.reader(options.model)
    out = options.out or options.lm.located() or file
    _check(out, file, options)
    backend = open_backend(file, Open(logits=True))
    card, charset = backend.card, backend.card.characters()
    dataset = runs.open_data(options.data, file, card)
    lines = dataset.split(options.split)
    name = GREEDY if options.lm == LanguageOptions() else BEAM
    decoder = make_decoder(name, card, DecoderOptions(options.lm, options.beam))
    language: Language = getattr(decoder, "language", Language())
    judged = judge(decoder, Odds(card, language), charset, logits_of(backend, lines), [line.text for line in lines])
    fitted = fit_calibration(judged)
    odds, right = of_characters(judged)
    before, words_right = of_words(judged, Map())
    after, _ = of_words(judged, fitted.character)
    _write(out, file, options, card, fitted.to_text())
    return CalibrateResult(
        out,
        fitted.to_text(),
        len(lines),
        len(right),
        len(words_right),
        float(right.mean()),
        float(words_right.mean()) if len(words_right) else 0.0,
        (calibration_error(Map()(odds), right), calibration_error(fitted.character(odds), right)),
        (calibration_error(Map()(before), words_right), calibration_error(fitted.word(after), words_right)),
    )


def _check(out: Path, file: Path, options: CalibrateOptions) -> None:
    """Refuses what could not be written, or would have no effect, before any line is read."""
    if options.lm == LanguageOptions() and options.beam != BeamOptions():
        raise HtrError("--beam.* is for readings with --lm: name a language model, or leave --beam.* out")
    if options.lm.file is not None and out.suffix != ".ngram":
        raise HtrError(f"--out {out} must end in .ngram: with --lm, the language model carries the calibration")
    if out.parent.resolve() == PACKAGED.resolve():
        raise HtrError(f"{out.name} is part of the installed package: name a file for the calibrated copy with --out")
    if options.lm.file is not None:
        return
    if options.lm.words is not None:
        raise HtrError("a list of words carries no calibration: give --lm as well, or neither")
    if out.suffix != file.suffix or out.suffix not in GOES_INTO:
        raise HtrError(f"{out} cannot carry the calibration of {file.name}: use {' or '.join(GOES_INTO)} files")


def _write(out: Path, file: Path, options: CalibrateOptions, card: "Card", text: str) -> None:
    if (language := options.lm.located()) is not None:
        from htrcompress.decoding.ngram_file import load_ngram, save_ngram

        model = load_ngram(language)
        save_ngram(out, replace(model, settings={**model.settings, "calibration": text}))
    elif file.suffix == ".onnx":
        from htrcompress.export.graph import read_graph, stamp
        from htrcompress.utils.io import write_atomic

        proto = read_graph(file).proto
        stamp(proto, replace(card, calibration=text))
        write_atomic(out, proto.SerializeToString())
    else:
        from htrcompress.models.serialization import copy_with_card

        copy_with_card(file, out, replace(card, calibration=text))


if __name__ == "__main__":
    run_command(calibrate, positional="model")
