"""Shows what a dataset holds, splits it and packs it: `python -m htrcompress.data PATH`.

    python -m htrcompress.data letters --gallery letters.html         lines beside their texts, to look through
    python -m htrcompress.data letters --split page --write packed    split by page and decoded once: --data packed
    python -m htrcompress.data forms --xml xml --split lists --write iam    IAM's forms, cut into lines

What is counted is in `report.py`, how lines are split in `splitting.py`, and how they are packed in `packing.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from htrcompress.cli import console, run_command
from htrcompress.data import gallery, splitting
from htrcompress.data.characters import characters_of, charset_of
from htrcompress.data.lines import Dataset
from htrcompress.data.packed_files import open_packed
from htrcompress.data.packing import SHOWN, Packed, pack
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset, saved_read
from htrcompress.data.readers.synthetic import SYNTHETIC
from htrcompress.data.report import rank, report_split, shared
from htrcompress.data.sizes import Progress, Sizes, measure_splits
from htrcompress.data.summary import DataResult
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

HEIGHT, STRIDE = 64, 4
"""Of the models that are trained without further options: height of a line and width of a frame, in pixels."""
DECODED = 20_000
"""Sets of up to so many lines are decoded where the user does not say whether to."""


@dataclass(frozen=True)
class DataOptions:
    """Shows what a dataset holds, splits it, and packs it for training."""

    path: str = SYNTHETIC
    """A dataset's folder, several with commas between, or `synthetic` for the built-in data."""
    read: ReadConfig = field(default_factory=ReadConfig)
    """How to read texts where a dataset's format leaves a choice."""
    xml: Path | None = None
    """The folder of the XML files of IAM forms, where PATH holds the images of the forms or of their lines."""
    images: bool = True
    """Whether to look at the images; those of the built-in data are drawn and not looked at."""
    decode: bool | None = None
    """Whether to decode every image, which finds damaged ones; if not given, sets of up to 20,000 lines are decoded,
    and of larger ones the headers are read."""
    height: int = HEIGHT
    """Height in pixels that a model reads: widths are counted at it, and packed images are scaled to it; 0 packs images
    as they are."""
    gallery: Path | None = None
    """Write a page with lines beside their texts: some at random, the widest, the narrowest, the most suspicious."""
    show: int = 24
    """Lines in each part of that page."""
    split: str | None = None
    """Split lines that have no splits: by `page`, `group` (such as a hand) or `line`; or as the lists in a folder say,
    train.lst and the like, with the names of lines, pages or groups."""
    valid: float = 0.1
    """Share of the lines that --split makes validation lines."""
    test: float = 0.1
    """Share of the lines that --split makes test lines, where there are none yet."""
    seed: int = 0
    """Decides what --split draws, and which lines the page shows at random."""
    write: Path | None = None
    """Pack the lines into this folder, which --data then takes: images decoded, grey and scaled. A stopped
    command continues where it was."""
    max_unreadable: float = 0.0
    """Largest share of images that may be missing or damaged in what is packed; their lines are packed without."""
    processes: int | None = None
    """Processes that pack; one for each core that the command may use if not given."""

    def __post_init__(self) -> None:
        if self.height < 0:
            raise HtrError(f"--height must be a number of pixels, or 0 for images as they are, not {self.height}")
        if self.show < 1:
            raise HtrError(f"--show must be at least 1, not {self.show}")
        if self.processes is not None and self.processes < 1:
            raise HtrError(f"--processes must be at least 1, not {self.processes}")
        if not 0 <= self.max_unreadable <= 1:
            raise HtrError(f"--max_unreadable is a share from 0 to 1, not {self.max_unreadable:g}")
        if self.write is None and (self.processes is not None or self.max_unreadable):
            raise HtrError(
                "--processes and --max_unreadable are for packing: say with --write where to, or leave them out"
            )
        if self.decode and not self.images:
            raise HtrError("--decode true looks at images, and --no-images does not: choose one")
        if self.gallery and not self.images:
            raise HtrError("--gallery shows images, and --no-images does not look at them: choose one")
        if not (self.valid > 0 and self.test > 0 and self.valid + self.test < 1):
            raise HtrError(
                f"--valid {self.valid:g} and --test {self.test:g} must be shares that leave some to train on"
            )


