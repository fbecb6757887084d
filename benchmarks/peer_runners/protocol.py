"""How a peer's process talks with `benchmarks/peers.py`: one line of JSON each way, over stdin and stdout.

The first line says what to open: `{"files": [...], "threads": 2, "options": {...}}`; the answer describes what was
opened. Each line after that asks for one reading: `{"source": "files" or "memory", "batch": 32}`; the answer holds the
texts and the seconds that they took, from image files or from pictures that were decoded before. With `"files"` in it,
these image files are read in the place of those that were opened.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


class Reader:
    """One recogniser, opened.

    Attributes:
        about: `version`, `arithmetic`, `parameters` and `bytes` of the weights; None where that is not known.
    """

    about: dict[str, Any]

    def decoded(self, files: Sequence[str]) -> list[Any]:
        """Image files as this recogniser takes them, decoded and nothing more."""
        raise NotImplementedError

    def opened(self, files: Sequence[str]) -> list[Any]:
        """What `read` takes to read from files; they are decoded first by most."""
        return self.decoded(files)

    def read(self, pictures: Sequence[Any], batch: int) -> list[str]:
        """The texts of pictures, with its own preprocessing and decoding."""
        raise NotImplementedError


def serve(make: Callable[[int, dict[str, Any]], Reader]) -> None:
    """Answers requests until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    reader = make(job["threads"], job["options"])
    files = job["files"]
    pictures = reader.decoded(files)
    _answer(answers, reader.about)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        given = pictures if request["source"] == "memory" else reader.opened(request.get("files", files))
        texts = reader.read(given, request["batch"])
        _answer(answers, {"seconds": time.perf_counter() - start, "texts": texts})


def _answer(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def batches(widths: Sequence[float], batch: int) -> list[list[int]]:
    """Places of pictures in batches of like widths, as most recognisers read many lines."""
    order = sorted(range(len(widths)), key=lambda place: widths[place])
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def greedy(labels: Sequence[int]) -> list[int]:
    """CTC's best path: repeats and the blank, 0, left out."""
    return [label for place, label in enumerate(labels) if label and (not place or labels[place - 1] != label)]
