"""The document beside an engine, `model.engine.meta`: the model's card, how the engine was built, and its SHA-256.

It is UTF-8 text with one `key=value` a line: the first `=` separates, nothing is quoted, and no value holds a control
character. The keys are those of `Card.to_metadata`, and `engine.runtime`, `engine.version`, `engine.plugin` and so on.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htrcompress.card import MAX_BYTES, Card, is_printable
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

SUFFIX = ".meta"
"""What a document's name has more than its engine's."""
EXTRA = {"tensorrt-rtx": "rtx-run", "tensorrt": "tensorrt"}
"""Runtime of an engine to the extra that installs it."""
REQUIRED = ("runtime", "version", "sha256")
_PREFIX = "engine."


def document_path(engine: Path) -> Path:
    """The document that belongs to an engine."""
    return Path(f"{engine}{SUFFIX}")


def write_document(engine: Path, card: Card, built: Mapping[str, Any]) -> None:
    """Writes the document beside an engine.

    Args:
        engine: the engine's file.
        card: the model's card.
        built: how the engine was built: `runtime`, `version`, `sha256`, and where it has one its `plugin`, of those
            that a reader needs. Nested names are joined by dots, lists of texts and numbers by commas.

    Raises:
        HtrError: a value holds a control character, or the file cannot be written.
    """
    entries = card.to_metadata() | dict(_flatten(_PREFIX, built))
    for key, value in entries.items():
        if not is_printable(key + value):
            raise HtrError(f"{document_path(engine)} is not written: {key} holds a control character")
    text = "".join(f"{key}={value}\n" for key, value in entries.items())
    write_atomic(document_path(engine), text.encode())


def read_document(path: Path) -> tuple[Card, dict[str, str]]:
    """The card of an engine, and how the engine was built: `runtime`, `version`, `sha256`, `plugin` (may be empty), ...

    Raises:
        HtrError: the document beside the engine is missing, damaged or contradicts itself.
    """
    document = document_path(path)
    try:
        if not document.is_file():  # a pipe would be waited for
            raise OSError("there is no such file")
        with open(document, "rb") as file:
            entries = parse(file.read(2 * MAX_BYTES + 1), str(document))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise HtrError(f"{document} cannot be read ({reason}): it is written beside the engine; copy both") from None
    card = Card.from_metadata(entries, str(document))
    built = {key.removeprefix(_PREFIX): value for key, value in entries.items() if key.startswith(_PREFIX)}
    built.setdefault("plugin", "")
    missing = next((name for name in REQUIRED if not built.get(name)), None)
    if missing:
        raise HtrError(f"{document} is damaged: {_PREFIX}{missing} is missing; export the model again")
    if built["runtime"] not in EXTRA:
        raise HtrError(f"{document} names a runtime that is not one of {', '.join(EXTRA)}: export the model again")
    if Path(built["plugin"]).name != built["plugin"]:  # a plugin is code, and is taken from beside the engine alone
        raise HtrError(f"{document} names a plugin that is not beside the engine: export the model again")
    return card, built


def parse(data: bytes, where: str) -> dict[str, str]:
    """The entries of a document.

    Raises:
        HtrError: it is too long, is not UTF-8, has a line without `=`, a control character or the same key twice.
    """
    if len(data) > 2 * MAX_BYTES:
        raise HtrError(f"{where} is damaged: it is longer than {2 * MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise HtrError(f"{where} is damaged: it is not UTF-8; export the model again") from None
    entries: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        key, separator, value = line.partition("=")
        if not key or not separator or key in entries or not is_printable(line):
            raise HtrError(f"{where} is damaged: line {number} is not a new key=value; export the model again")
        entries[key] = value
    return entries


def read_plan(path: Path, built: Mapping[str, str]) -> bytes:
    """The bytes of an engine, compared with the SHA-256 in its document.

    Raises:
        HtrError: the file cannot be read, is damaged, or is another engine.
    """
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise HtrError(f"cannot read {path}: {error.strerror}") from None
    if hashlib.sha256(plan).hexdigest() != built["sha256"]:
        raise HtrError(f"{path} is damaged, or not the engine that {document_path(path)} describes: export it again")
    return plan


def _flatten(prefix: str, entries: Mapping[str, Any]) -> "list[tuple[str, str]]":
    """Nested entries as flat ones; what has no plain form is written as one line of JSON."""
    flat = []
    for name, value in entries.items():
        if isinstance(value, Mapping):
            flat += _flatten(f"{prefix}{name}.", value)
        elif isinstance(value, list | tuple) and all(isinstance(entry, str | int | float) for entry in value):
            flat.append((prefix + name, ",".join(map(str, value))))
        elif isinstance(value, str | int | float):
            flat.append((prefix + name, str(value)))
        else:
            flat.append((prefix + name, json.dumps(value, allow_nan=False)))
    return flat
