"""What all benchmarks do with a result: say how it was made, write it, read it again, and put it into a table."""

import dataclasses
import json
import shlex
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from htrcompress.cli import to_json
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

FOLDER = Path(__file__).parent / "results"
"""The committed results, which the tables of README and docs are written from."""
Kind = TypeVar("Kind")


def command_line() -> str:
    """The command that is running, as it was typed."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def this_machine(*packages: str) -> dict[str, Any]:
    """The processor and its cores, and the versions of Python and of some packages if any are named."""
    facts: dict[str, Any] = {"processor": machine.processor(), "cores": machine.cores()}
    return facts | ({"versions": machine.versions(*packages)} if packages else {})


def save(result: Any, out: Path | None) -> None:
    """Writes a result as one line of JSON, if there is a file to write it to."""
    if out:
        write_atomic(out, (to_json(result) + "\n").encode())


def read(path: Path, kind: type[Kind]) -> Kind:
    """A result that `save` wrote; fields that an earlier version did not write have their defaults.

    Args:
        path: the JSON file.
        kind: the result's dataclass, whose attribute `kind` says what the file's must be.

    Raises:
        HtrError: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HtrError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise HtrError(f"{path} is not JSON: name a result of a benchmark") from None
    expected, found = getattr(kind, "kind", None), document.get("kind") if isinstance(document, dict) else None
    if found != expected:
        raise HtrError(f"{path} holds {found or 'no result'}, not a result of kind '{expected}'")
    try:
        result: Kind = _built(kind, document)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise HtrError(f"{path} is not a whole result of kind '{expected}': {error}") from None
    return result


def _built(kind: Any, value: Any) -> Any:
    """A JSON value as the type that an annotation names."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _built(next(part for part in parts if part is not type(None)), value)
    if dataclasses.is_dataclass(kind):
        hints, make = get_type_hints(kind), cast(Any, kind)
        names = [field.name for field in dataclasses.fields(kind) if field.name in value]
        return make(**{name: _built(hints[name], value[name]) for name in names})
    if origin is list:
        return [_built(parts[0], item) for item in value]
    if origin is dict:
        return {key: _built(parts[1], item) for key, item in value.items()}
    if origin is tuple:
        return tuple(_built(part, item) for part, item in zip(parts, value, strict=True))
    return value


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    """The lines of a Markdown table; the columns after the first `texts` are numbers."""
    rule = ["---" if place < texts or not heading else "---:" for place, heading in enumerate(headings)]
    escaped = [[cell.replace("|", r"\|") for cell in cells] for cells in (headings, rule, *rows)]
    return ["| " + " | ".join(cells) + " |" for cells in escaped]