def look(options: DataOptions) -> DataResult:
    """Opens a dataset, splits and packs it if asked to, and counts what is in it.

    Raises:
        HtrError: there is no such folder, no reader recognises it, something in it is not as its format has it, or a
            file cannot be written.
    """
    dataset = _open(options)
    splitting_rule = None
    if options.split is not None:
        dataset, splitting_rule = _split(dataset, options)
    written = None
    if options.write is not None:
        dataset, written = _pack(dataset, options, splitting_rule)
    height = options.height or HEIGHT
    measured, errors, decoded = _measure(dataset, options)
    train = dataset.splits.get("train")  # a folder to test on alone has none
    counts = characters_of(train) if train else None
    known = charset_of(train) if train and counts else None
    splits = {
        name: report_split(dataset, name, measured.get(name), counts, known, height, STRIDE)
        for name in sorted(dataset.splits, key=rank)
    }
    main = [name for name in splits if name in ("train", "valid", "test")] or list(splits)
    direction = known.direction if known else "ltr"
    if options.gallery is not None:
        shown = list(gallery.sections(dataset, measured, height, options.show, options.seed))
        write_atomic(options.gallery, gallery.page(dataset, shown, direction).encode())
    return DataResult(
        name=dataset.name,
        format=dataset.format,
        lines=sum(splits[name].lines for name in main),
        splits=splits,
        charset="".join(sorted(counts or ())),
        counts=dict(counts.most_common()) if counts else {},
        dropped=dataset.dropped,
        changed=dataset.changed,
        shared=shared(dataset),
        height=height,
        packed=(dataset.packing.height or 0) if dataset.packing else None,
        direction=direction,
        reordered=sum(known.changed_order(line.text for line in ls) for ls in dataset.splits.values()) if known else 0,
        decoded=decoded,
        unreadable=len(errors),
        errors=errors[:SHOWN],
        written=written,
        gallery=options.gallery,
        mix=dataset.notes,
    )


def _open(options: DataOptions) -> Dataset:
    """The dataset; its images and its XML may be in two folders."""
    if options.xml is None:
        return open_dataset(options.path, options.read)
    iam = replace(options.read.iam, images=Path(options.path))
    return open_dataset(str(options.xml), replace(options.read, format="iam", iam=iam))


def _split(dataset: Dataset, options: DataOptions) -> tuple[Dataset, dict[str, object]]:
    """The dataset with the splits that --split asks for, and the rule for the manifest."""
    assert options.split is not None
    for unit in splitting.UNITS:
        if options.split == unit:
            made = splitting.drawn(dataset, unit, splitting.Shares(options.valid, options.test, options.seed))
            return made, {"by": unit, "valid": options.valid, "test": options.test, "seed": options.seed}
    folder = Path(options.split)
    lists = splitting.lists_in(folder) if folder.is_dir() else {}
    if not lists:
        units = ", ".join(splitting.UNITS)
        raise HtrError(f"--split {folder} is no folder with train.lst, valid.lst or test.lst: name one, or say {units}")
    return splitting.listed_splits(dataset, folder, lists), {"by": "lists", "lists": folder.name}


def _pack(dataset: Dataset, options: DataOptions, rule: dict[str, object] | None) -> tuple[Dataset, Packed]:
    """Packs a dataset, and opens what was written."""
    assert options.write is not None
    read = dataset.packing.read if dataset.packing else saved_read(options.read)
    with _progress("packing") as progress:
        done = pack(
            dataset,
            options.write,
            options.height or None,
            read,
            rule,
            options.max_unreadable,
            options.processes,
            progress,
        )
    if rule:
        splitting.write_lists(dataset, options.write)
    return open_packed(options.write), done


def _measure(dataset: Dataset, options: DataOptions) -> tuple[dict[str, Sizes], list[str], bool]:
    """Sizes by split, what is wrong with images that cannot be read, and whether images were decoded."""
    drawn = dataset.format == SYNTHETIC and not dataset.packing
    if not options.images or (drawn and options.gallery is None):
        return {}, [], False
    count = sum(map(len, dataset.splits.values()))
    decode = bool(dataset.packing) or (count <= DECODED if options.decode is None else options.decode)
    with _progress("looking at images") as progress:
        measured, errors = measure_splits(dataset, decode, progress)
    return measured, errors, decode


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A bar, where there is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    run_command(look, positional="path")
