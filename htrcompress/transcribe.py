"""Reads images of lines: `python -m htrcompress.transcribe IMAGES --model student.onnx`.

Prints `path<TAB>text` for every image, some batches at a time, since lines of like width are read together. An image
that cannot be read is told on stderr, the others are still read, and the exit status is 2.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from htrcompress import runs
from htrcompress.cli import console, run_command
from htrcompress.data.folders import images_in
from htrcompress.errors import HtrError
from htrcompress.image import SUFFIXES
from htrcompress.runtime import Device, load


@dataclass(frozen=True)
class Transcript:
    """What was read in one image.

    Attributes:
        path: the image.
        text: its text; empty if it could not be read.
        score: mean log-probability of the characters.
        error: why it could not be read; empty if it could.
    """

    path: Path
    text: str
    score: float
    error: str = ""


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


def transcribe(
    images: list[Path],
    model: Path | None = None,
    batch: int = 32,
    threads: int | None = None,
    device: Device | None = None,
) -> Transcripts:
    """Reads images of text lines and prints `path<TAB>text` for each.

    Args:
        images: image files, or folders of them.
        model: a .safetensors, .onnx or .engine file, or a run folder; the student of the newest run if not given.
        batch: lines that the network sees at once.
        threads: CPU threads; the runtime's own choice if not given.
        device: where to compute, and nowhere else; a GPU through CUDA where that works, else the CPU, if not given.

    Raises:
        HtrError: a folder has no images, or the model cannot be used.
    """
    paths = expand(images)
    file = runs.model(model)
    readings = load(file, threads, device).read_each(paths, batch)
    transcripts = []
    for path, reading in zip(paths, readings, strict=True):
        if isinstance(reading, HtrError):
            print(f"error: {reading}", file=sys.stderr)
            transcripts.append(Transcript(path, "", 0.0, str(reading)))
        else:
            print(f"{path}\t{reading.text}", file=console.file, flush=True)  # rich would wrap it
            transcripts.append(Transcript(path, reading.text, reading.score))
    return Transcripts(file, transcripts)


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
    run_command(transcribe, "images")
