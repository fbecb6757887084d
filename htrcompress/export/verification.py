"""Proof that exports read like the model they came from; `verify.py` is the command.

The same real lines go through PyTorch and through every exported form: the CER of each with the paired interval of
its difference, the lines that read differently, the largest difference of a logit, every line alone against the
same line in a batch, and every batch size from 1 to 33 with widths from the shortest to the longest line. A form
past its tolerance makes the command exit with status 1. The result goes into the card beside the model.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from htrcompress import metrics, runs
from htrcompress.artifact import load_model
from htrcompress.card import Card
from htrcompress.cli import console
from htrcompress.data.batches import by_width
from htrcompress.data.lines import Line
from htrcompress.data.open import default_data, open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.export.forms import Form, OnnxForm, Pixels, TorchForm, check_engine
from htrcompress.files import write_atomic
from htrcompress.image import normalise
from htrcompress.runtime.recognizer import stack

BATCH = 32
SIZES = range(1, 34)
PLUGIN = ".plugin."
ELSEWHERE = (".trt.", PLUGIN)
"""ONNX files for TensorRT, which ONNX Runtime is not asked to run."""
TOLERANCE = {"FP32": 0.0002, "FP16": 0.0002, "INT8": 0.002}
"""Largest rise of the CER, a fraction, at the far end of its paired interval, by arithmetic."""


@dataclass(frozen=True)
class Check:
    """One form of one model against the model in PyTorch; rates are fractions.

    Attributes:
        model: the role.
        form: the file, or `PyTorch, half precision`.
        arithmetic: what it computed in here; empty for what was not executed.
        cer: its character error rate.
        difference: its CER minus that of PyTorch, with the paired 95 % interval.
        differing: the lines that read differently: id, text, in PyTorch, in this form.
        logits: the largest difference of a logit on a line's own frames.
        batch: the largest difference of a logit between a line alone and in a batch.
        moved: lines whose text depends on their batch, over all batch sizes.
        note: why it fails, or what is known of a form that was not executed.
        passed: whether it is within the tolerance.
    """

    model: str
    form: str
    arithmetic: str
    cer: float
    difference: tuple[float, float, float]
    differing: tuple[tuple[str, str, str, str], ...]
    logits: float
    batch: float
    moved: int
    note: str
    passed: bool


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
            cells = (f"{100 * check.cer:.2f}", change, str(len(check.differing)))
            verdict = "ok" if check.passed else check.note
            table.add_row(check.model, check.form, *cells, f"{check.logits:.1e}", f"{check.batch:.1e}", verdict)
        lines = [f"{c.form}: {row[0]}: {row[2]!r} became {row[3]!r}" for c in self.checks for row in c.differing[:5]]
        return Group(table, *lines)


def verify(
    folder: Path | None = None,
    data: str | None = None,
    split: str = "test",
    model: Path | None = None,
    lines: int | None = None,
    max_cer_rise: float | None = None,
) -> Verification:
    """Reads the same lines with a model and with everything that was exported from it, and compares.

    Args:
        folder: a run, its export folder, or one model's folder in there; the newest run if not given.
        data: a dataset's folder, or `synthetic`; what the model was trained on if not given.
        split: the split to read.
        model: the .safetensors file that a single folder was exported from, where it does not lie in the run.
        lines: how many lines of the split to read, spread over it; all if not given.
        max_cer_rise: in points, at the far end of the interval; 0.02 if not given, and 0.2 for INT8.

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
        pictures = _Pictures(chosen, card)
        own = list(_check(place, network, card, pictures, max_cer_rise))
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
    found = {path.parent: root.parent / f"{path.parent.name}.safetensors" for path in sorted(root.glob("*/card.json"))}
    if not found:
        raise HtrError(f"{folder} holds no export: make one with `python -m htrcompress.export {folder}`")
    return found


class _Pictures:
    """The lines as a model sees them, and what they say; a line that cannot be read is left out and told."""

    def __init__(self, lines: list[Line], card: Card):
        self.lines: list[Line] = []
        self.images: list[Pixels] = []
        for line in lines:
            try:
                self.images.append(normalise(line.pixels(), card.height, card.max_width, line.id))
                self.lines.append(line)
            except HtrError as error:
                console.print(f"left out: {error}")
        if not self.images:
            raise HtrError("no line can be read: nothing is verified")
        self.by_width = sorted(range(len(self.images)), key=lambda i: self.images[i].shape[1])

    def spread(self, size: int) -> list[int]:
        """So many lines, from the narrowest to the widest."""
        last = len(self.by_width) - 1
        return [self.by_width[round(i * last / max(1, size - 1))] for i in range(size)]


