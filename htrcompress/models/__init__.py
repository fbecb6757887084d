"""The networks: pure modules from pixels and widths to logits and frames. Needs torch."""

from dataclasses import asdict
from typing import Any

from torch import nn

from htrcompress.errors import HtrError
from htrcompress.models.gated import STRIDE, GatedConfig, GatedRecognizer
from htrcompress.models.hybrid import HybridConfig, HybridRecognizer
from htrcompress.models.presets import PRESETS

__all__ = ["STRIDE", "architecture", "build", "create", "parts", "preset", "resolve_layers"]

LARGEST = 16_384
"""No size in a config may exceed this, so a hostile card cannot ask for endless layers."""
FAMILIES: dict[str, tuple[type, type[nn.Module]]] = {
    "gated": (GatedConfig, GatedRecognizer),
    "hybrid": (HybridConfig, HybridRecognizer),
}
"""Name in a card to the class of the sizes and that of the network."""
UNUSUAL = {"inner": (), "hidden": (), "standardized": True}
"""Sizes that pruned networks alone have, and what they are otherwise; then a card does without them."""


def preset(name: str) -> GatedConfig | HybridConfig:
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
    config = preset(name)
    [network] = [network for sizes, network in FAMILIES.values() if isinstance(config, sizes)]
    return network(config, classes)


def architecture(model: nn.Module) -> dict[str, Any]:
    """What `build` needs to make the same network again: its family, its sizes, and options that are not the usual."""
    for family, (_, network) in FAMILIES.items():
        if isinstance(model, network):
            sizes = asdict(model.config).items()  # type: ignore[call-overload]
            return {"family": family, **{name: value for name, value in sizes if value != UNUSUAL.get(name)}}
    raise HtrError(f"{type(model).__name__} is not a network of this package")


def build(sizes: dict[str, Any], classes: int) -> nn.Module:
    """The network that `architecture` described, with random weights.

    Raises:
        HtrError: the description is not one of ours or its sizes make no sense.
    """
    sizes = dict(sizes)
    family = sizes.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        known = " and ".join(f"'{name}'" for name in FAMILIES)
        raise HtrError(f"unknown architecture '{family}': this version knows {known}")
    numbers = [n for v in sizes.values() for n in (v if isinstance(v, list | tuple) else [v])]
    if not all(isinstance(n, int | float) and 0 <= n <= LARGEST for n in [*numbers, classes]):
        raise HtrError(f"the sizes of the architecture are not numbers from 0 to {LARGEST}")
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}
        config, network = FAMILIES[family]
        return network(config(**values), classes)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise HtrError(f"the architecture cannot be built: {error}") from None


def parts(model: nn.Module) -> dict[str, int]:
    """How many numbers are trained in each part of a network, by name."""
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    return {name: size for name, size in sizes.items() if size}


def resolve_layers(model: nn.Module, layers: tuple[int, ...]) -> tuple[int, ...]:
    """The layers of the sequence part that a loss looks at: those named, or the middle one.

    Args:
        model: a network of this package.
        layers: places in what `model.layers` gives, 0 being what enters the sequence part.

    Raises:
        HtrError: the network has no such layer.
    """
    last = len(model.dims) - 1  # type: ignore[arg-type]
    odd = [layer for layer in layers if not 0 <= layer <= last]
    if odd:
        raise HtrError(f"--aux.layers {odd[0]}: this network has layers 0 to {last}, {last} being the last one")
    return layers or (last // 2,)
