"""What there is to measure: the models of a run, each in PyTorch and in every form that was exported.

Everything runs on the CPU. TensorRT engines are listed and not executed: nothing here drives them yet.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress import runs
from htrcompress.card import Card
from htrcompress.data.lines import Dataset
from htrcompress.errors import HtrError
from htrcompress.runtime import Recognizer, load

PYTORCH = "PyTorch"
ENGINES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class System:
    """One artefact and what runs it.

    Attributes:
        model: the role in its run, such as `student`.
        runtime: what runs it.
        file: the artefact.
        precision: type of the weights in the file.
        arithmetic: type that convolutions and matrix products are computed in.
        recognizer: reads lines; None where the artefact cannot be executed here.
    """

    model: str
    runtime: str
    file: Path
    precision: str
    arithmetic: str
    recognizer: Recognizer | None


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
        parameters: trained numbers.
        gflop: thousand million floating-point operations for one line, two for each multiply-add of
            convolutions and matrix products; the rest is not counted.
    """

    parameters: int
    gflop: float


def find(run: Path, threads: int) -> list[System]:
    """The systems of a run folder or of a single model file, teacher first, PyTorch first in each model.

    Raises:
        HtrError: there is no model, or an export is not of the model beside it.
    """
    systems = []
    for role, file in sorted(runs.models(run).items(), key=lambda item: not is_teacher(item[0])):
        recognizer = load(file, threads, "cpu")
        systems.append(System(role, PYTORCH, file, "FP32", "FP32", recognizer))
        folder = file.parent / "export" / role
        for exported in sorted((*folder.glob("*.onnx"), *folder.glob("*.engine")), key=_order):
            if exported.suffix == ".onnx" and {".trt", ".plugin", ".none"} & set(exported.suffixes):
                continue  # made for TensorRT, or without labels
            systems.append(_exported(role, exported, recognizer.card, threads))
    return systems


def is_teacher(model: str) -> bool:
    """Whether speed-ups are told against this model: `teacher`, or a preset such as `tiny-teacher`."""
    return model.endswith("teacher")


def _order(path: Path) -> tuple[bool, int, str]:
    return path.suffix == ".engine", len(path.name), path.name


def _exported(role: str, file: Path, card: Card, threads: int) -> System:
    precision = next((name for name in ("FP16", "INT8") if f".{name.lower()}" in file.suffixes), "FP32")
    if file.suffix == ".onnx":
        recognizer = load(file, threads, "cpu")
        _same_model(file, recognizer.card, card)
        # ONNX Runtime's CPU provider casts an FP16 graph to FP32 and computes in that
        arithmetic = "INT8" if precision == "INT8" else "FP32"
        return System(role, "ONNX Runtime", file, precision, arithmetic, recognizer)
    beside = Path(f"{file}.json")
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        runtime = ENGINES[document["engine"]["runtime"]]
        _same_model(file, Card.from_json(json.dumps(document["card"]), str(beside)), card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HtrError(f"{beside} is missing or damaged ({error}): export the model again") from None
    return System(role, runtime, file, precision, precision, None)


def _same_model(file: Path, exported: Card, trained: Card) -> None:
    """Refuses an export that an earlier training left behind: its figures would be those of another model."""
    if (exported.charset, exported.training) != (trained.charset, trained.training):
        raise HtrError(f"{file} was exported from another model than the one in the run: export it again")


def make_presets(names: list[str], dataset: Dataset, folder: Path) -> None:
    """Fills a run folder with networks of named sizes, random weights inside, and their ONNX files.

    Raises:
        HtrError: there is no preset of that name, or an export fails.
    """
    import torch

    from htrcompress import models
    from htrcompress.artifact import save_model
    from htrcompress.charset import Charset
    from htrcompress.corpus import MAX_WIDTH
    from htrcompress.export.onnx import export_onnx

    charset = Charset.of(line.text for lines in dataset.splits.values() for line in lines)
    for name in names:
        torch.manual_seed(0)
        model = models.create(name, charset.classes).eval()
        height = models.preset(name).height
        card = Card(name, models.architecture(model), charset.characters, height, models.STRIDE, MAX_WIDTH)
        save_model(folder / f"{name}.safetensors", model, card)
        for half in (False, True):
            export_onnx(model, card, folder / "export" / name / f"model{'.fp16' * half}.onnx", half=half)


def size_of(file: Path, picture: NDArray[np.uint8]) -> Size:
    """Counts the parameters of a `.safetensors` model, and what it computes for one line, uint8 (height, w)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from htrcompress.artifact import load_model
    from htrcompress.runtime.recognizer import stack

    model, _ = load_model(file)
    pixels, widths = stack([picture])
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.from_numpy(pixels), torch.from_numpy(widths))
    return Size(sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 1e9)
