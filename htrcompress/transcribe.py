"""Reads images of lines: `python -m htrcompress.transcribe IMAGES`, or pages: `... PAGE.xml --write DIR`.

Prints `path<TAB>text` for every image, some batches at a time, since lines of similar width are read together. Of
pages, PAGE or ALTO files with their images beside them, it writes copies with the text of every line filled in, and
prints what it did to each. What cannot be read is reported on stderr, the rest is still read, and the exit status is 2.
"""

import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from htrcompress import runs
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.index import PACKAGED
from htrcompress.cli import console, run_command
from htrcompress.data.folders import images_in
from htrcompress.decoding.attention import AttentionOptions
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.image_files import SUFFIXES
from htrcompress.runtime import Device, Invert, Reading, Span, load
from htrcompress.runtime.pictures import LIGHT_INK, NO_LINE

if TYPE_CHECKING:  # who reads one line does not wait for the rooms that read pages
    from htrcompress.runtime.page_reading import PageFile, PageOutcome

FLAGS = {LIGHT_INK: " (--invert)", NO_LINE: " (--write)"}
"""The options that hints are about."""


@dataclass(frozen=True)
class TranscribeOptions:
    """Reads images of text lines and prints `path<TAB>text` for each."""

    images: list[Path]
    """Images of lines, or folders of them; with --write, PAGE or ALTO files of pages, or folders of them."""
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
    """How logits become text: greedy or beam; or attention or joint, with a model that keeps an attention decoder; if
    not given, beam with --lm, else greedy."""
    lm: LanguageOptions = LanguageOptions()
    """what is known about the language"""
    beam: BeamOptions = BeamOptions()
    """how the beam search decodes"""
    attention: AttentionOptions = AttentionOptions()
    """how the attention decoder reads"""
    n_best: int = 1
    """Readings of each line in the result of --json; all but the best are its alternatives. Greedy decoding has one."""
    spans: bool = False
    """Put into the result of --json where characters and words stand in the picture, and how sure they are."""
    invert: Invert = "never"
    """Light ink on dark paper: `auto` inverts such pictures, `always` inverts every picture."""
    write: Path | None = None
    """A folder for copies of PAGE or ALTO files in which every line has its text. A page whose copy is there already is
    not read again."""
    only_empty: bool = False
    """With --write, fill in only the lines that have no text."""

    def __post_init__(self) -> None:
        if self.only_empty and self.write is None:
            raise HtrError("--only_empty is for pages: say with --write where they go")
        if self.write is not None and (self.spans or self.n_best > 1):
            raise HtrError("--spans and --n_best are for images of lines: leave them out with --write")


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
        pages: one entry for each page, where pages were read.
    """

    model: Path
    images: list[Transcript]
    pages: list["PageOutcome"] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """2 if any image or page could not be read."""
        errors = [*(image.error for image in self.images), *(page.error for page in self.pages)]
        return 2 if any(errors) else 0


def transcribe(options: TranscribeOptions) -> Transcripts:
    """Reads images of text lines and prints `path<TAB>text` for each.

    Raises:
        HtrError: a folder has no images, or the model cannot be used.
    """
    pages = page_files(options.images, options.write) if options.write else []
    paths = [] if options.write else expand(options.images)
    file = runs.reader(options.model)
    if options.model is None:
        name = DEFAULT if file.parent == PACKAGED else file
        print(f"reading with {name}: --model names another, `htrcompress models` lists them", file=sys.stderr)
    recognizer = load(
        file, options.threads, options.device, options.decoder, options.lm, options.beam, options.attention
    )
    if options.write:
        from htrcompress.runtime.page_reading import read_pages

        outcomes = read_pages(recognizer, pages, options.only_empty, options.batch, options.invert)
        return Transcripts(
            file, [], [_shown(outcome, number, len(pages)) for number, outcome in enumerate(outcomes, 1)]
        )
    transcripts = []
    readings = recognizer.read_each(paths, options.batch, options.invert, options.n_best, options.spans)
    for path, reading in zip(paths, readings, strict=True):
        transcripts.append(_transcript(path, reading))
        if isinstance(reading, HtrError):
            print(f"error: {reading}", file=sys.stderr)
        else:
            print(f"{path}\t{reading.text}", file=console.file, flush=True)  # rich would wrap it
    _print_hints(transcripts)
    return Transcripts(file, transcripts)


def _print_hints(transcripts: list[Transcript]) -> None:
    """Says once for each hint which image it is about, and how many others."""
    for hint, count in Counter(transcript.hint for transcript in transcripts if transcript.hint).items():
        first = next(transcript.path for transcript in transcripts if transcript.hint == hint)
        others = f" and {count - 1} others" if count > 1 else ""
        print(f"hint: {first}{others}: {hint}{FLAGS.get(hint, '')}", file=sys.stderr)


def _shown(outcome: "PageOutcome", number: int, count: int) -> "PageOutcome":
    """Prints what became of a page."""
    left = "".join(f", {lines} left as they were ({reason})" for reason, lines in outcome.left.items())
    if outcome.error:
        print(f"error: {outcome.error}", file=sys.stderr)
    elif outcome.skipped:
        print(f"{number}/{count}\t{outcome.source}\twas read before", file=console.file, flush=True)
    else:
        print(f"{number}/{count}\t{outcome.written}\t{outcome.lines} lines{left}", file=console.file, flush=True)
    return outcome


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
        if path.suffix.lower() == ".xml":
            raise HtrError(f"{path} describes a page: say with --write where its copy with the texts goes")
        if path.is_dir():
            found = images_in(path, recursive=False)
            if not found:
                raise HtrError(f"the folder {path} holds no images ({', '.join(s[1:] for s in SUFFIXES)})")
            paths += found
        else:
            paths.append(path)
    return paths


def page_files(paths: list[Path], write: Path) -> list["PageFile"]:
    """The pages that PAGE and ALTO files, and folders of them, describe, and where their copies go.

    Raises:
        HtrError: nothing is given, a folder has no such files, an image has none, or a copy would replace its original.
    """
    from htrcompress.data.readers.page_folder import kind_of, xml_files
    from htrcompress.runtime.page_reading import PageFile

    if not paths:
        raise HtrError("no pages to read: name PAGE or ALTO files, or folders of them")
    files: list[PageFile] = []
    for path in paths:
        folder = path if path.is_dir() else path.parent
        found = [file for file in xml_files(path) if kind_of(file)] if path.is_dir() else [path]
        if not found or path.suffix.lower() in SUFFIXES:
            raise HtrError(
                f"{path} has no PAGE or ALTO file that says where its lines are: make one with a tool that finds lines "
                "(eScriptorium, Transkribus, or kraken's `segment`), then read that"
            )
        root = folder.resolve().parent  # an image may be one folder above
        files += [PageFile(file.resolve(), root, write / file.relative_to(folder)) for file in found]
    targets = Counter(file.target for file in files)
    for file in files:
        if targets[file.target] > 1:
            raise HtrError(f"two pages would be written to {file.target}: read them into folders of their own")
        if file.target.resolve() == file.source:
            raise HtrError(f"--write {write} would replace {file.source}: name another folder")
    return files


if __name__ == "__main__":
    run_command(transcribe, positional="images")
