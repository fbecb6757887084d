"""Other recognisers on the same lines: `python benchmarks/peers.py --models FILE,FILE --data DIR`.

Each peer runs in a process of its own with as many threads, its own preprocessing and its own decoding, from image
files and from memory, alone and in batches; all of them and our models take turns in every round. Those that need
packages have an environment each, which one command makes from the published packages:

    python benchmarks/peers.py --setup rapidocr,kraken --folder .peers
    python benchmarks/peers.py --models runs/x/export/student/model.onnx --data DIR --folder .peers

What reads with published weights is zero-shot; what was trained on the dataset is in another table; networks with
random weights are there for their speed alone. A peer that cannot run has a row with the reason.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peer_lines import Pairs, write_pairs
from benchmarks.peer_rows import PeerRow, Peers, SetUp
from benchmarks.peer_setup import PEERS, Kind, Process, interpreter, set_up
from benchmarks.results import command_line, save, this_machine
from benchmarks.splits import Split, file_of
from benchmarks.timing import Spread, evenly, require_positive
from htrcompress import metrics
from htrcompress.catalogue.find import locate
from htrcompress.cli import console, run_command
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.runtime import load

INTERPRETER = Path(sys.executable)


@dataclass(frozen=True)
class PeersOptions:
    """Measures other recognisers beside our models, on the same lines and threads."""

    models: str | None = None
    """Our models, files or names, with commas between."""
    data: str | None = None
    """A dataset's folder."""
    split: str = "test"
    """The split whose lines are read."""
    peers: str = ",".join(PEERS)
    """The peers to measure, with commas between."""
    setup: str | None = None
    """Make the environments of these peers, with commas between, and measure nothing."""
    pairs: Path | None = None
    """Write the training and validation lines here as kraken takes them, image beside text, and measure nothing."""
    folder: Path = Path(".peers")
    """Where the environments are."""
    language: str = "eng"
    """The language that Tesseract reads."""
    kraken_weights: Path | None = None
    """A model that `ketos train` made of the same training lines; random weights if not given."""
    batch: int = 32
    """Lines in a batch; each recogniser also reads them one by one."""
    threads: int = 2
    """CPU threads of each."""
    lines: int = 200
    """How many lines of the split are read, spread evenly."""
    rounds: int = 3
    """Timed rounds; one more comes first, to warm up."""
    out: Path | None = None
    """A JSON file for the result."""

    def __post_init__(self) -> None:
        require_positive(threads=self.threads, lines=self.lines, rounds=self.rounds, batch=self.batch)
        for flag, words in (("peers", self.peers), ("setup", self.setup)):
            unknown = [name for name in names(words) if name not in PEERS]
            if unknown:
                raise HtrError(f"--{flag} knows no '{unknown[0]}': choose {', '.join(PEERS)}")


def names(words: str | None) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in (words or "").split(",") if name.strip()]


def measure_peers(options: PeersOptions) -> Peers | SetUp | Pairs:
    """Measures peers and our models, or makes environments or files for them.

    Raises:
        HtrError: the data or one of our models cannot be used.
    """
    if options.setup:
        with console.status(f"installing {options.setup}"):
            found = {name: set_up(name, options.folder) for name in names(options.setup)}
        return SetUp([name for name in found if not found[name]], {name: why for name, why in found.items() if why})
    if options.data is None:
        raise HtrError("name the lines with --data")
    dataset = open_dataset(options.data)
    if options.pairs:
        return write_pairs(dataset, options.pairs)
    split = Split(dataset, options.split)
    lines = evenly(split.lines, options.lines)
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        files = [file_of(line, Path(scratch) / f"{number}.png") for number, line in enumerate(lines)]
        rows, processes = _open(options, dataset, files)
        try:
            readings = _rounds(rows, processes, options)
        finally:
            for process in processes.values():
                process.close()
    truth = [line.text for line in lines]
    result = Peers(
        command_line(),
        {"name": dataset.name, "split": options.split, "hash": split.hash, "lines": len(lines)},
        {"threads": options.threads, "rounds": options.rounds, "batch": options.batch},
        _scored(rows, readings, truth, options.batch),
        this_machine(),
    )
    save(result, options.out)
    return result


