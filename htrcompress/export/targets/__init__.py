"""Everything that can be exported, one row each; a new target is one file beside this one and one row here."""

from htrcompress.errors import HtrError
from htrcompress.export.options import ExportOptions
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.attention_files import Attention
from htrcompress.export.targets.base import ExportTarget, Job
from htrcompress.export.targets.engines import Engines
from htrcompress.export.targets.int8_files import Int8
from htrcompress.export.targets.language import LanguageFile
from htrcompress.export.targets.onnx_files import Fp16, Fp32
from htrcompress.export.targets.triton import TritonRepository

__all__ = ["TARGETS", "ExportTarget", "ExportedFile", "Job", "chosen_targets"]

TARGETS: list[ExportTarget] = [
    Fp32(),
    Fp16(),
    Int8("cpu"),
    Int8("trt"),
    Engines(),
    TritonRepository(),
    LanguageFile(),
    Attention(),
]
"""In the order in which they are written: engines are built of the graphs that stand before them, and
Triton's repository gets a copy of the language model."""


def chosen_targets(options: ExportOptions) -> list[ExportTarget]:
    """The targets that the options switch on.

    Raises:
        HtrError: --also names no target.
    """
    named = [] if options.also is None else [name.strip() for name in options.also.split(",")]
    known = {target.name for target in TARGETS if not target.option}
    wrong = next((name for name in named if name not in known), None)
    if wrong is not None:
        has = f"choose from {', '.join(sorted(known))}" if known else "all targets have options of their own"
        raise HtrError(f"--also '{wrong}': there is no such target; {has}")
    return [
        target for target in TARGETS if (getattr(options, target.option) if target.option else target.name in named)
    ]
