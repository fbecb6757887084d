"""The networks: pure modules from pixels and widths to logits and frames. Needs torch."""

from dataclasses import asdict
from typing import Any

from torch import nn

from htrcompress.errors import HtrError
from htrcompress.models.gated import STRIDE, GatedConfig, GatedRecognizer
from htrcompress.models.presets import PRESETS

__all__ = ["STRIDE", "architecture", "build", "create", "preset"]

LARGEST = 16_384
"""No size in a config may exceed this, so a hostile card cannot ask for endless layers."""


def preset(name: str) -> GatedConfig:
    """The sizes that go by a name.

    Raises:
        HtrError: there is no such preset.
    """
    if name not in PRESETS:
        raise HtrError(f"no model is called '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def create(name: str, classes: int) -> nn.Module:
    """A network of a named size with random weights.

    Args:
        name: a preset, such as `teacher` or `student`.
        classes: outputs, the blank included (`Charset.classes`).

    Raises:
        HtrError: there is no such preset.
    """
    return GatedRecognizer(preset(name), classes)


def architecture(model: nn.Module) -> dict[str, Any]:
    """What `build` needs to make the same network again: its family, its sizes, and options that are not the usual."""
    if not isinstance(model, GatedRecognizer):
        raise HtrError(f"{type(model).__name__} is not a network of this package")
    usual = {"inner": (), "hidden": (), "standardised": True}
    sizes = {name: value for name, value in asdict(model.config).items() if value != usual.get(name)}
    return {"family": "gated", **sizes}


def build(sizes: dict[str, Any], classes: int) -> nn.Module:
    """The network that `architecture` described, with random weights.

    Raises:
        HtrError: the description is not one of ours or its sizes make no sense.
    """
    sizes = dict(sizes)
    family = sizes.pop("family", None)
    if family != "gated":
        raise HtrError(f"unknown architecture '{family}': this version knows 'gated'")
    numbers = [n for v in sizes.values() for n in (v if isinstance(v, list | tuple) else [v])]
    if not all(isinstance(n, int | float) and 0 <= n <= LARGEST for n in [*numbers, classes]):
        raise HtrError(f"the sizes of the architecture are not numbers from 0 to {LARGEST}")
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}
        return GatedRecognizer(GatedConfig(**values), classes)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise HtrError(f"the architecture cannot be built: {error}") from None