def _check(place: Path, network: nn.Module, card: Card, pictures: _Pictures, limit: float | None) -> Iterator[Check]:
    """Every form in a folder against PyTorch, PyTorch itself first."""
    exported = sorted(place.glob("*.onnx"), key=lambda path: (len(path.name), path.name))
    forms: list[Form] = [TorchForm(network)]
    if any(".fp16." in path.name for path in place.iterdir()):
        forms.append(TorchForm(network, torch.float16))
    forms += [OnnxForm(path, card) for path in exported if not any(part in path.name for part in ELSEWHERE)]
    batches = by_width([image.shape[1] for image in pictures.images], BATCH)
    reference: _Reader | None = None
    for form in forms:
        with console.status(f"{place.name}: {form.name}"):
            reader = _Reader(form, card, pictures)
            reader.read(batches)
            yield reader.against(reference or reader, place.name, limit)
        reference = reference or reader
    for path in exported:
        if PLUGIN in path.name:
            yield _unread(place, path, "its plugin runs in TensorRT alone, not executed")
    for path in sorted(place.glob("*.engine")):
        yield _unread(place, path, check_engine(path, card))


def _unread(place: Path, path: Path, note: str) -> Check:
    """A form that is not executed here."""
    return Check(place.name, path.name, "", 0.0, (0.0, 0.0, 0.0), (), 0.0, 0.0, 0, note, True)


class _Reader:
    """One form's texts and logits of all lines, and how far they depend on the batch."""

    def __init__(self, form: Form, card: Card, pictures: _Pictures):
        self.form, self.card, self.pictures = form, card, pictures
        self.charset = card.characters()
        self.texts = [""] * len(pictures.images)
        self.logits: list[Any] = [None] * len(pictures.images)

    def read(self, batches: list[list[int]]) -> None:
        """Reads all lines."""
        for indices in batches:
            for i, (text, logits) in zip(indices, self._run(indices), strict=True):
                self.texts[i], self.logits[i] = text, logits

    def against(self, reference: "_Reader", model: str, limit: float | None) -> Check:
        """Compares with the reference, and with itself in other batches."""
        truth = [line.text for line in self.pictures.lines]
        score = metrics.score(truth, self.texts)
        difference = metrics.paired_interval(score, metrics.score(truth, reference.texts))
        pairs = zip(self.pictures.lines, reference.texts, self.texts, strict=True)
        differing = tuple((line.id, line.text, before, now) for line, before, now in pairs if before != now)
        logits = _largest(np.abs(a - b).max() for a, b in zip(self.logits, reference.logits, strict=True))
        batch, moved = self._invariance()
        allowed = TOLERANCE[self.form.arithmetic] if limit is None else limit / 100
        note = f"{moved} lines depend on their batch" if moved else ""
        if not math.isfinite(logits + batch):
            note = "it gives logits that are not finite"
        elif difference[2] > allowed:
            note = f"the CER rises by up to {100 * difference[2]:.3f} points; {100 * allowed:g} are allowed"
        return Check(
            model, self.form.name, self.form.arithmetic, score.cer, difference, differing, logits, batch, moved, note,
            not note,
        )  # fmt: skip

    def _invariance(self) -> tuple[float, int]:
        """Every line alone, and batches of every size, against the first reading."""
        differences, moved = [], set()
        batches = [[i] for i in range(len(self.texts))] + [self.pictures.spread(size) for size in SIZES]
        for indices in batches:
            for i, (text, logits) in zip(indices, self._run(indices), strict=True):
                differences.append(np.abs(logits - self.logits[i]).max())
                if text != self.texts[i]:
                    moved.add(i)
        return _largest(differences), len(moved)

    def _run(self, indices: list[int]) -> Iterator[tuple[str, Any]]:
        pixels, widths = stack([self.pictures.images[i] for i in indices])
        output = self.form.run(pixels, widths)
        for row, width in enumerate(widths.tolist()):
            frames = max(1, -(-width // self.card.stride))
            text = self.charset.decode(output.labels[row, : output.lengths[row]].tolist())
            yield text, output.logits[row, :frames]


def _largest(differences: Iterable[Any]) -> float:
    """The largest, or NaN where one is; Python's own max() may pass over it."""
    return float(np.max(list(differences)))


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