Readings = dict[int, dict[tuple[str, int], list[tuple[float, list[str]]]]]
"""Number of a row to (source, batch) to the seconds and texts of every round."""


def _open(options: PeersOptions, dataset: Dataset, files: list[Path]) -> tuple[list[PeerRow], dict[int, Process]]:
    """A row for each recogniser, and the processes of those that run, by the number of their row."""
    rows: list[PeerRow] = []
    processes: dict[int, Process] = {}
    for name in names(options.models):
        file = str(locate(name))
        card = load(file, options.threads, "cpu").card  # refuses what is no model before anything is measured
        trained = card.data.get("splits", {}).get("train", {}).get("hash")
        kind: Kind = "trained" if trained and trained == dataset.identity("train") else "zero-shot"
        processes[len(rows)] = Process(INTERPRETER, "ours.py", files, options.threads, {"model": file})
        rows.append(PeerRow("/".join(Path(name).parts[-2:]), kind, ours=True))
    for name in names(options.peers):
        peer = PEERS[name]
        runner_options = dict(peer.options)
        if name == "tesseract":
            runner_options["language"] = options.language
        trained_here = name == "kraken" and options.kraken_weights is not None
        if trained_here:
            runner_options["weights"] = str(options.kraken_weights)
        row = PeerRow(peer.title, "trained" if trained_here else peer.kind)
        try:
            with console.status(f"opening {peer.title}"):
                python = interpreter(name, options.folder)
                processes[len(rows)] = Process(python, peer.runner, files, options.threads, runner_options)
        except HtrError as error:
            row = replace(row, reason=str(error))
        rows.append(row)
    for number, process in processes.items():
        rows[number] = replace(rows[number], **process.about)
    return rows, processes


def _rounds(rows: list[PeerRow], processes: dict[int, Process], options: PeersOptions) -> Readings:
    """Every process has its turn in every round; the first round warms up. One that fails has no later turns."""
    sources = {PEERS[name].title: PEERS[name].sources for name in PEERS}
    found: Readings = {number: {} for number in processes}
    for round_number in range(options.rounds + 1):
        for number in list(processes):
            row = rows[number]
            kinds = [(s, b) for s in sources.get(row.name, ("memory", "files")) for b in (1, options.batch)]
            with console.status(f"round {round_number} of {options.rounds}: {row.name}"):
                try:
                    taken = {kind: processes[number].read(*kind) for kind in kinds}
                except HtrError as error:
                    rows[number] = replace(row, reason=str(error))
                    del processes[number], found[number]
                    continue
            if round_number:
                for kind, one in taken.items():
                    found[number].setdefault(kind, []).append(one)
    return found


def _scored(rows: list[PeerRow], readings: Readings, truth: list[str], batch: int) -> list[PeerRow]:
    """The rows with error rates, speeds, and how many lines depend on the batch."""
    scores: dict[int, metrics.Score] = {}
    for number, of_kind in readings.items():
        alone, together = (next(some[0][1] for kind, some in of_kind.items() if kind[1] == size) for size in (1, batch))
        speeds = {
            f"{source}, batch {lines}": Spread.of([len(truth) / seconds for seconds, _ in some])
            for (source, lines), some in of_kind.items()
        }
        differing = sum(one != other for one, other in zip(alone, together, strict=True))
        rows[number] = replace(rows[number], speeds=speeds, differing=differing)
        if rows[number].kind != "speed":
            score = scores[number] = metrics.score(truth, together)
            rows[number] = replace(rows[number], cer=score.cer, interval=score.interval(), wer=score.wer)
    first = scores.get(0)
    for number, score in scores.items():
        if number and first is not None:
            rows[number] = replace(rows[number], difference=metrics.paired_interval(score, first))
    return rows


if __name__ == "__main__":
    run_command(measure_peers)
