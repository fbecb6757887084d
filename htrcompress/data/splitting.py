"""Splits for datasets that have none: by page, by group (a hand), or line by line; and splits from lists of names.

Lines of one page share their ink, paper and often their sentences, so that a model tested on pages that it was trained
on looks better than it is. What is drawn depends on the names and the seed alone, not on the order of the lines.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from htrcompress.data.folders import Inside
from htrcompress.data.lazy import chosen
from htrcompress.data.lines import Dataset, JoinedLines, Line
from htrcompress.data.naming import split_name, without_suffix
from htrcompress.errors import HtrError, listed
from htrcompress.utils.io import read_rows, write_atomic

Unit = Literal["page", "group", "line"]
UNITS: tuple[Unit, ...] = ("page", "group", "line")
NAMES = ("train", "valid", "test")
SUFFIXES = (".lst", ".txt", ".ln", ".uttlist")
"""Of the files with lists of names."""


@dataclass(frozen=True)
class Shares:
    """How many of the lines are drawn for validation and test."""

    valid: float = 0.1
    """Share of the lines that become validation lines."""
    test: float = 0.1
    """Share of the lines that become test lines, where there are none yet."""
    seed: int = 0
    """Decides which."""


def drawn(dataset: Dataset, unit: Unit, shares: Shares) -> Dataset:
    """The dataset with splits of whole units.

    A dataset whose lines are all in one split gets `train`, `valid` and `test`; one with `train` and `test` lines but
    no `valid` ones gets these from its training lines.

    Args:
        dataset: its texts do not matter.
        unit: what stays together.
        shares: of the lines, and the seed.

    Raises:
        HtrError: the dataset has splits already, lines have no such unit, or there are too few units.
    """
    filled = {name: lines for name, lines in dataset.splits.items() if lines}
    if len(filled) == 1:
        [lines] = filled.values()
        wanted = {"test": shares.test, "valid": shares.valid}
    elif "train" in filled and "valid" not in filled:
        lines, wanted = filled["train"], {"valid": shares.valid}
    else:
        have = ", ".join(filled) or "no lines"
        raise HtrError(f"--split {unit}: {dataset.name} is split already ({have}): leave the option out")
    places = _share_out([_unit(line, unit, dataset.name) for line in lines], unit, wanted, shares.seed)
    kept = {} if len(filled) == 1 else {name: lines for name, lines in filled.items() if name != "train"}
    made = {name: _renamed(lines, rows, name) for name, rows in places.items()}
    order = [*NAMES, *(name for name in kept if name not in NAMES)]
    return replace(dataset, splits={name: {**kept, **made}[name] for name in order if name in {**kept, **made}})


FEWEST_TO_HOLD_BACK = 32
"""Of fewer training lines than this, all are worth more in training than in a validation that says little."""
HELD_BACK, MOST_HELD_BACK = 0.125, 0.25
"""Share of the training lines that `with_validation` aims at, and the most that whole pages or hands may take."""


def with_validation(dataset: Dataset, seed: int) -> tuple[Dataset, Unit | None]:
    """The dataset with validation lines that are taken from its training lines, where it has none.

    Whole pages are taken where the lines name pages, else whole groups, else single lines; single ones too where whole
    pages would be more than a quarter of all lines.

    Args:
        dataset: with or without validation lines.
        seed: decides which.

    Returns:
        the dataset, which stays without validation lines if it has fewer than `FEWEST_TO_HOLD_BACK` training lines;
        and what was taken together, None if nothing was taken.

    Raises:
        HtrError: it has no training lines.
    """
    lines = dataset.split("train")
    if dataset.splits.get("valid") or len(lines) < FEWEST_TO_HOLD_BACK:
        return dataset, None
    for unit in UNITS:
        names = [{"page": line.page, "group": line.group, "line": line.id}[unit] for line in lines]
        if all(names) and len(set(names)) > 1:
            rows = _share_out(names, unit, {"valid": HELD_BACK}, seed)
            if len(rows["valid"]) <= MOST_HELD_BACK * len(lines):
                made = {name: chosen(lines, rows[name]) for name in ("train", "valid")}
                return replace(dataset, splits={**dataset.splits, **made}), unit
    raise HtrError(f"{dataset.name}: all training lines have the same name, so that none can be held back: rename them")


def _unit(line: Line, unit: Unit, name: str) -> str:
    found = {"page": line.page, "group": line.group, "line": line.id}[unit]
    if not found:
        others = " or ".join(other for other in UNITS if other != unit)
        raise HtrError(f"--split {unit}: {line.id} of {name} names no {unit}: split by {others}")
    return found


def _share_out(units: Sequence[str], unit: Unit, wanted: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """The rows of each split: whole units are drawn until a split has its share, and the others train."""
    sizes = Counter(units)
    if len(sizes) <= len(wanted):
        counted = f"{len(sizes)} {unit}{'' if len(sizes) == 1 else 's'}"
        raise HtrError(f"--split {unit}: {counted} cannot be shared out among {len(wanted) + 1} splits")
    order = sorted(sizes)
    random.Random(f"split/{seed}").shuffle(order)
    where: dict[str, str] = {}
    for place, (name, share) in enumerate(wanted.items()):
        count = 0
        for found in order:
            spare = len(order) - len(where) > len(wanted) - place  # the splits to come need one each
            if found not in where and spare and (not count or count + sizes[found] / 2 <= share * len(units)):
                where[found] = name
                count += sizes[found]
    rows: dict[str, list[int]] = {"train": [], **{name: [] for name in wanted}}
    for row, found in enumerate(units):
        rows[where.get(found, "train")].append(row)
    return rows


def _renamed(lines: Sequence[Line], rows: Sequence[int], split: str) -> Sequence[Line]:
    return [replace(line, split=split) for line in chosen(lines, rows)]


def listed_splits(
    dataset: Dataset, folder: Path, lists: Mapping[str, Sequence[str]], absent_too: AbstractSet[str] = frozenset()
) -> Dataset:
    """The dataset with the splits that lists of names say.

    A row of a list names a line by its id, with or without folders and suffix, or all lines of a page or group. Lines
    in no list are left out and counted.

    Args:
        dataset: its splits do not matter.
        folder: of the lists, for errors.
        lists: see `lists_in`.
        absent_too: names that the lists may hold though no line of the dataset goes by them.

    Raises:
        HtrError: a list names what the dataset lacks or what another list has.
    """
    lines = JoinedLines(list(dataset.splits.values()))
    known = {name for line in lines for name in _names(line)} | absent_too
    where: dict[str, str] = {}
    for split, rows in lists.items():
        names = [name if name in known else without_suffix(name) for name in rows]
        absent = [name for name in names if name not in known]
        if absent:
            raise HtrError(
                f"the list of {split} in {folder} names what {dataset.name} lacks ({len(absent)}): {listed(absent)}"
            )
        for name in names:
            if where.setdefault(name, split) != split:
                raise HtrError(f"{name} is in the lists of {where[name]} and {split} in {folder}: leave it out of one")
    places: dict[str, list[int]] = {name: [] for name in lists}
    for row, line in enumerate(lines):
        found = next((where[name] for name in _names(line) if name in where), None)
        if found:
            places[found].append(row)
    left = len(lines) - sum(map(len, places.values()))
    dropped = {**dataset.dropped, **({"in no list": left} if left else {})}
    return replace(dataset, splits={name: _renamed(lines, places[name], name) for name in places}, dropped=dropped)


def _names(line: Line) -> tuple[str, ...]:
    """What lists may call a line by."""
    path = PurePosixPath(line.id)
    return tuple(name for name in (line.id, path.name, path.stem, line.page, line.group) if name)


def lists_in(folder: Path, inside: Inside | None = None) -> dict[str, list[str]]:
    """The names in the lists of a folder by split: `train.lst`, `valid.lst`, `test.lst` or the like.

    Args:
        folder: where the lists are; an empty result says that there are none in it.
        inside: the folder that the user named, which no list may be a link out of; `folder` if not given.

    Raises:
        HtrError: there is no such folder, or a list is no file, not UTF-8, or a link out of the folder.
    """
    if not folder.is_dir():
        raise HtrError(f"{folder}: there is no such folder, from which lists of lines were to be read")
    inside = inside or Inside(folder)
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        split = split_name(path.stem.lower().rstrip("0123456789"))
        if path.suffix in SUFFIXES and split.partition("_")[0] in NAMES and not path.is_dir():
            rows = read_rows(inside.check(path))
            found.setdefault(split, []).extend(row.strip() for row in rows if row.strip())
    return {name: found[name] for name in (*NAMES, *sorted(found)) if name in found}


def write_lists(dataset: Dataset, folder: Path) -> None:
    """Writes the ids of each split as `<split>.lst`, which `listed_splits` reads."""
    for name, lines in dataset.splits.items():
        write_atomic(folder / f"{name}.lst", "".join(f"{line.id}\n" for line in lines).encode())
