"""This project's models, in its own environment and through the same protocol as the peers."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from protocol import Reader, serve

from htrcompress.image_files import load_grey
from htrcompress.runtime import load


class Ours(Reader):
    """A model file, in the back end of its suffix."""

    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        path = Path(options["model"])
        self.recognizer = load(path, threads, "cpu")
        backend = self.recognizer.backend
        self.about = {
            "version": version("htrcompress"),
            "arithmetic": f"{backend.name}, {backend.arithmetic}",
            "parameters": None,  # known to who asks, from the card
            "bytes": path.stat().st_size,
        }

    def decoded(self, files: Sequence[str]) -> list[Any]:
        return [load_grey(Path(file)) for file in files]

    def opened(self, files: Sequence[str]) -> list[Any]:
        return [Path(file) for file in files]  # the recogniser decodes them on its own threads

    def read(self, pictures: Sequence[Any], batch: int) -> list[str]:
        return [reading.text for reading in self.recognizer.read(pictures, batch)]


if __name__ == "__main__":
    serve(Ours)
