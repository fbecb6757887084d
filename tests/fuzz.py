"""Reads damaged files of every kind that htrcompress takes from strangers, and counts what becomes of them.

    python tests/fuzz.py --minutes 60 --keep bugs          all kinds; the input of every bug is kept in the folder bugs
    python tests/fuzz.py --minutes 5 --kinds page,alto --seed 7 --json counts.json

Each case is good files (`fuzz_kinds.py`), damaged at random (`fuzz_damage.py`), read in a process that may use 1 GiB of
address space more than it does and 20 s of CPU time, whatever else the machine does. Right is to read them or to raise
an HtrError; any other exception (also one that the reader of a dataset did not foresee, which `open_dataset` puts into
a sentence), want of memory, a crash and a hang are bugs, and the exit status is 1. The cases follow from the seed, so a
case is the same in every run.
"""

import argparse
import faulthandler
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

EXTRA_BYTES = 1 << 30
SECONDS = 20.0
"""CPU time of a case."""
WAIT = 180.0
"""Seconds on the clock, for a case that waits for something and computes nothing."""
KEPT_ALIKE = 3
"""Inputs that are kept of bugs with the same kind and place."""
OUTCOMES = ("read", "refused", "exception", "limit", "crash", "hang")
BUGS = OUTCOMES[2:]


@dataclass(frozen=True)
class Outcome:
    """What became of a case: one of `OUTCOMES`, of a bug the place and the traceback, and its CPU seconds."""

    what: str
    place: str = ""
    trace: str = ""
    seconds: float = 0.0


@dataclass
class Counts:
    """The outcomes of one kind, its slowest case in CPU seconds, and where its bugs were."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    bugs: Counter[str] = field(default_factory=Counter)


def work(pipe: Connection, good: Path, folder: Path, seed: int) -> None:
    """A worker: runs the cases that it is sent, each in `folder/case`."""
    from fuzz_damage import damage
    from fuzz_kinds import KINDS

    os.chdir(folder)
    faulthandler.enable(open(folder / "crash.txt", "w"))  # noqa: SIM115
    others = [file for file in good.rglob("*") if file.is_file()]
    pipe.send(None)
    while True:
        name, number = pipe.recv()
        root = folder / "case"
        shutil.copytree(good / name, root)
        damage(random.Random(f"{seed}/{name}/{number}"), root, others)
        pipe.send(None)  # from here on time counts
        start = time.process_time()
        outcome, _ = _limited(KINDS[name].read, root, EXTRA_BYTES)
        seconds = time.process_time() - start
        if outcome[0] == "limit":  # a decoder may have asked for more than it would ever have touched
            again, touched = _limited(KINDS[name].read, root, 8 * EXTRA_BYTES)
            outcome = again if touched < EXTRA_BYTES else outcome
        pipe.send(Outcome(*outcome, seconds))


def _limited(read: object, root: Path, extra: int) -> tuple[tuple[str, str, str], int]:
    """What becomes of a case with so many bytes of address space, and how many of memory it touched."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    used, resident = (int(pages) * resource.getpagesize() for pages in Path("/proc/self/statm").read_text().split()[:2])
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, resource.RLIM_INFINITY))
    outcome = _read(read, root)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    [peak] = [row.split()[1] for row in Path("/proc/self/status").read_text().split("\n") if row.startswith("VmHWM")]
    return outcome, int(peak) * 1024 - resident


def _read(read: object, root: Path) -> tuple[str, str, str]:
    from fuzz_kinds import out_of_memory

    from htrcompress.errors import HtrError

    try:
        read(root)  # type: ignore[operator]
        return "read", "", ""
    except Exception as error:
        if isinstance(error, HtrError) and error.__cause__ is None and not out_of_memory(error):
            return "refused", "", str(error)
        inner = error.__cause__ or error
        ours = [f for f in traceback.extract_tb(inner.__traceback__) if "htrcompress" in f.filename] or [None]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours[-1] else ""
        what = "limit" if out_of_memory(error) else "exception"
        return what, f"{type(inner).__name__} in {place}", "".join(traceback.format_exception(error))


class Worker:
    """A process that runs cases, and is started anew when one ends or hangs it."""

    def __init__(self, good: Path, folder: Path, seed: int):
        self.good, self.folder, self.seed = good, folder, seed
        self._start()

    def _start(self) -> None:
        self.clear()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.good, self.folder, self.seed), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def clear(self) -> None:
        """Removes what cases leave."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def run(self, name: str, number: int) -> Outcome:
        """Runs a case; its files stay in `folder/case` until `clear`."""
        self.pipe.send((name, number))
        self.pipe.recv()
        if not self._ends():
            self.process.kill()
            self.process.join()
            return Outcome("hang", "hang", seconds=SECONDS)
        try:
            found: Outcome = self.pipe.recv()
            return found
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            return Outcome("crash", f"exit status {code}", (self.folder / "crash.txt").read_text(errors="replace"))

    def _ends(self) -> bool:
        """Waits for a case; False if it takes longer than it may."""
        begun, end = self._cpu_seconds(), time.monotonic() + WAIT
        while not self.pipe.poll(0.5):
            if self._cpu_seconds() - begun > SECONDS or time.monotonic() > end:
                return False
        return True

    def _cpu_seconds(self) -> float:
        """What the process has computed so far; 0 once it is gone."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ready(self) -> None:
        """Makes the worker ready for the next case."""
        if self.process.is_alive():
            for entry in self.folder.iterdir():
                if entry.name != "crash.txt":
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        else:
            self._start()

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()


