"""The folder that one model is exported to: written in a hidden folder inside, then moved into place file by file.

Besides the model's forms it holds `card.json`, `labels.txt` (label by label, one character a line after `<blank>`)
and `model_repository/`, for Triton Inference Server, with the ONNX file in it.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export.onnx_export import read_onnx
from htrcompress.utils.io import write_atomic

LIBRARY = "libhtr_ctc.so"
"""The plugin, beside the engines that decode with it."""
REPOSITORY = "model_repository"
"""Not `triton`: Python would take a folder of that name for the package that PyTorch imports."""
FORMS = ("model.onnx", "model.*.onnx", "model.engine", "model.*.engine", "model.engine.meta", "model.*.engine.meta")
OWNED = (*FORMS, "verify.json", "card.json", "labels.txt", LIBRARY, REPOSITORY)
"""What an export writes, and what a later one into the same folder may replace."""


@dataclass(frozen=True)
class Package:
    """A folder in the making.

    Attributes:
        folder: where to write.
        withdrawn: patterns of forms that must not stay from an earlier export, since this one refused them.
    """

    folder: Path
    withdrawn: list[str]


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[Package]:
    """A folder to write in, whose files move to `target` once all are there.

    Forms of the same model that were exported earlier stay beside those that are written now; those of another model
    go, and so does what was verified.

    Raises:
        HtrError: the folder cannot be written, or holds files of these names that no export wrote.
    """
    _refuse_foreign(target)
    made, new = target / f".export-{os.getpid()}.tmp", not target.exists()
    try:
        _make(made)
        package = Package(made, [])
        yield package
        with _told(target):
            _move(made, target, package.withdrawn)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):
                target.rmdir()  # where nothing came into it


def _refuse_foreign(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise HtrError(f"{target} is a file, and an export is a folder: name another with --out")
    if _model(target) is None:
        for foreign in (file for pattern in OWNED for file in target.glob(pattern)):
            raise HtrError(
                f"{target} holds {foreign.name} and no export, which would go: name another folder with --out"
            )


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HtrError(f"cannot write the export folder {target}: {error.strerror or error}") from None


def _make(made: Path) -> None:
    """The folder to write in, and none of those that killed exports left."""
    with _told(made.parent):
        for left in made.parent.glob(".export-*.tmp"):
            number = left.name[len(".export-") : -len(".tmp")]
            if not number.isdigit() or not Path(f"/proc/{number}").exists():
                shutil.rmtree(left, ignore_errors=True)
        made.mkdir(parents=True)


def _move(made: Path, target: Path, withdrawn: list[str]) -> None:
    """Puts the files into place; the card last, which until then tells of the model that was there."""
    same = _model(made) == _model(target)
    gone = ("verify.json", *withdrawn) if same else OWNED
    for old in {file for pattern in gone for file in target.glob(pattern)} - {target / "card.json"}:
        _remove(old)
    served = made / REPOSITORY
    for old in target.glob(f"{REPOSITORY}/*") if served.is_dir() else ():
        if not (served / old.name).exists():  # the same model under the name that its file had then
            _remove(old)
    for file in sorted(made.rglob("*"), key=lambda file: file.name == "card.json"):
        place = target / file.relative_to(made)
        if file.is_dir():
            place.mkdir(exist_ok=True)
        else:
            file.replace(place)


def _remove(old: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    else:
        old.unlink()


def _model(folder: Path) -> Card | None:
    """The model that a folder is an export of, by its card, whatever was verified of it since."""
    path = folder / "card.json"
    try:
        card = Card.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, HtrError):
        return None
    return replace(card, metrics=_lasting(card))


def _lasting(card: Card) -> dict[str, Any]:
    """Its figures but for those that `verify` adds."""
    return {name: value for name, value in card.metrics.items() if name != "verified"}


def check_package(folder: Path, card: Card) -> None:
    """Whether an export folder says what its model says.

    Raises:
        HtrError: there is no form of the model, or its card, its labels or what Triton serves are of another.
    """
    if not any(folder.glob("*.onnx")) and not any(folder.glob("*.engine")):
        raise HtrError(f"{folder} holds no exported form, nothing is verified: export the model again")
    if _model(folder) != replace(card, metrics=_lasting(card)):
        raise HtrError(f"{folder / 'card.json'} is not the card of the model beside it: export the model again")
    for file in (folder / "labels.txt", *folder.glob(f"{REPOSITORY}/*/labels.txt")):
        if not file.is_file() or file.read_bytes() != _labels(card):
            raise HtrError(f"{file} does not hold the labels of the model: export it again")
    graph = folder / "model.onnx"
    for file in folder.glob(f"{REPOSITORY}/*/1/model.onnx"):
        if graph.is_file() and file.read_bytes() != graph.read_bytes():
            raise HtrError(f"{graph} and {file} must be the same and differ: export the model again")


def write_labels(folder: Path, card: Card) -> None:
    """Writes `card.json` and `labels.txt`."""
    write_atomic(folder / "card.json", f"{card.to_json()}\n".encode())
    write_atomic(folder / "labels.txt", _labels(card))


def _labels(card: Card) -> bytes:
    return "".join(f"{c}\n" for c in ("<blank>", *card.charset)).encode()


def write_triton(folder: Path, name: str, model: Path) -> None:
    """Writes `model_repository/<name>/config.pbtxt` and `model_repository/<name>/1/model.onnx`.

    Batching stays with the client, since Triton only joins requests of one width.

    Args:
        folder: the export folder.
        name: what the server calls the model.
        model: the ONNX file that it serves.
    """
    graph, card = read_onnx(model)
    values = [(value, "input") for value in graph.graph.input] + [(value, "output") for value in graph.graph.output]
    lines = [f"# {len(card.charset)} characters, lines of height {card.height}; labels in labels.txt"]
    lines += [f"name: {_quoted(name)}", 'backend: "onnxruntime"', "max_batch_size: 0"]
    for value, kind in values:
        tensor = value.type.tensor_type
        sizes = ", ".join(str(axis.dim_value or -1) for axis in tensor.shape.dim)
        lines.append(f'{kind} {{ name: "{value.name}" data_type: {TRITON[tensor.elem_type]} dims: [ {sizes} ] }}')
    repository = folder / REPOSITORY / name
    (repository / "1").mkdir(parents=True)
    write_atomic(repository / "config.pbtxt", ("\n".join(lines) + "\n").encode())
    shutil.copyfile(model, repository / "1" / "model.onnx")
    shutil.copyfile(folder / "labels.txt", repository / "labels.txt")


def _quoted(name: str) -> str:
    """A string as protobuf's text format reads it."""
    plain = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in plain) + '"'


TRITON = {1: "TYPE_FP32", 2: "TYPE_UINT8", 6: "TYPE_INT32"}
"""Triton's names of the ONNX element types that our graphs take and give."""
