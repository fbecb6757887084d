"""The other recognisers: what they are, how each gets an environment of its own, and how its process is spoken to."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

RUNNERS = Path(__file__).parent / "peer_runners"
READY = "ready"
FAILED = "failed.txt"
Kind = Literal["zero-shot", "trained", "speed"]


@dataclass(frozen=True)
class Peer:
    """Another recogniser.

    Attributes:
        title: for tables.
        runner: its file in `peer_runners/`.
        kind: `zero-shot` with its published weights, `trained` on the dataset, `speed` with random weights.
        requirements: what pip installs into an environment of its own; none to run in the project's.
        program: what the system must have.
        options: of the runner.
        sources: where it can read from.
    """

    title: str
    runner: str
    kind: Kind
    requirements: tuple[str, ...] = ()
    program: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ("memory", "files")


PEERS = {
    "rapidocr": Peer("PP-OCRv6 small", "rapidocr_rec.py", "zero-shot", ("rapidocr==3.10.0", "onnxruntime==1.31.1")),
    "tesseract": Peer("Tesseract", "tesseract_lines.py", "zero-shot", program="tesseract", sources=("files",)),
    "kraken": Peer("kraken, default network", "kraken_lines.py", "speed", ("kraken==7.1.1", "torch==2.13.0")),
    "pylaia": Peer("PyLaia, default network", "published.py", "speed", options={"network": "pylaia"}),
    "retsinas": Peer("Retsinas et al.", "published.py", "speed", options={"network": "retsinas"}),
}
"""Name to recogniser; the names are those of `--peers` and `--setup`."""


def set_up(name: str, folder: Path) -> str:
    """Makes a peer's environment `folder/name`, where it has one; returns why it failed, or nothing."""
    peer, place = PEERS[name], folder / name
    if not peer.requirements:
        return "" if not peer.program or shutil.which(peer.program) else _missing(peer)
    if _is_ready(peer, place):
        return ""
    shutil.rmtree(place, ignore_errors=True)
    steps = [[sys.executable, "-m", "venv", str(place)]]
    steps += [[str(_python(place)), "-m", "pip", "install", "--disable-pip-version-check", *peer.requirements]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"its installation failed: {_last_line(done.stderr)}"
            write_atomic(place / FAILED, reason.encode())
            return reason
    write_atomic(place / READY, " ".join(peer.requirements).encode())
    return ""


def interpreter(name: str, folder: Path) -> Path:
    """The Python that runs a peer.

    Raises:
        HtrError: it is not set up; the sentence says why.
    """
    peer, place = PEERS[name], folder / name
    if peer.program and not shutil.which(peer.program):
        raise HtrError(_missing(peer))
    if not peer.requirements:
        return Path(sys.executable)
    if _is_ready(peer, place):
        return _python(place)
    failed = place / FAILED
    if failed.is_file():
        raise HtrError(failed.read_text(encoding="utf-8"))
    raise HtrError(f"not set up: `python benchmarks/peers.py --setup {name} --folder {folder}`")


def _is_ready(peer: Peer, place: Path) -> bool:
    """Whether an environment holds these very versions."""
    ready = place / READY
    return ready.is_file() and ready.read_text(encoding="utf-8").split() == list(peer.requirements)


def _missing(peer: Peer) -> str:
    return f"the system has no {peer.program}"


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _absolute(files: Sequence[Path]) -> list[str]:
    return [str(file.resolve()) for file in files]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it said nothing"


class Process:
    """A recogniser in a process of its own, which waits without computing while others have their turn.

    Args:
        python: what runs it.
        runner: its file in `peer_runners/`.
        files: the lines' image files.
        threads: CPU threads.
        options: of the runner.

    Attributes:
        about: what it says of itself.

    Raises:
        HtrError: it failed; the last line of its errors is in the sentence.
    """

    def __init__(self, python: Path, runner: str, files: list[Path], threads: int, options: dict[str, Any]):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}  # ours
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._child = subprocess.Popen(
            [str(python), str(RUNNERS / runner)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env=environment | {"OMP_NUM_THREADS": str(threads)},
        )
        job = {"files": _absolute(files), "threads": threads, "options": options}
        self.about = self._ask(job)

    def read(self, source: str, batch: int, files: Sequence[Path] = ()) -> tuple[float, list[str]]:
        """Seconds for all lines, and their texts; of `files` in the place of those that it has, if named."""
        request: dict[str, Any] = {"source": source, "batch": batch}
        found = self._ask(request | ({"files": _absolute(files)} if files else {}))
        return found["seconds"], found["texts"]

    def close(self) -> None:
        """Ends the process."""
        assert self._child.stdin and self._child.stdout
        self._child.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it ended before
            self._child.stdin.close()
        self._child.wait()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin and self._child.stdout
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._child.wait()
            self._errors.seek(0)
            reason = _last_line(self._errors.read())
            self.close()
            raise HtrError(f"it failed: {reason}")
        found: dict[str, Any] = json.loads(answer)
        return found
