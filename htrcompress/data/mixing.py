"""Several datasets as one, as in `--data en,fr`, and what does not fit together in such a mix."""

from collections import Counter
from collections.abc import Sequence

from htrcompress.data.characters import characters_of
from htrcompress.data.conventions import differences
from htrcompress.data.lines import Dataset, JoinedLines, Line, NamedLines
from htrcompress.errors import HtrError


def mixed(datasets: Sequence[Dataset]) -> Dataset:
    """The lines of several datasets, named after theirs and grouped by it; the notes say what to look at.

    Raises:
        HtrError: two have the same name, or one has no lines.
    """
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise HtrError(
            f"two of the datasets have the same name, {Counter(names).most_common(1)[0][0]}: rename a folder"
        )
    if empty := [dataset.name for dataset in datasets if not any(map(len, dataset.splits.values()))]:
        raise HtrError(f"{empty[0]} has no lines: leave it out, or look at it alone with python -m htrcompress.data")
    parts: dict[str, list[Sequence[Line]]] = {}
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for dataset in datasets:
        dropped.update(dataset.dropped)
        changed.update(dataset.changed)
        for split, lines in dataset.splits.items():
            parts.setdefault(split, []).append(NamedLines(lines, dataset.name))
    splits = {split: JoinedLines(named) for split, named in parts.items()}
    formats = "+".join(dataset.format for dataset in datasets)
    notes = (differences({dataset.name: _characters(dataset) for dataset in datasets}), *_overlaps(datasets))
    return Dataset("+".join(names), formats, splits, dict(dropped), dict(changed), notes=tuple(filter(None, notes)))


def _characters(dataset: Dataset) -> Counter[str]:
    """The characters of all lines of a dataset, with counts."""
    return sum((characters_of(lines) for lines in dataset.splits.values()), Counter())


def _overlaps(datasets: Sequence[Dataset]) -> list[str]:
    """Sentences on lines that one dataset trains on and another keeps for validation or test.

    They are the same where page and text are; pages of two datasets may have the same name by chance.
    """
    trained = {dataset.name: _places(dataset.splits.get("train", ())) for dataset in datasets}
    told = []
    for dataset in datasets:
        for split, lines in dataset.splits.items():
            for name, known in trained.items():
                if split != "train" and name != dataset.name and (both := _places(lines) & known):
                    page, text = min(both)
                    told.append(
                        f"{len(both)} lines of {dataset.name}, {split}, are training lines of {name}, such as "
                        f"{text[:40]!r} on page {page}: results on it look better than they are"
                    )
    return told


def _places(lines: Sequence[Line]) -> set[tuple[str, str]]:
    """Page and text of every line whose page is known."""
    return {(line.page.rpartition("/")[2], line.text) for line in lines if line.page}
