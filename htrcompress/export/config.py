"""The options of `export`: which of them go together, and what an engine's profile says."""

import re
from pathlib import Path

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export.onnx_export import Decode
from htrcompress.export.tensorrt_build import Choice, Profile

LIBRARY = "build/plugin/libhtr_ctc.so"
"""Where CMake puts the plugin."""
TYPICAL_WIDTH = 1024
"""Width in pixels that engines are tuned for."""


def refuse_contradictions(
    onnx: bool, trt: bool, fp16: bool, int8: bool, decode: Decode, data: str | None, max_cer_drop: float | None,
    profile: str, runtime: Choice, plugin: Path | None,
) -> None:  # fmt: skip
    """Raises HtrError where options contradict each other."""
    if not onnx and not trt:
        raise HtrError("--no-onnx leaves nothing to write: add --trt, or leave it out")
    if data and not (fp16 or int8):
        raise HtrError("--data is for the proofs of --fp16 and --int8: add one of them, or leave it out")
    if max_cer_drop is not None and not int8:
        raise HtrError("--max-cer-drop is for --int8: add it, or leave it out")
    if max_cer_drop is not None and not 0 <= max_cer_drop <= 100:
        raise HtrError(f"--max-cer-drop is in points, 0 to 100, and is {max_cer_drop:g}")
    if int8 and decode != "graph":
        raise HtrError(f"--int8 and --decode {decode} do not go together: leave out one of the two")
    if not trt and (profile or runtime != "auto" or plugin):
        option = "profile" if profile else "plugin" if plugin else "runtime"
        raise HtrError(f"--{option} is for engines: add --trt, or leave it out")
    if plugin and decode != "plugin":
        raise HtrError("--plugin is for engines that decode with it: add --decode plugin, or leave it out")
    if trt and decode == "plugin" and not plugin:
        raise HtrError(f"an engine with --decode plugin needs --plugin, such as {LIBRARY} (see export/README.md)")
    if plugin and not plugin.is_file():
        raise HtrError(f"no plugin library at {plugin}: build it as export/README.md says")


def read_profile(text: str, card: Card) -> Profile:
    """`1x1,32x1024,32x4096` as a profile."""
    text = text or f"1x1,32x{min(TYPICAL_WIDTH, card.max_width)},32x{card.max_width}"
    if not re.fullmatch(r"\d{1,6}x\d{1,6}(,\d{1,6}x\d{1,6}){2}", text):
        raise HtrError(f"--profile {text}: give three sizes, lines x pixels, such as 1x1,32x1024,32x4096")
    batch, width = zip(*((int(n) for n in size.split("x")) for size in text.split(",")), strict=True)
    if batch[0] != 1:
        raise HtrError(f"--profile {text} starts at {batch[0]} lines: start at 1, since a last line may be alone")
    if not (0 < width[0] <= width[1] <= width[2] and batch[1] <= batch[2]):
        raise HtrError(f"--profile {text} must rise from 1 line and at least 1 pixel, such as 1x1,32x1024,32x4096")
    if width[2] > card.max_width:
        raise HtrError(f"--profile {text} ends at {width[2]} pixels, and {card.name} reads up to {card.max_width}")
    return Profile(batch, width)
