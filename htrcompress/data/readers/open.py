"""`open_dataset` opens what a user gives to `--data`; the format is detected from what is in the folder."""

import contextlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from htrcompress.card import Card
from htrcompress.charset import clean_text
from htrcompress.data import hub
from htrcompress.data.conventions import PLAIN
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.mixing import mixed
from htrcompress.data.naming import is_file_name
from htrcompress.data.readers import READERS, ReadConfig, Reader
from htrcompress.data.readers.base import SecondChoice
from htrcompress.data.readers.images import SPLIT as UNLABELLED
from htrcompress.data.readers.synthetic import SYNTHETIC
from htrcompress.errors import HtrError, listed

_JOINERS = "\u200c\u200d"
"""Persian and Indic scripts write with these."""
_VISIBLE_FORMAT = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Signs that Unicode counts as format characters, but that are written: they enclose the digits that follow."""


def open_dataset(source: str, read: ReadConfig = ReadConfig()) -> Dataset:
    """Opens `synthetic`, a folder or file in any supported format, `hf://owner/name`, or several, as in `en,fr`.

    Args:
        source: what to open. Lines of several datasets are named after theirs, and grouped by it.
        read: how to read texts where the format leaves a choice.

    Raises:
        HtrError: there is no such folder, no reader recognises it, a reader fails, or, of several, two have the same
            name or one has no lines.
    """
    together = [_open_one(part, read) for part in sources_of(source)]
    if len(together) == 1:
        return together[0]
    try:
        return mixed(together)
    except HtrError as error:
        raise HtrError(f"--data {source}: {error}") from None


def sources_of(source: str, option: str = "--data") -> list[str]:
    """The datasets that an option names; a folder may have commas in its name.

    Raises:
        HtrError: there is nothing before or after a comma.
    """
    parts = [source] if Path(source).exists() else [part.strip() for part in source.split(",")]
    if not all(parts):
        raise HtrError(f"{option} {source!r} names no folder before or after a comma")
    return parts


def _open_one(source: str, read: ReadConfig) -> Dataset:
    if source.startswith(hub.PREFIX):
        folder, name = hub.fetch(source)
        return replace(_open_one(str(folder), read), name=name)
    path = Path(source)
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise HtrError(f"--data {source!r}: the folder's name is not UTF-8: rename it") from None
    if source != SYNTHETIC:
        if not path.exists():
            raise HtrError(f"--data {source}: there is no such folder (the built-in data is called '{SYNTHETIC}')")
        if path == Path(SYNTHETIC):  # the folder ./synthetic, which is not the built-in data
            path = path.absolute()
    reader = _reader_of(path, read.format)
    with _named_failure(reader, path):
        options = getattr(read, reader.name, reader.options() if reader.options else None)
        return _checked(reader.open(path, options), read)


def _reader_of(path: Path, name: str | None) -> Reader:
    """The reader of a folder or file: the one that the user names, or the one that recognises it.

    Raises:
        HtrError: there is no such reader, none recognises the folder, or several do.
    """
    known = [reader.name for reader in READERS]
    if name is not None and name not in known:
        raise HtrError(f"no format is called '{name}': choose --read.format {', '.join(known)}")
    found: list[Reader] = []
    for reader in sorted(READERS, key=lambda reader: reader.mixes):
        if found and (found[0].name == SYNTHETIC or reader.mixes > found[0].mixes):
            break
        if name in (None, reader.name):
            with _named_failure(reader, path):
                gives_way = name is None and isinstance(reader, SecondChoice) and reader.gives_way(path)
                if not gives_way and reader.recognises(path):
                    found.append(reader)
    if len(found) > 1:
        both = " and ".join(f"{reader.name} ({reader.looks_for})" for reader in found)
        raise HtrError(f"--data {path} holds more than one format: {both}; choose with --read.format {found[0].name}")
    if not found:
        raise HtrError(f"--data {path}: {_unrecognised(path, name)}")
    return found[0]


def _unrecognised(path: Path, name: str | None) -> str:
    """Why no reader takes a file or folder, in the words of who sees it for the first time where that can be said."""
    if name is None and path.is_file():
        return "this file is no table of lines: name the folder that holds the images and their texts"
    if name is None and path.is_dir() and not any(path.iterdir()):
        return "the folder is empty"
    table = min(path.glob("*.tsv"), default=None) if name is None else None
    renamed = f" ({table.name} would be read if it were called train.tsv, valid.tsv or test.tsv)" if table else ""
    tried = "; ".join(f"{reader.name} ({reader.looks_for})" for reader in READERS if name in (None, reader.name))
    return f"no reader recognises it{renamed}. Tried: {tried}"


@contextlib.contextmanager
def _named_failure(reader: Reader, path: Path) -> Iterator[None]:
    """Names the reader where it fails with anything but a sentence of its own."""
    try:
        yield
    except (HtrError, MemoryError):
        raise
    except Exception as error:
        raise HtrError(f"the reader '{reader.name}' failed on {path}: {type(error).__name__}: {error}") from error


def _checked(dataset: Dataset, read: ReadConfig) -> Dataset:
    """The dataset with clean texts: what is done to the texts of every format.

    Raises:
        HtrError: a text holds a control character, too many lines are broken, or a split has a name of no file.
    """
    for name in dataset.splits:
        if not is_file_name(name):
            raise HtrError(f"{dataset.name} has a split called {name[:200]!r}, as no file can be called: rename it")
    if dataset.packing:  # its texts were cleaned when it was packed
        plain = ReadConfig()
        saved = _read_config(dataset.packing.read)
        wanted, had = (replace(r, format=None, max_broken=plain.max_broken) for r in (read, saved))
        if wanted not in (plain, had):
            raise HtrError(f"{dataset.packing.folder} was packed with other options of --read: pack its source again")
        return dataset
    _check_broken(dataset, read.max_broken)
    dropped, changed = Counter(dataset.dropped), Counter(dataset.changed)
    dropped.update({reason: len(lines) for reason, lines in dataset.broken.items()})
    splits = {name: _clean(lines, read, dropped, changed) for name, lines in dataset.splits.items()}
    return replace(dataset, splits=splits, dropped=dict(dropped), changed=dict(changed))


def _check_broken(dataset: Dataset, largest_share: float) -> None:
    """Raises HtrError where more than a share of the lines are broken."""
    broken = sum(len(lines) for lines in dataset.broken.values())
    total = broken + sum(len(lines) for lines in dataset.splits.values())
    if broken > largest_share * total:
        most = 10 if len(dataset.broken) == 1 else 3  # named for each reason
        counted = ((reason, len(lines), listed(lines, most)) for reason, lines in dataset.broken.items())
        reasons = "; ".join(f"{reason} ({count}): {names}" for reason, count, names in counted)
        raise HtrError(
            f"{dataset.name}: {broken} of {total} lines are broken, more than --read.max_broken {largest_share:g} lets "
            f"pass: {reasons}"
        )


def _clean(lines: Sequence[Line], read: ReadConfig, dropped: Counter[str], changed: Counter[str]) -> list[Line]:
    kept = []
    for line in lines:
        text = line.text
        if not text.isprintable():  # which all but a few texts are, and is quickly seen
            text = _visible(line, read, changed)
        text = clean_text(text)
        if read.plain:
            written = text.translate(PLAIN)
            changed["texts with typographic signs, written plainly"] += written != text
            text = written
        if not text and line.split != UNLABELLED:
            dropped["empty transcription"] += 1
        else:
            kept.append(line if text == line.text else replace(line, text=text))
    return kept


def _visible(line: Line, read: ReadConfig, changed: Counter[str]) -> str:
    """The line's text without invisible characters, unless they are to be kept."""
    for char in set(line.text):
        category = unicodedata.category(char)
        if category == "Cs" or (category == "Cc" and not char.isspace()):
            what = "control character" if category == "Cc" else "half of a character"
            raise HtrError(f"the text of {line.id[:200]} holds the {what} {char!r}: remove it")
    invisible = {c for c in line.text if unicodedata.category(c) == "Cf"} - {*_JOINERS, *_VISIBLE_FORMAT}
    for char in sorted(invisible):
        what = "removed" if read.invisible == "drop" else "kept"
        changed[f"U+{ord(char):04X} {unicodedata.name(char, '').lower()} {what}"] += line.text.count(char)
    return "".join(c for c in line.text if c not in invisible) if read.invisible == "drop" else line.text


def read_config(card: Card) -> ReadConfig:
    """How the texts of a model's training data were read, so that its test data is read in the same way."""
    return _read_config(card.data.get("read"))


def saved_read(read: ReadConfig) -> dict[str, Any]:
    """What a card or a manifest keeps of how texts were read; where files are on this machine is no part of it."""

    def without_paths(values: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in values.items() if not isinstance(value, Path)}
        return {name: without_paths(value) if isinstance(value, dict) else value for name, value in kept.items()}

    return without_paths(asdict(read))


def _read_config(saved: Any) -> ReadConfig:
    try:
        if not isinstance(saved, dict):
            return ReadConfig()
        known = {reader.name: reader.options for reader in READERS if reader.options}
        values = {name: known[name](**value) if name in known else value for name, value in saved.items()}
        return replace(ReadConfig(**values), format=None)  # other lines may be in another format
    except (TypeError, ValueError):
        return ReadConfig()
