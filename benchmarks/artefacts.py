"""What there is to measure: the models of a run, each in PyTorch and in every form that was exported.

Every file is run through its back end (`htrcompress.runtime`). TensorRT engines are executed where a GPU and their
TensorRT are, and only listed elsewhere.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress import runs
from htrcompress.card import Card
from htrcompress.data.lines import Dataset
from htrcompress.decoding.registry import GREEDY, DecoderOptions
from htrcompress.errors import HtrError, Unavailable
from htrcompress.runtime import Recognizer, load
from htrcompress.runtime.backend import NoLogits, exported_files, precision_of
from htrcompress.runtime.engine_file import read_document

PYTORCH = "PyTorch"
ENGINES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class Artefact:
    """One model file of a run.

    Attributes:
        model: the role in its run, such as `student`.
        runtime: what runs it, for tables.
        file: the model file.
        precision: type of the weights in the file.
        recognizer: reads lines; None where the file cannot be executed here.
        reason: why it cannot.
        decoder: what makes text of the network's output.
        is_loadable: whether `htrcompress.load` opens it in this runtime, as measuring its memory does.
    """

    model: str
    runtime: str
    file: Path
    precision: str
    recognizer: Recognizer | None
    reason: str = ""
    decoder: str = GREEDY
    is_loadable: bool = True

    @property
    def key(self) -> str:
        """What this artefact is called among those of its run."""
        return key_of(self.model, self.file, self.runtime, self.arithmetic, self.decoder)

    @property
    def is_original(self) -> bool:
        """Whether it is the model as it was trained, decoded greedily: what all others are compared with."""
        return self.runtime == PYTORCH and self.decoder == GREEDY

    @property
    def device(self) -> str:
        """Where it is executed; empty where it cannot be."""
        return self.recognizer.backend.device if self.recognizer else ""

    @property
    def arithmetic(self) -> str:
        """Type that convolutions and matrix products are computed in."""
        return self.recognizer.backend.arithmetic if self.recognizer else self.precision


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
        parameters: trained numbers.
        gflop: thousand million floating-point operations for one line, two for each multiply-add of
            convolutions and matrix products; the rest is not counted.
        moved: million numbers that these products read and write for one line, weights apart.
    """

    parameters: int
    gflop: float
    moved: float = 0.0


def find(run: Path, threads: int, device: str = "cpu") -> list[Artefact]:
    """The artefacts of a run folder or of a single model file, teacher first, PyTorch first in each model.

    Raises:
        HtrError: there is no model, or an export is not of the model beside it.
    """
    found = []
    for role, file in sorted(runs.models(run).items(), key=lambda item: not is_teacher(item[0])):
        recognizer = load(file, threads, "cpu" if device in ("cpu", "openvino") else "cuda")
        found.append(Artefact(role, PYTORCH, file, "FP32", recognizer))
        folder = file.parent / "export" / role
        for exported in sorted(exported_files(folder) if folder.is_dir() else (), key=_order):
            elsewhere = {".trt", ".plugin"} if exported.suffix == ".onnx" else set()
            if {".none", *elsewhere} & set(exported.suffixes):
                continue  # without labels, or made for TensorRT
            found.append(_exported(role, exported, recognizer.card, threads, device))
    return found


def key_of(model: str, file: Path, runtime: str, arithmetic: str, decoder: str = GREEDY) -> str:
    """What an artefact is called among those of its run: one file may have several runtimes and decoders."""
    return f"{model}/{file.name}, {runtime} {arithmetic}{'' if decoder == GREEDY else f', {decoder}'}"


def with_decoder(artefacts: list[Artefact], threads: int, decoder: str, options: DecoderOptions) -> list[Artefact]:
    """The artefacts, and behind each that is executed and gives logits the same with another decoder."""
    found = []
    for artefact in artefacts:
        found.append(artefact)
        if artefact.recognizer is None:
            continue
        with suppress(NoLogits):
            again = load(artefact.file, threads, artefact.device, decoder, options.lm, options.beam)
            found.append(replace(artefact, recognizer=again, decoder=decoder))
    return found


def is_teacher(model: str) -> bool:
    """Whether speed-ups are relative to this model: `teacher`, or a preset such as `tiny-teacher`."""
    return model.endswith("teacher")


def _order(path: Path) -> tuple[bool, int, str]:
    return path.suffix == ".engine", len(path.name), path.name


def _exported(role: str, file: Path, card: Card, threads: int, device: str) -> Artefact:
    precision = precision_of(file)
    if file.suffix != ".engine":
        recognizer = load(file, threads, device)
        _same_model(file, recognizer.card, card)
        return Artefact(role, recognizer.backend.name, file, precision, recognizer)
    own, built = read_document(file)
    _same_model(file, own, card)
    runtime = ENGINES[built["runtime"]] + " plugin" * (".plugin" in file.suffixes)
    try:
        return Artefact(role, runtime, file, precision, load(file))
    except Unavailable:
        return Artefact(role, runtime, file, precision, None)


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
    from htrcompress.charset import Charset
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.models.serialization import save_model
    from htrcompress.training.data import MAX_WIDTH

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

    from benchmarks.traffic import Traffic
    from htrcompress.image import pad
    from htrcompress.models.serialization import load_model

    model, _ = load_model(file)
    pixels, widths = pad([picture])
    with torch.inference_mode(), FlopCounterMode(display=False) as counter, Traffic() as traffic:
        model(torch.from_numpy(pixels), torch.from_numpy(widths))
    parameters = sum(p.numel() for p in model.parameters())
    return Size(parameters, counter.get_total_flops() / 1e9, traffic.numbers / 1e6)
