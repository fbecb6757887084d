"""The networks: pure modules from pixels and widths to logits and frames. Needs torch."""

from htrcompress.models import threads  # noqa: F401  # a forked process must have one thread
from htrcompress.models.base import STRIDE, LineRecognizer
from htrcompress.models.registry import architecture, build, create, preset, preset_of, resolve_layers

__all__ = ["STRIDE", "LineRecognizer", "architecture", "build", "create", "preset", "preset_of", "resolve_layers"]
