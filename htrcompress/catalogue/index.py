"""The index of a catalogue: `models.json`, which says what each file is, reads and scores, and its checksum.

A catalogue holds models, and may hold language models for the beam search: `--model NAME --lm NAME`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_origin

from htrcompress.card import is_printable
from htrcompress.errors import HtrError

INDEX = "models.json"
MOST_INDEX_BYTES = 1 << 20
"""Bytes of the largest index."""
FORMAT = 1
"""Version of the index's layout."""
PACKAGED = Path(__file__).with_name("files")
"""The catalogue inside the package."""
FILE_NAME = re.compile(r"\w[\w.+-]{0,120}")
"""What models and their files may be called: a plain name on every system, which leads nowhere."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Shelved:
    """A file of a catalogue that has a name.

    Attributes:
        name: what users call it.
        file: its file's name, in the folder of the index.
        sha256: of the file, in hexadecimal.
        bytes: size of the file.
        reads: what it was trained to read, or, of a language model, what texts it was made of.
        languages: their codes (BCP 47), such as `fr`.
        licence: with the attributions that the data asks for.
    """

    KEY: ClassVar[str]
    """Of the list in an index."""
    WHAT: ClassVar[str]
    """What messages call it."""
    SUFFIXES: ClassVar[tuple[str, ...]]
    """Of the files."""

    name: str
    file: str
    sha256: str
    bytes: int
    reads: str
    languages: tuple[str, ...]
    licence: str


@dataclass(frozen=True)
class Entry(Shelved):
    """One model of a catalogue.

    Attributes:
        parameters: numbers that were trained.
        metrics: data and split, such as `hooker_en/test`, to what this file scored there: `cer` and its 95 %
            `interval`, fractions, the number of `lines`, and the split's `hash`.
        speed: `lines_per_second`, and what was `measured` to know it; empty if nothing was.
    """

    KEY, WHAT, SUFFIXES = "models", "model", (".onnx", ".safetensors")

    parameters: int
    metrics: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LanguageEntry(Shelved):
    """One language model of a catalogue, which `--lm` names.

    Attributes:
        order: the longest n-gram, in characters.
        metrics: data and split to what a `model` of the catalogue reads there with it: `cer` and its 95 % `interval`,
            the CER of `greedy` decoding, fractions, the number of `lines`, and the split's `hash`.
    """

    KEY, WHAT, SUFFIXES = "language_models", "language model", (".ngram",)

    order: int
    metrics: dict[str, Any] = field(default_factory=dict)


E = TypeVar("E", bound=Shelved)


def read_index(data: bytes, where: str, kind: type[E]) -> dict[str, E]:
    """The entries of an index by name.

    Args:
        data: the content of a `models.json`.
        where: what errors call it.
        kind: `Entry` for the models, `LanguageEntry` for the language models, which an index need not have.

    Raises:
        HtrError: it is no such index, or one of these entries is damaged.
    """
    try:
        values = json.loads(data)
        version, rows = values["htrcompress"], values[Entry.KEY]
        if version != FORMAT:
            raise HtrError(f"{where} is an index of version {version}; this htrcompress reads version {FORMAT}")
        entries = [_entry(row, where, kind) for row in (rows if kind is Entry else values.get(kind.KEY, []))]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HtrError(f"{where} is no index of models: tools/shelve.py writes one") from None
    return {entry.name: entry for entry in entries}


def _entry(row: dict[str, Any], where: str, kind: type[E]) -> E:
    kinds = {f.name: get_origin(f.type) or f.type for f in fields(kind)} | {"languages": list}
    wrong = [name for name, type_ in kinds.items() if type(row.get(name)) is not type_] + sorted(set(row) - set(kinds))
    if not wrong:
        right = {
            "name": FILE_NAME.fullmatch(row["name"]),
            "file": FILE_NAME.fullmatch(row["file"]) and row["file"].endswith(kind.SUFFIXES),
            "sha256": _SHA256.fullmatch(row["sha256"]),
            "reads": is_printable(row["reads"]),
            "languages": all(isinstance(code, str) and code.isascii() for code in row["languages"]),
            "licence": is_printable(row["licence"]),
            "metrics": all(_is_score(split, kind) for split in row["metrics"].values()),
            "speed": not row.get("speed") or _is_speed(row["speed"]),
        }
        wrong = [name for name, fine in right.items() if not fine]
    if wrong:
        raise HtrError(f"{where}: in an entry {', '.join(wrong)} cannot be right: write the index again")
    return kind(**{**row, "languages": tuple(row["languages"])})


def _is_score(split: Any, kind: type[Shelved]) -> bool:
    """Whether this is what a split's entry in `metrics` has to be."""
    low, high = split["interval"]
    numbers = [low, high, split["cer"], split["lines"], *([split["greedy"]] if kind is LanguageEntry else [])]
    named = kind is Entry or is_printable(split["model"])
    return named and all(isinstance(number, int | float) for number in numbers)


def _is_speed(speed: Any) -> bool:
    return isinstance(speed["lines_per_second"], int | float) and is_printable(speed["measured"])


def index_bytes(entries: Mapping[str, Entry], languages: Mapping[str, LanguageEntry]) -> bytes:
    """The content of a `models.json`."""
    rows: dict[str, Any] = {"htrcompress": FORMAT, Entry.KEY: _rows(entries)}
    if languages:
        rows[LanguageEntry.KEY] = _rows(languages)
    return f"{json.dumps(rows, ensure_ascii=False, indent=1)}\n".encode()


def _rows(entries: Mapping[str, Shelved]) -> list[dict[str, Any]]:
    return [asdict(entry) for _, entry in sorted(entries.items())]


def read_folder(folder: Path, kind: type[E]) -> dict[str, E]:
    """The entries of a catalogue in a local folder; see `read_index`.

    Raises:
        HtrError: the folder has no index, or a damaged one.
    """
    path = folder / INDEX
    try:
        if not path.is_file():  # a pipe would be waited for
            raise OSError
        with open(path, "rb") as file:
            data = file.read(MOST_INDEX_BYTES + 1)
    except OSError:
        raise HtrError(f"the folder {folder} has no index of models ({INDEX})") from None
    if len(data) > MOST_INDEX_BYTES:
        raise HtrError(f"{path} has more than {MOST_INDEX_BYTES >> 20} MiB, as no index of models has")
    return read_index(data, str(path), kind)


def chosen(entries: dict[str, E], name: str, where: str, kind: type[E]) -> E:
    """The entry of a name.

    Raises:
        HtrError: there is none; the nearest names are offered.
    """
    if name in entries:
        return entries[name]
    import difflib  # not above, as in `download.py`

    near = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}" if near else f"there are {', '.join(entries) or 'none'}"
    raise HtrError(
        f"no {kind.WHAT} is called '{name}' {where}: {offer} (`htrcompress models` lists them; a file or a run of your "
        f"own is named by its path)"
    )
