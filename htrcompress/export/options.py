"""The options of `export` and `verify`, and which of them contradict each other; importing this needs no torch."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from htrcompress.card import Card
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError

Decode = Literal["graph", "plugin", "none"]
TrtFlavour = Literal["auto", "tensorrt-rtx", "tensorrt"]
"""Which TensorRT builds an engine; `auto` is the first that is installed."""
PLUGIN_LIBRARY = "build/plugin/libhtr_ctc.so"
"""Where CMake puts the plugin."""
TYPICAL_WIDTH = 1024
"""Width in pixels that engines are tuned for."""
MAX_CER_DROP = 0.2
"""Points of CER that INT8 may cost by default."""
MIN_GUARD_LINES = 100
"""Validation lines below which INT8 is not vouched for: half of them are read to choose, half to vouch."""


@dataclass(frozen=True)
class Profile:
    """The smallest, the typical and the largest input of an engine; it is fastest at the typical one.

    Attributes:
        batch: lines.
        width: pixels, padding included.

    Raises:
        HtrError: the sizes do not rise from at least 1.
    """

    batch: tuple[int, int, int]
    width: tuple[int, int, int]

    def __post_init__(self) -> None:
        for name, sizes in (("batch", self.batch), ("width", self.width)):
            if not 0 < sizes[0] <= sizes[1] <= sizes[2]:
                raise HtrError(f"the {name} of an engine's --profile must rise from at least 1, not {sizes}")


@dataclass(frozen=True)
class ExportOptions:
    """Writes the models of a run as ONNX files, and as TensorRT engines, with decoding inside."""

    run: Path | None = None
    """A run folder or a .safetensors file; the newest run if not given."""
    onnx: bool = True
    """Keep the ONNX files; --no-onnx leaves the engines of --trt alone."""
    trt: bool = False
    """Also build an engine of every ONNX file: FP32, FP16 with --fp16, INT8 with --int8."""
    fp16: bool = False
    """Also write an FP16 ONNX file, with the proof that it is one."""
    int8: bool = False
    """Also write INT8 ONNX files, one for ONNX Runtime on the CPU and one for TensorRT."""
    attention: bool = False
    """Also write the attention decoder that the model's file keeps, as two ONNX files for --decoder attention and
    joint; the other files have no trace of it."""
    also: str | None = None
    """Further targets by name, separated by commas (see `htrcompress/export/targets`)."""
    decode: Decode = "graph"
    """graph decodes in standard operators, which run everywhere; plugin leaves it to the TensorRT plugin of
    export/plugin; none gives logits and frames."""
    decoder: Literal["greedy", "beam"] | None = None
    """beam also writes the language model of --lm into the package, for searches in Python, C++ and clients of Triton;
    greedy decoding is in the graph. If not given, beam with --lm, else greedy."""
    lm: LanguageOptions = LanguageOptions()
    """the language model that is written into the package, with its weight and bonus"""
    out: Path | None = None
    """Where to write; `export/<model>` in the run if not given."""
    data: str | None = None
    """Dataset whose training lines calibrate INT8, and whose validation lines guard INT8 and FP16; what the model was
    trained on if not given."""
    max_cer_drop: float | None = None
    """Points of CER that INT8 may cost on validation, at the worse end of the 95 % interval; 0.2 if not given."""
    min_guard_lines: int | None = None
    """The fewest validation lines by which an INT8 file is judged; 100 if not given."""
    profile: str | None = None
    """Smallest, typical and largest input of an engine, lines x pixels: 1x1,32x1024,32x4096, which ends at the model's
    own widest line if not given."""
    runtime: TrtFlavour = "auto"
    """Which TensorRT builds the engines; auto takes the first that is installed."""
    plugin: Path | None = None
    """Library that `export/plugin` builds, for engines with --decode plugin; needs a GPU."""

    @property
    def searches(self) -> bool:
        """Whether the package is for a beam search too."""
        return self.decoder == "beam" or (self.decoder is None and self.lm != LanguageOptions())

    @property
    def limit(self) -> float:
        """The largest rise of the CER that INT8 may cost, a fraction."""
        return (MAX_CER_DROP if self.max_cer_drop is None else self.max_cer_drop) / 100

    def check(self) -> None:
        """Raises HtrError where options contradict each other, with the flags in its sentence."""
        if not self.onnx and self.attention:
            raise HtrError("--attention writes ONNX files: leave out --no-onnx")
        if not self.onnx and not self.trt:
            raise HtrError("--no-onnx leaves nothing to write: add --trt, or leave out --no-onnx")
        if self.data is not None and not self.data.strip():
            raise HtrError("--data is empty: name a dataset's folder, or leave --data out")
        if self.data and not (self.fp16 or self.int8):
            raise HtrError("--data is for the proofs of --fp16 and --int8: add one of them, or leave out --data")
        for flag, value in (("--max-cer-drop", self.max_cer_drop), ("--min-guard-lines", self.min_guard_lines)):
            if value is not None and not self.int8:
                raise HtrError(f"{flag} is for --int8: add --int8, or leave out {flag}")
        if self.max_cer_drop is not None and not 0 <= self.max_cer_drop <= 100:
            raise HtrError(f"--max-cer-drop is in points, 0 to 100, and is {self.max_cer_drop:g}")
        if self.min_guard_lines is not None and self.min_guard_lines < 1:
            raise HtrError(f"--min-guard-lines must be positive, not {self.min_guard_lines}")
        if self.int8 and self.decode != "graph":
            raise HtrError(f"--int8 and --decode {self.decode} do not go together: leave out one of the two")
        self._check_decoder()
        self._check_engine()

    def _check_decoder(self) -> None:
        if self.decoder == "greedy" and self.lm != LanguageOptions():
            raise HtrError("--decoder greedy uses no --lm: leave out one of the two")
        if self.searches and self.lm.file is None:
            raise HtrError("--decoder beam is exported with its language model: name one with --lm")
        if self.lm.words is not None:
            raise HtrError("--lm.words is not exported: give the list to `transcribe` or `evaluate`")
        if self.searches and self.decode == "plugin":
            raise HtrError("--decoder beam needs logits, which --decode plugin does not give: leave out one of the two")

    def _check_engine(self) -> None:
        given = {"profile": self.profile is not None, "plugin": bool(self.plugin), "runtime": self.runtime != "auto"}
        for option in given:
            if given[option] and not self.trt:
                raise HtrError(f"--{option} is for engines: add --trt, or leave out --{option}")
        if self.plugin and self.decode != "plugin":
            raise HtrError("--plugin is for engines that decode with it: add --decode plugin, or leave out --plugin")
        if self.trt and self.decode == "plugin" and not self.plugin:
            raise HtrError(
                f"--trt with --decode plugin needs --plugin, such as {PLUGIN_LIBRARY} (see export/README.md)"
            )
        if self.plugin and not self.plugin.is_file():
            raise HtrError(f"--plugin {self.plugin}: there is no such library; build it as export/README.md says")

    def profile_for(self, card: Card) -> Profile:
        """The range of inputs of a model's engines.

        Raises:
            HtrError: --profile is not three rising sizes, or is wider than the model reads.
        """
        text = self.profile
        if text is None:
            text = f"1x1,32x{min(TYPICAL_WIDTH, card.max_width)},32x{card.max_width}"
        if not re.fullmatch(r"\d{1,6}x\d{1,6}(,\d{1,6}x\d{1,6}){2}", text):
            raise HtrError(f"--profile {text}: give three sizes, lines x pixels, such as 1x1,32x1024,32x4096")
        batch, width = zip(*((int(n) for n in size.split("x")) for size in text.split(",")), strict=True)
        if batch[0] != 1:
            raise HtrError(f"--profile {text} starts at {batch[0]} lines: start at 1, since the last batch may be one")
        if not (0 < width[0] <= width[1] <= width[2] and batch[1] <= batch[2]):
            raise HtrError(f"--profile {text} must rise from 1 line and at least 1 pixel, such as 1x1,32x1024,32x4096")
        if width[2] > card.max_width:
            raise HtrError(f"--profile {text} ends at {width[2]} pixels, and {card.name} reads up to {card.max_width}")
        return Profile(batch, width)


@dataclass(frozen=True)
class VerifyOptions:
    """Reads the same lines with a model and with every file that was exported from it, and compares."""

    folder: Path | None = None
    """A run, its export folder, or one model's folder in there; the newest run if not given."""
    data: str | None = None
    """A dataset's folder, or `synthetic`; what the model was trained on if not given."""
    split: str = "test"
    """The split to read."""
    model: Path | None = None
    """The .safetensors file that a single folder was exported from, if it is not in the run."""
    lines: int | None = None
    """How many lines of the split to read, spread over it; all if not given."""
    max_cer_rise: float | None = None
    """Points of CER, at the far end of the paired interval; 0.02 if not given, and 0.5 for INT8, which is chance."""
    device: Literal["cpu", "cuda", "openvino", "tensorrt", "tensorrt-rtx"] = "cpu"
    """What computes the ONNX files; PyTorch, the reference, is on the CPU, and engines are on the GPU."""

    def check(self) -> None:
        """Raises HtrError where an option would verify nothing."""
        if self.data is not None and not self.data.strip():
            raise HtrError("--data is empty: name a dataset's folder, or leave --data out")
        if self.lines is not None and self.lines < 1:
            raise HtrError(f"--lines must be positive, not {self.lines}")
        if self.max_cer_rise is not None and not math.isfinite(self.max_cer_rise):
            raise HtrError(f"--max-cer-rise must be a finite number, not {self.max_cer_rise}")
