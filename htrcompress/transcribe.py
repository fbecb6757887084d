"""Reads images of lines: `python -m htrcompress.transcribe IMAGES`.

Prints `path<TAB>text` for every image, some batches at a time, since lines of similar width are read together. An image
that cannot be read is reported on stderr, the others are still read, and the exit status is 2.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

from htrcompress import runs
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.index import PACKAGED
from htrcompress.cli import console, run_command
from htrcompress.data.folders import images_in
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.image import SUFFIXES
from htrcompress.runtime import Device, Invert, Reading, Span, load


@dataclass(frozen=True)
class TranscribeOptions:
    """Reads images of text lines and prints `path<TAB>text` for each."""

    images: list[Path]
    """Image files, or folders of them."""
    model: str | Path | None = None
    """A model's name (see `htrcompress models`), a .onnx, .safetensors or .engine file, or a run folder; if not given,
    the student of the newest run in ./runs, or the model that ships where there is no run."""
    batch: int = 32
    """The most lines in one batch of the network; every thread has its own batch."""
    threads: int | None = None
    """CPU threads; one for each core that the process may use if not given."""
    device: Device | None = None
    """Where to compute, with no fallback to another device; if not given, CUDA where it works, else the CPU."""
    decoder: str | None = None
    """How logits become text: greedy or beam; if not given, beam with --lm, else greedy."""
    lm: LanguageOptions = LanguageOptions()
    """what the beam search knows about the language"""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""
    n_best: int = 1
    """Readings of each line in the result of --json; all but the best are its alternatives. Greedy decoding has one."""
    spans: bool = False
    """Put into the result of --json where characters and words stand in the picture, and how sure they are."""
    invert: Invert = "never"
    """Light ink on dark paper: `auto` inverts such pictures, `always` inverts every picture."""


@dataclass(frozen=True)
class Alternative:
    """Another reading of a line, and its mean log-probability for each character; None where there are none."""

    text: str
    score: float | None


@dataclass(frozen=True)
class Transcript:
    """What was read in one image.

    Attributes:
        path: the image.
        text: its text; empty if it could not be read.
        score: mean log-probability of the characters; None where there are none.
        error: why it could not be read; empty if it could.
        hint: why the text may be nonsense; empty if nothing is known.
        alternatives: the next best readings with their scores, where --n_best asks for them.
        confidence, characters, words: see `Reading`, where --spans asks for them.
    """

    path: Path
    text: str
    score: float | None
    error: str = ""
    hint: str = ""
    alternatives: tuple[Alternative, ...] = ()
    confidence: float | None = None
    characters: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Transcripts:
    """What `transcribe` read.

    Attributes:
        model: the model file.
        images: one entry for each image, in the order given.
    """

    model: Path
    images: list[Transcript]

    @property
    def exit_code(self) -> int:
        """2 if any image could not be read."""
        return 2 if any(image.error for image in self.images) else 0


def transcribe(options: TranscribeOptions) -> Transcripts:
    """Reads images of text lines and prints `path<TAB>text` for each.

    Raises:
        HtrError: a folder has no images, or the model cannot be used.
    """
    paths = expand(options.images)
    file = runs.reader(options.model)
    if options.model is None:
        name = DEFAULT if file.parent == PACKAGED else file
        print(f"reading with {name}: --model names another, `htrcompress models` lists them", file=sys.stderr)
    recognizer = load(file, options.threads, options.device, options.decoder, options.lm, options.beam)
    transcripts = []
    readings = recognizer.read_each(paths, options.batch, options.invert, options.n_best, options.spans)
    for path, reading in zip(paths, readings, strict=True):
        transcripts.append(_transcript(path, reading))
        if isinstance(reading, HtrError):
            print(f"error: {reading}", file=sys.stderr)
        else:
            print(f"{path}\t{reading.text}", file=console.file, flush=True)  # rich would wrap it
    hints = [transcript for transcript in transcripts if transcript.hint]
    if hints:
        print(f"hint: {hints[0].path} and {len(hints) - 1} others: {hints[0].hint} (--invert)", file=sys.stderr)
    return Transcripts(file, transcripts)


def _transcript(path: Path, reading: Reading | HtrError) -> Transcript:
    if isinstance(reading, HtrError):
        return Transcript(path, "", None, str(reading))
    others = tuple(Alternative(other.text, _finite(other.score)) for other in reading.alternatives)
    sure = reading.confidence, reading.characters, reading.words
    return Transcript(path, reading.text, _finite(reading.score), "", reading.hint, others, *sure)


def _finite(score: float) -> float | None:
    """A score as JSON has it, which has no infinity."""
    return score if math.isfinite(score) else None


def expand(images: list[Path]) -> list[Path]:
    """Puts in the place of each folder the images in it, sorted by name.

    Raises:
        HtrError: nothing is given, or a folder has no images.
    """
    if not images:
        raise HtrError("no images to read: name image files or folders")
    paths: list[Path] = []
    for path in images:
        if path.is_dir():
            found = images_in(path, recursive=False)
            if not found:
                raise HtrError(f"the folder {path} holds no images ({', '.join(s[1:] for s in SUFFIXES)})")
            paths += found
        else:
            paths.append(path)
    return paths


if __name__ == "__main__":
    run_command(transcribe, positional="images")
