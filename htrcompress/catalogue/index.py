"""The index of a catalogue: `models.json`, which says what each model file is, reads and scores, and its checksum."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from htrcompress.card import is_printable
from htrcompress.errors import HtrError

INDEX = "models.json"
MOST_INDEX_BYTES = 1 << 20
"""Bytes of the largest index."""
FORMAT = 1
"""Version of the index's layout."""
PACKAGED = Path(__file__).with_name("files")
"""The catalogue inside the package."""
SUFFIXES = (".onnx", ".safetensors")
"""Suffixes of files that a catalogue holds."""
FILE_NAME = re.compile(r"\w[\w.+-]{0,120}")
"""What models and their files may be called: a plain name on every system, which leads nowhere."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One model of a catalogue.

    Attributes:
        name: what users call it.
        file: its file's name, in the folder of the index.
        sha256: of the file, in hexadecimal.
        bytes: size of the file.
        reads: what it was trained to read.
        languages: their codes (BCP 47), such as `fr`.
        licence: of the weights, with the attributions that the data asks for.
        parameters: numbers that were trained.
        metrics: data and split, such as `hooker_en/test`, to what this file scored there: `cer` and its 95 %
            `interval`, fractions, the number of `lines`, and the split's `hash`.
        speed: `lines_per_second`, and what was `measured` to know it; empty if nothing was.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    reads: str
    languages: tuple[str, ...]
    licence: str
    parameters: int
    metrics: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)


def read_index(data: bytes, where: str) -> dict[str, Entry]:
    """The entries of an index by name.

    Args:
        data: the content of a `models.json`.
        where: what errors call it.

    Raises:
        HtrError: it is no such index, or one of its entries is damaged.
    """
    try:
        values = json.loads(data)
        version, rows = values["htrcompress"], values["models"]
        if version != FORMAT:
            raise HtrError(f"{where} is an index of version {version}; this htrcompress reads version {FORMAT}")
        entries = [_entry(row, where) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HtrError(f"{where} is no index of models: tools/shelve.py writes one") from None
    return {entry.name: entry for entry in entries}


def _entry(row: dict[str, Any], where: str) -> Entry:
    kinds = {f.name: get_origin(f.type) or f.type for f in fields(Entry)} | {"languages": list}
    wrong = [name for name, kind in kinds.items() if type(row.get(name)) is not kind] + sorted(set(row) - set(kinds))
    if not wrong:
        right = {
            "name": FILE_NAME.fullmatch(row["name"]),
            "file": FILE_NAME.fullmatch(row["file"]) and row["file"].endswith(SUFFIXES),
            "sha256": _SHA256.fullmatch(row["sha256"]),
            "reads": is_printable(row["reads"]),
            "languages": all(isinstance(code, str) and code.isascii() for code in row["languages"]),
            "licence": is_printable(row["licence"]),
            "metrics": all(_is_score(split) for split in row["metrics"].values()),
            "speed": not row["speed"] or _is_speed(row["speed"]),
        }
        wrong = [name for name, fine in right.items() if not fine]
    if wrong:
        raise HtrError(f"{where}: in an entry {', '.join(wrong)} cannot be right: write the index again")
    return Entry(**{**row, "languages": tuple(row["languages"])})


def _is_score(split: Any) -> bool:
    """Whether this is what a split's entry in `metrics` has to be."""
    low, high = split["interval"]
    return all(isinstance(number, int | float) for number in (low, high, split["cer"], split["lines"]))


def _is_speed(speed: Any) -> bool:
    return isinstance(speed["lines_per_second"], int | float) and is_printable(speed["measured"])


def index_bytes(entries: dict[str, Entry]) -> bytes:
    """The content of a `models.json`."""
    rows = [asdict(entry) for _, entry in sorted(entries.items())]
    text = json.dumps({"htrcompress": FORMAT, "models": rows}, ensure_ascii=False, indent=1)
    return f"{text}\n".encode()


def read_folder(folder: Path) -> dict[str, Entry]:
    """The entries of a catalogue in a local folder.

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
    return read_index(data, str(path))


def chosen(entries: dict[str, Entry], name: str, where: str) -> Entry:
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
        f"no model is called '{name}' {where}: {offer} (`htrcompress models` lists them; a file or a run of your own "
        f"is named by its path)"
    )
