"""Tesseract from the system, told that each image is one line (`--psm 7`). It takes files only.

A batch is one process that is given a list of files; starting it and opening the language are part of the time.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protocol import Reader, serve


class Tesseract(Reader):
    """One language, such as `eng`."""

    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        self.language = options["language"]
        self.environment = {**os.environ, "OMP_THREAD_LIMIT": str(threads)}
        shown = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=True)
        where = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True).stdout
        if self.language not in where.split():
            raise SystemExit(f"tesseract has no language '{self.language}': install tesseract-ocr-{self.language}")
        data = Path(where.splitlines()[0].split('"')[1]) / f"{self.language}.traineddata"
        self.about = {
            "version": f"{(shown.stdout or shown.stderr).split(chr(10))[0]}, {self.language}",
            "arithmetic": "INT8 weights",
            "parameters": None,
            "bytes": data.stat().st_size,
        }

    def decoded(self, files: Sequence[str]) -> list[Any]:
        return list(files)

    def read(self, pictures: Sequence[Any], batch: int) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(pictures), batch):
            texts += self._read(pictures[start : start + batch])
        return texts

    def _read(self, files: Sequence[str]) -> list[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("".join(f"{file}\n" for file in files))
            listed.flush()
            command = ["tesseract", listed.name, "stdout", "--psm", "7", "-l", self.language]
            done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=True)
        pages = done.stdout.split("\f")[: len(files)]
        return [" ".join(page.split()) for page in pages] + [""] * (len(files) - len(pages))


if __name__ == "__main__":
    serve(Tesseract)
