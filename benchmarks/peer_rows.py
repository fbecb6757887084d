"""What is measured of other recognisers, in the shape that its JSON document has."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.peer_setup import Kind
from benchmarks.timing import Spread


@dataclass(frozen=True)
class PeerRow:
    """One recogniser; what was not measured is None.

    Attributes:
        name: our model and its arithmetic, or the peer.
        kind: `trained` on lines of this corpus, `zero-shot`, or `speed`: random weights.
        reason: why it was not measured; empty if it was.
        version, arithmetic: of the peer and its runtime.
        parameters, bytes: of the weights.
        cer, interval, wer: error rates, fractions, in batches, from files.
        difference: CER minus that of our first model on the same lines, and its paired 95 % interval.
        speeds: `memory, batch 32` and so on to lines per second.
        differing: timed lines that are read otherwise alone than in batches.
        ours: whether it is a model of this project.
    """

    name: str
    kind: Kind
    reason: str = ""
    version: str = ""
    arithmetic: str = ""
    parameters: int | None = None
    bytes: int | None = None
    cer: float | None = None
    interval: tuple[float, float] | None = None
    wer: float | None = None
    difference: tuple[float, float, float] | None = None
    speeds: dict[str, Spread] = field(default_factory=dict)
    differing: int | None = None
    ours: bool = False


@dataclass(frozen=True)
class PeerCorpus:
    """Recognisers on one corpus.

    Attributes:
        name, split, hash: of the corpus, and of its split that was read.
        lines: how many of its lines the error rates are of.
        timed: how many of them the speeds are of.
        rows: our models first.
    """

    name: str
    split: str
    hash: str
    lines: int
    timed: int
    rows: list[PeerRow]


@dataclass(frozen=True)
class Peers:
    """What was measured.

    Attributes:
        command: how.
        corpora: what was read, one after the other.
        settings: threads, batch, lines, rounds, scored; see `Terms`.
        machine: the processor and its cores.
    """

    command: str
    corpora: list[PeerCorpus]
    settings: dict[str, Any]
    machine: dict[str, Any]
    kind: str = "peers"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("", "", "", "CER %", "lines/s from files", "from memory", "otherwise alone", "")
        for corpus in self.corpora:
            for row in corpus.rows:
                cer = "" if row.cer is None else f"{100 * row.cer:.2f}"
                found = [
                    ", ".join(f"{s.median:.1f}" for key, s in row.speeds.items() if key.startswith(source))
                    for source in ("files", "memory")
                ]
                table.add_row(corpus.name, row.name, row.kind, cer, *found, str(row.differing or ""), row.reason)
        return table


@dataclass(frozen=True)
class SetUp:
    """Peers whose environments were made, and why others' were not."""

    ready: list[str]
    failed: dict[str, str]

    @property
    def exit_code(self) -> int:
        """1 where one failed."""
        return int(bool(self.failed))

    def __rich__(self) -> str:
        lines = [f"{name}: ready" for name in self.ready] + [f"{name}: {why}" for name, why in self.failed.items()]
        return "\n".join(lines)
