"""The folder that one model is exported to: written beside, then moved into its place, never half there.

Besides the model's forms it holds `card.json`, `labels.txt` (label by label, one character a line after `<blank>`)
and `triton/`, a model repository for Triton Inference Server with the ONNX file in it.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export.onnx import read_onnx
from htrcompress.files import write_atomic

LIBRARY = "libhtr_ctc.so"
"""The plugin, beside the engines that decode with it."""
FORMS = ("model.onnx", "model.*.onnx", "model.engine", "model.*.engine", "model.engine.json", "model.*.engine.json")
OWNED = (*FORMS, "verify.json", "card.json", "labels.txt", LIBRARY)
"""What an export writes, and what a later one into the same folder may replace."""
KINDS = ("plugin", "none")
"""What stands in the names of forms that do not decode in standard operators."""


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A folder to write in, whose files move to `target` once all are there.

    Earlier exports of the same model stay where they decode in another way, so that `--decode plugin` adds to what is
    there; others go.

    Raises:
        HtrError: the folder cannot be written, or holds files of these names that no export wrote.
    """
    target = target.resolve()  # `.` has no name
    if not (target / "card.json").is_file():
        for foreign in (file for pattern in OWNED for file in target.glob(pattern)):
            raise HtrError(
                f"{target} holds {foreign.name} and no export, which would go: name another folder with --out"
            )
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir(parents=True)
        yield beside
        target.mkdir(exist_ok=True)
        for old in _replaced(beside, target):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for made in beside.iterdir():
            made.replace(target / made.name)
    except OSError as error:
        raise HtrError(f"cannot write the export folder {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replaced(made: Path, target: Path) -> list[Path]:
    """What goes from `target` now that an export is in `made`."""
    old = [file for pattern in OWNED for file in target.glob(pattern)] + [target / "triton"]
    model = _model(made)
    if model is not None and model == _model(target):
        kinds = {_kind(file) for pattern in FORMS for file in made.glob(pattern)}
        old = [file for file in old if _kind(file) in kinds or file.name == "verify.json"]
    return [file for file in old if file.exists()]


def _kind(file: Path) -> str:
    """How a form decodes, by its name; the folder for Triton and the cards go with the graphs that decode."""
    if file.name == LIBRARY:
        return "plugin"
    return next((kind for kind in KINDS if f".{kind}." in file.name), "graph")


def _model(folder: Path) -> Card | None:
    """The model that a folder is an export of, by its card, whatever was verified of it since."""
    path = folder / "card.json"
    try:
        card = Card.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, HtrError):
        return None
    return replace(card, metrics={name: value for name, value in card.metrics.items() if name != "verified"})


def write_labels(folder: Path, card: Card) -> None:
    """Writes `card.json` and `labels.txt`."""
    write_atomic(folder / "card.json", f"{card.to_json()}\n".encode())
    write_atomic(folder / "labels.txt", "".join(f"{c}\n" for c in ("<blank>", *card.charset)).encode())


def write_triton(folder: Path, name: str, model: Path) -> None:
    """Writes `triton/<name>/config.pbtxt` and `triton/<name>/1/model.onnx`.

    Batching stays with the client, since Triton only joins requests of one width.

    Args:
        folder: the export folder.
        name: what the server calls the model.
        model: the ONNX file that it serves.
    """
    graph, card = read_onnx(model)
    values = [(value, "input") for value in graph.graph.input] + [(value, "output") for value in graph.graph.output]
    lines = [f"# {card.name}: {len(card.charset)} characters, lines of height {card.height}; labels in labels.txt"]
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    lines += [f'name: "{quoted}"', 'backend: "onnxruntime"', "max_batch_size: 0"]
    for value, kind in values:
        tensor = value.type.tensor_type
        sizes = ", ".join(str(axis.dim_value or -1) for axis in tensor.shape.dim)
        lines.append(f'{kind} {{ name: "{value.name}" data_type: {TRITON[tensor.elem_type]} dims: [ {sizes} ] }}')
    repository = folder / "triton" / name
    (repository / "1").mkdir(parents=True)
    write_atomic(repository / "config.pbtxt", ("\n".join(lines) + "\n").encode())
    shutil.copyfile(model, repository / "1" / "model.onnx")
    shutil.copyfile(folder / "labels.txt", repository / "labels.txt")


TRITON = {1: "TYPE_FP32", 2: "TYPE_UINT8", 6: "TYPE_INT32"}
"""Triton's names of the ONNX element types that our graphs take and give."""
