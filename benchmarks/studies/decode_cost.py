"""What the decode in the graph costs, and what it saves: `python benchmarks/studies/decode_cost.py MODEL --data DIR`.

The same network is exported with the greedy decode inside and without it, and both read the same batches in turn; the
share is what the decode adds to the time, the median over the rounds. The bytes are those of the outputs, which a GPU
would send to the host: logits without the decode, labels with it.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import command_line, save
from benchmarks.splits import Split
from benchmarks.timing import Spread, require_positive
from htrcompress import runs
from htrcompress.cli import run_command
from htrcompress.image import pad
from htrcompress.runtime.onnx_backend import DECODED
from htrcompress.utils import machine

WARM_UP = 2


@dataclass(frozen=True)
class DecodeResult:
    """Cost of the decode.

    Attributes:
        command: how this was measured.
        model: name of the model.
        data: dataset, split and its hash.
        lines: lines that were read in each round.
        batch: lines in a batch.
        threads: CPU threads.
        milliseconds: of a round of `graph` and of `none`.
        share: what the decode adds, as a share of the whole: the median over the rounds, and the 95 % interval of
            that median, by bootstrap over rounds.
        bytes: `graph` and `none` to the bytes of the outputs of a line.
        machine: the processor.
    """

    command: str
    model: str
    data: dict[str, str]
    lines: int
    batch: int
    threads: int
    milliseconds: dict[str, Spread]
    share: tuple[float, float, float]
    bytes: dict[str, float]
    machine: str
    kind: str = "decode_cost"

    def __rich__(self) -> str:
        share, low, high = (100 * value for value in self.share)
        return (
            f"decode: {share:+.2f} % of the time ({low:+.2f} to {high:+.2f}) at batch {self.batch}; "
            f"outputs a line: {self.bytes['graph']:,.0f} bytes with it, {self.bytes['none']:,.0f} without"
        )


@dataclass(frozen=True)
class DecodeOptions:
    """Times the exported graph with the decode inside and without it, on the CPU."""

    model: Path | None = None
    """A .safetensors file, or a run folder; the student of the newest run if not given."""
    data: str | None = None
    """A dataset's folder, or `synthetic`; what the model was trained on if not given."""
    split: str = "test"
    """The split to read."""
    batch: int = 32
    """Lines in a batch, of like widths."""
    threads: int = 2
    """CPU threads."""
    lines: int = 128
    """Lines in a round, spread over the split."""
    rounds: int = 40
    """Timed rounds, in each of which both graphs have their turn."""
    out: Path | None = None
    """A JSON file for the result."""


def measure_decode(options: DecodeOptions) -> DecodeResult:
    """Times the exported graph with the decode inside and without it, on the CPU.

    Raises:
        HtrError: the model or the data cannot be used, or a number is below 1.
    """
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.models.serialization import load_model
    from htrcompress.runtime.onnx_session import open_session

    require_positive(batch=options.batch, threads=options.threads, lines=options.lines, rounds=options.rounds)
    file = runs.model(options.model)
    network, card = load_model(file)
    dataset = runs.open_data(options.data, file, card)
    chosen = Split(dataset, options.split)
    scaled = sorted((i for i in chosen.scaled(card) if i is not None), key=lambda image: image.shape[1])
    places = np.linspace(0, len(scaled) - 1, min(options.lines, len(scaled))).astype(int)
    batches = [pad([scaled[i] for i in places[at : at + options.batch]]) for at in range(0, len(places), options.batch)]
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        sessions = {}
        for kind in ("graph", "none"):
            path = Path(scratch) / f"{kind}.onnx"
            export_onnx(network, card, path, decode=kind)
            sessions[kind], _ = open_session(path, str(path), "cpu", options.threads)
        for _ in range(WARM_UP + options.rounds):
            for kind, session in sessions.items():
                took, size = _round(session, batches)
                seconds.setdefault(kind, []).append(took)
                sizes[kind] = size / len(places)
    times = {kind: 1000 * np.array(some[WARM_UP:]) for kind, some in seconds.items()}
    result = DecodeResult(
        command=command_line(),
        model=card.name,
        data={"name": dataset.name, "split": options.split, "hash": chosen.hash},
        lines=len(places),
        batch=options.batch,
        threads=options.threads,
        milliseconds={kind: Spread(float(np.median(t)), float(t.min()), float(t.max())) for kind, t in times.items()},
        share=_median(1 - times["none"] / times["graph"]),
        bytes=sizes,
        machine=machine.processor(),
    )
    save(result, options.out)
    return result


def _round(session: Any, batches: list[Any]) -> tuple[float, int]:
    """Seconds that all batches take, and the bytes that come back."""
    start, size = time.perf_counter(), 0
    given = [output.name for output in session.get_outputs()]
    names = list(DECODED) if set(DECODED) <= set(given) else given  # a decoded graph has logits too: not fetched
    for pixels, widths in batches:
        size += sum(array.nbytes for array in session.run(names, {"pixels": pixels, "widths": widths}))
    return time.perf_counter() - start, size


def _median(values: Any) -> tuple[float, float, float]:
    draws = np.random.default_rng(0).choice(values, (1000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(np.median(values)), float(low), float(high)


if __name__ == "__main__":
    run_command(measure_decode, positional="model")
