"""Proof that exports read like the model they came from; `verify.py` is the command.

The same real lines go through PyTorch and through every exported form: the CER of each with the paired interval of
its difference, the lines that read differently, the largest difference of a logit, every line alone against the
same line in a batch, and every batch size from 1 to 33 with widths from the shortest to the longest line. A form
past its tolerance makes the command exit with status 1. Engines are executed where their TensorRT and a GPU are, and
are told to be "not executed" elsewhere. The result goes into the card beside the model.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from htrcompress import runs
from htrcompress.card import Card
from htrcompress.cli import console
from htrcompress.data.readers.open import default_data, open_dataset, read_config
from htrcompress.errors import HtrError, Unavailable
from htrcompress.export.checks import Check, Pictures, Reader
from htrcompress.export.forms import EngineForm, Form, OnnxForm, TorchForm
from htrcompress.export.package import check_package
from htrcompress.models.serialization import load_model
from htrcompress.runtime.engine_file import read_document, read_plan
from htrcompress.utils.io import write_atomic

PLUGIN = ".plugin."
"""In the names of ONNX files that only TensorRT can run."""


@dataclass(frozen=True)
class Verification:
    """All that was checked.

    Attributes:
        data, split, hash, lines: what was read.
        checks: one entry a form.
    """

    data: str
    split: str
    hash: str
    lines: int
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """1 where a form failed."""
        return 0 if all(check.passed for check in self.checks) else 1

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        headings = ("model", "form", "CER %", "change (95 %)", "lines differ", "logits", "batch", "")
        table = Table(*headings, title=f"{self.lines} lines of {self.data}/{self.split} ({self.hash})")
        for check in self.checks:
            if not check.arithmetic:
                table.add_row(check.model, check.form, "", "", "", "", "", check.note)
                continue
            mean, low, high = (100 * value for value in check.difference)
            change = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
            cells = [f"{100 * check.cer:.2f}", change, str(len(check.differing))]
            cells += ["" if value is None else f"{value:.1e}" for value in (check.logits, check.batch)]
            table.add_row(check.model, check.form, *cells, "ok" if check.passed else check.note)
        lines = [f"{c.form}: {row[0]}: {row[2]!r} became {row[3]!r}" for c in self.checks for row in c.differing[:5]]
        return Group(table, *lines)


def verify(
    folder: Path | None = None,
    data: str | None = None,
    split: str = "test",
    model: Path | None = None,
    lines: int | None = None,
    max_cer_rise: float | None = None,
    device: Literal["cpu", "cuda", "openvino", "tensorrt", "tensorrt-rtx"] = "cpu",
) -> Verification:
    """Reads the same lines with a model and with everything that was exported from it, and compares.

    Args:
        folder: a run, its export folder, or one model's folder in there; the newest run if not given.
        data: a dataset's folder, or `synthetic`; what the model was trained on if not given.
        split: the split to read.
        model: the .safetensors file that a single folder was exported from, where it does not lie in the run.
        lines: how many lines of the split to read, spread over it; all if not given.
        max_cer_rise: in points, at the far end of the interval; 0.02 if not given, and 0.5 for INT8, which is chance.
        device: what computes the ONNX files; PyTorch, the reference, is on the CPU, and engines are on the GPU.

    Raises:
        HtrError: there is nothing to verify, an export does not fit its card, or no line can be read.
    """
    if lines is not None and lines < 1:
        raise HtrError(f"--lines must be positive, not {lines}")
    if max_cer_rise is not None and not math.isfinite(max_cer_rise):
        raise HtrError(f"--max-cer-rise must be a finite number, not {max_cer_rise}")
    folders = _folders(folder, model)
    checks: list[Check] = []
    dataset = None
    for place, artefact in folders.items():
        network, card = load_model(artefact)
        dataset = dataset or open_dataset(data or default_data(card), read_config(card))
        chosen = dataset.split(split)
        if lines:
            chosen = [chosen[i * len(chosen) // lines] for i in range(min(lines, len(chosen)))]
        pictures = Pictures(chosen, card)
        own = list(_check(place, network, pictures, card, max_cer_rise, device))
        checks += own
        _note(place, card, own, dataset.identity(split), len(chosen))
    assert dataset is not None
    return Verification(dataset.name, split, dataset.identity(split), len(chosen), tuple(checks))


def _folders(folder: Path | None, model: Path | None) -> dict[Path, Path]:
    """Export folder to the model file that it came from."""
    folder = folder or runs.newest()
    if (folder / "card.json").is_file():
        model = model or folder.resolve().parent.parent / f"{folder.resolve().name}.safetensors"
        if not model.is_file():
            raise HtrError(f"{folder} is an export of a model that is not at {model}: name the file with --model")
        return {folder: model}
    if model:
        raise HtrError("--model belongs to one model's export folder: name that folder")
    root = folder / "export" if (folder / "export").is_dir() else folder
    found = {
        path.parent: root.parent / f"{path.parent.name}.safetensors" for path in sorted(root.glob("[!.]*/card.json"))
    }
    if not found:
        raise HtrError(f"{folder} holds no export: make one with `python -m htrcompress.export {folder}`")
    return found


def _check(
    place: Path, network: nn.Module, pictures: Pictures, card: Card, limit: float | None, device: str
) -> Iterator[Check]:
    """Every form in a folder against PyTorch, PyTorch itself first."""
    check_package(place, card)
    exported = sorted(place.glob("*.onnx"), key=lambda path: (len(path.name), path.name))
    forms: list[Form] = [TorchForm(network)]
    if any(".fp16." in path.name for path in place.iterdir()):
        forms.append(TorchForm(network, torch.float16))
    forms += [OnnxForm(path, card, device) for path in exported if PLUGIN not in path.name]
    reference: Reader | None = None
    for form in forms:
        with console.status(f"{place.name}: {form.name}"):
            reader = Reader(form, card, pictures)
            reader.read()
            yield reader.against(reference or reader, place.name, limit)
        reference = reference or reader
    assert reference is not None
    for path in exported:
        if PLUGIN in path.name:
            yield _unread(place, path, "its plugin runs in TensorRT alone, not executed")
    for path in sorted(place.glob("*.engine")):
        with console.status(f"{place.name}: {path.name}"):
            yield _engine(place, path, reference, limit)


def _engine(place: Path, path: Path, reference: Reader, limit: float | None) -> Check:
    """An engine against PyTorch, or what is known of one that cannot be executed here."""
    own, built = read_document(path)
    if own != reference.card:
        raise HtrError(f"{path} is not of the model beside it: export it again")
    read_plan(path, built)
    try:
        form = EngineForm(path)
        reader = Reader(form, reference.card, reference.pictures)
        reader.read()
        check = replace(reader.against(reference, place.name, limit), inspected=form.inspected)
        if form.inspected and form.arithmetic not in form.inspected:
            return replace(
                check, note=f"its layers give {', '.join(form.inspected)} and no {form.arithmetic}", passed=False
            )
        return check
    except Unavailable as error:
        return _unread(place, path, f"built for {built['runtime']} {built['version']}, not executed: {error}")
    except HtrError as error:
        return _unread(place, path, f"not executed: {error}", passed=False)


def _unread(place: Path, path: Path, note: str, passed: bool = True) -> Check:
    """A form that is not executed here."""
    return Check(place.name, path.name, "", 0.0, (0.0, 0.0, 0.0), (), None, None, 0, note, passed)


def _note(place: Path, card: Card, checks: list[Check], identity: str, lines: int) -> None:
    """Writes the result into `card.json` and, with every differing line, to `verify.json`."""
    brief = {
        check.form: {"cer": check.cer, "difference": check.difference, "differing": len(check.differing)}
        for check in checks
        if check.arithmetic
    }
    metrics_with = {**card.metrics, "verified": {"hash": identity, "lines": lines, "forms": brief}}
    write_atomic(place / "card.json", f"{replace(card, metrics=metrics_with).to_json()}\n".encode())
    rows = json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=1)
    write_atomic(place / "verify.json", f"{rows}\n".encode())