class Fuzzer:
    """Runs cases in several processes until the time is over."""

    def __init__(self, kinds: list[str], seed: int, keep: Path | None):
        self.kinds, self.seed, self.keep = kinds, seed, keep
        self.counts = {name: Counts() for name in kinds}
        self.lock = threading.Lock()
        self.next = 0

    def run(self, minutes: float, jobs: int) -> None:
        """Runs cases, those of all kinds in turn."""
        end = time.monotonic() + 60 * minutes
        with tempfile.TemporaryDirectory(prefix="htrcompress-fuzz-") as scratch:
            good = Path(scratch) / "good"
            _make(good, self.kinds)
            threads = [
                threading.Thread(target=self._loop, args=(good, Path(scratch) / f"worker{job}", end))
                for job in range(jobs)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _loop(self, good: Path, folder: Path, end: float) -> None:
        worker = Worker(good, folder, self.seed)
        while time.monotonic() < end:
            with self.lock:
                number, place = divmod(self.next, len(self.kinds))
                self.next += 1
            name = self.kinds[place]
            outcome = worker.run(name, number)
            with self.lock:
                self._note(name, number, outcome, folder / "case")
            worker.ready()
        worker.stop()

    def _note(self, name: str, number: int, outcome: Outcome, case: Path) -> None:
        counts = self.counts[name]
        counts.outcomes[outcome.what] += 1
        counts.slowest = max(counts.slowest, outcome.seconds)
        if outcome.what not in BUGS:
            return
        counts.bugs[outcome.place] += 1
        if counts.bugs[outcome.place] > KEPT_ALIKE:
            return
        print(f"{name} {number}: {outcome.what}: {outcome.place}", file=sys.stderr, flush=True)
        if self.keep:
            kept = self.keep / f"{name}-{self.seed}-{number}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(case, kept / "case", symlinks=True, ignore=_no_pipes)
            (kept / "bug.json").write_text(json.dumps(asdict(outcome), indent=1))
            (kept / "trace.txt").write_text(outcome.trace)


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]


def _make(good: Path, kinds: list[str]) -> None:
    """Makes good files, and checks that they are."""
    from fuzz_kinds import KINDS, made

    for root in made(good, kinds):
        KINDS[root.name].read(root)
    for extra in [path for path in good.iterdir() if path.name not in kinds]:
        shutil.rmtree(extra) if extra.is_dir() else extra.unlink()


def table(counts: dict[str, Counts]) -> str:
    """The counts as a table."""
    rows = [("kind", "cases", *OUTCOMES, "slowest CPU s")]
    for name, of in counts.items():
        numbers = [str(of.outcomes[what]) for what in OUTCOMES]
        rows.append((name, str(of.outcomes.total()), *numbers, f"{of.slowest:.1f}"))
    totals = [sum(of.outcomes[what] for of in counts.values()) for what in OUTCOMES]
    rows.append(("all", str(sum(totals)), *map(str, totals), f"{max(of.slowest for of in counts.values()):.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> int:
    """The command."""
    from fuzz_kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long to go on")
    parser.add_argument("--seed", type=int, default=0, help="decides what the damage is")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help="such as page,alto")
    parser.add_argument("--jobs", type=int, default=1, help="cases at once, each in a process of its own")
    parser.add_argument("--keep", type=Path, help="a folder for the input of every bug")
    parser.add_argument("--json", type=Path, help="write the counts to this file too")
    options = parser.parse_args()
    if unknown := set(options.kinds) - KINDS.keys():
        parser.error(f"--kinds: there is no {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    fuzzer = Fuzzer(options.kinds, options.seed, options.keep)
    fuzzer.run(options.minutes, options.jobs)
    print(table(fuzzer.counts))
    for name, counts in fuzzer.counts.items():
        for place, times in counts.bugs.most_common():
            print(f"{name}: {place}: {times}")
    if options.json:
        options.json.write_text(json.dumps({name: vars(counts) for name, counts in fuzzer.counts.items()}, indent=1))
    return int(any(counts.bugs for counts in fuzzer.counts.values()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the others reserve address space far ahead
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    sys.exit(main())
