"""Other recognisers on the same lines: `python benchmarks/peers.py --models FILE,NAME --data DIR,DIR`.

Each peer runs in a process of its own with as many threads, its own preprocessing and its own decoding, from image
files and from memory, alone and in batches; all of them and our models take turns in every round. Those that need
packages have an environment each, which one command makes from the published packages:

    python benchmarks/peers.py --setup rapidocr,kraken --folder .peers
    python benchmarks/peers.py --models latin-s,runs/x/export/student/model.onnx --data DIR,DIR --language eng,fra

What reads with published weights is zero-shot; what was trained on lines of the corpus is in another table; networks
with random weights are timed on the lines of the first corpus. A peer that cannot run has a row with the reason.
`tools/figures.py` writes the tables and the drawing from the result.
"""

import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.peer_lines import Pairs, write_pairs
from benchmarks.peer_measuring import Entrant, Terms, measure
from benchmarks.peer_rows import PeerCorpus, PeerRow, Peers, SetUp
from benchmarks.peer_setup import PEERS, Kind, interpreter, set_up
from benchmarks.results import command_line, save, this_machine
from benchmarks.splits import Split, test_splits
from htrcompress.card import Card
from htrcompress.catalogue.find import locate
from htrcompress.cli import console, run_command
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import open_dataset, sources_of
from htrcompress.errors import HtrError
from htrcompress.models.registry import build
from htrcompress.runtime import load
from htrcompress.runtime.backend import precision_of

INTERPRETER = Path(sys.executable)


@dataclass(frozen=True)
class PeersOptions:
    """Measures other recognisers beside our models, on the same lines and threads."""

    models: str | None = None
    """Our models, files or names, with commas between."""
    data: str | None = None
    """A dataset's folder, or several with commas between; each is read by itself."""
    split: str | None = None
    """The split whose lines are read; `test` if not given, or the first test split where a dataset has no `test`."""
    peers: str = ",".join(PEERS)
    """The peers to measure, with commas between."""
    setup: str | None = None
    """Make the environments of these peers, with commas between, and measure nothing."""
    pairs: Path | None = None
    """Write the training and validation lines here as kraken takes them, image beside text, and measure nothing."""
    folder: Path = Path(".peers")
    """Where the environments are."""
    language: str = "eng"
    """The language that Tesseract reads, or one for each dataset with commas between."""
    kraken_weights: Path | None = None
    """A model that `ketos train` made of the training lines of --data; random weights if not given."""
    batch: int = 32
    """Lines in a batch; each recogniser also reads them one by one."""
    threads: int = 2
    """CPU threads of each."""
    lines: int = 200
    """How many lines of each split are timed, spread evenly."""
    rounds: int = 3
    """Timed rounds; one more comes first, to warm up."""
    scored: int | None = None
    """How many lines of each split are read for the error rates, spread evenly; all if not given."""
    out: Path | None = None
    """A JSON file for the result; it is written again after each dataset."""

    def __post_init__(self) -> None:
        self.terms()
        for flag, words in (("peers", self.peers), ("setup", self.setup)):
            unknown = [name for name in names(words) if name not in PEERS]
            if unknown:
                raise HtrError(f"--{flag} knows no '{unknown[0]}': choose {', '.join(PEERS)}")

    def terms(self) -> Terms:
        """What is the same for all."""
        return Terms(self.threads, self.batch, self.lines, self.rounds, self.scored)


def names(words: str | None) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in (words or "").split(",") if name.strip()]


def measure_peers(options: PeersOptions) -> Peers | SetUp | Pairs:
    """Measures peers and our models, or makes environments or files for them.

    Raises:
        HtrError: the data or one of our models cannot be used, or options contradict each other.
    """
    if options.setup:
        with console.status(f"installing {options.setup}"):
            found = {name: set_up(name, options.folder) for name in names(options.setup)}
        return SetUp([name for name in found if not found[name]], {name: why for name, why in found.items() if why})
    if options.data is None:
        raise HtrError("name the lines with --data")
    if options.pairs:
        return write_pairs(open_dataset(options.data), options.pairs)
    datasets = [open_dataset(source) for source in sources_of(options.data)]
    languages = names(options.language)
    languages *= len(datasets) if len(languages) == 1 else 1
    if len(languages) != len(datasets):
        raise HtrError(f"--language names {len(languages)} languages and --data {len(datasets)} datasets: one for each")
    if options.kraken_weights and len(datasets) > 1:
        raise HtrError("--kraken_weights was trained on the lines of one dataset: name that one alone with --data")
    splits = [_split(dataset, options.split) for dataset in datasets]
    ours = _ours(options.models, options.threads)
    corpora: list[PeerCorpus] = []
    result = Peers(command_line(), corpora, asdict(options.terms()), this_machine())
    for dataset, split, language in zip(datasets, splits, languages, strict=True):
        entrants = [_entrant(*one, dataset) for one in ours]
        entrants += _peers(options, language, with_random=not corpora)
        corpora.append(measure(entrants, dataset.name, split, options.terms()))
        save(result, options.out)
    return result


def _split(dataset: Dataset, name: str | None) -> Split:
    found = test_splits(dataset) if name is None else [name]
    return Split(dataset, "test" if "test" in found else found[0])


def _ours(models: str | None, threads: int) -> list[tuple[str, Path, Card]]:
    """Our models: what to call them, their files and cards. What is no model is refused before anything is measured."""
    files = [locate(name) for name in names(models)]
    cards = [load(file, threads, "cpu").card for file in files]
    titles = [f"{card.name} {precision_of(file)}" for file, card in zip(files, cards, strict=True)]
    several = {title for title, count in Counter(titles).items() if count > 1}
    titles = [f"{title}, {file}" if title in several else title for title, file in zip(titles, files, strict=True)]
    return list(zip(titles, files, cards, strict=True))


def _entrant(title: str, file: Path, card: Card, dataset: Dataset) -> Entrant:
    """One of our models on a dataset."""
    kind: Kind = "trained" if _was_trained_on(card, dataset) else "zero-shot"
    parameters = sum(p.numel() for p in build(card.architecture, len(card.charset) + 1).parameters())
    row = PeerRow(title, kind, parameters=parameters, ours=True)
    return Entrant(row, INTERPRETER, "ours.py", {"model": str(file)})


def _was_trained_on(card: Card, dataset: Dataset) -> bool:
    """Whether a model learnt these training lines, by their hash; of a mix, whether it names the dataset."""
    trained = card.data.get("splits", {}).get("train", {}).get("hash")
    mixed = str(card.data.get("name", "")).split("+")
    return bool(trained and trained == dataset.identity("train")) or (len(mixed) > 1 and dataset.name in mixed)


def _peers(options: PeersOptions, language: str, with_random: bool) -> list[Entrant]:
    """The peers on one dataset; those with random weights only where they are asked for."""
    entrants = []
    for name in names(options.peers):
        peer = PEERS[name]
        runner_options, kind = dict(peer.options), peer.kind
        if name == "tesseract":
            runner_options["language"] = language
        if name == "kraken" and options.kraken_weights is not None:
            runner_options["weights"], kind = str(options.kraken_weights), "trained"
        if kind == "speed" and not with_random:
            continue
        entrant = Entrant(PeerRow(peer.title, kind), Path(), peer.runner, runner_options, peer.sources)
        try:
            entrants.append(replace(entrant, python=interpreter(name, options.folder)))
        except HtrError as error:
            entrants.append(replace(entrant, row=replace(entrant.row, reason=str(error))))
    return entrants


if __name__ == "__main__":
    run_command(measure_peers)
