"""The families of networks and their named sizes: from a name or a card's entry to a network, and back.

A new network is one file (a frozen config dataclass and a `LineRecognizer`) and one row in `FAMILIES`.
"""

from dataclasses import MISSING, asdict, fields
from typing import Any, NamedTuple

from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer
from htrcompress.models.gated import GatedConfig, GatedRecognizer
from htrcompress.models.hybrid import HybridConfig, HybridRecognizer
from htrcompress.models.presets import PRESETS

LARGEST = 16_384
"""No size in a config may exceed this, so that a hostile card cannot ask for endless layers."""


class Family(NamedTuple):
    """A kind of network: the frozen dataclass of its sizes, and its class, which is built from `(config, classes)`."""

    config: type[Any]
    network: type[LineRecognizer]


FAMILIES: dict[str, Family] = {
    "gated": Family(GatedConfig, GatedRecognizer),
    "hybrid": Family(HybridConfig, HybridRecognizer),
}
"""By the name that stands on a card."""


def preset(name: str) -> Any:
    """The config of a named size.

    Raises:
        HtrError: there is no such preset.
    """
    if name not in PRESETS:
        raise HtrError(f"no model is called '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_of(network: LineRecognizer) -> str | None:
    """The name of the preset that has this network's sizes; None if no preset has."""
    return next((name for name, config in PRESETS.items() if config == network.config), None)


def create(name: str, classes: int) -> LineRecognizer:
    """A network of a named size with random weights.

    Args:
        name: a preset, such as `teacher` or `student`.
        classes: outputs, the blank included (`Charset.classes`).

    Raises:
        HtrError: there is no such preset.
    """
    config = preset(name)
    [family] = [family for family in FAMILIES.values() if type(config) is family.config]
    return family.network(config, classes)


def architecture(network: LineRecognizer) -> dict[str, Any]:
    """The card's entry from which `build` makes the same network: its family, and sizes that are not the defaults."""
    for name, family in FAMILIES.items():
        if type(network) is family.network:
            defaults = {f.name: f.default for f in fields(family.config) if f.default is not MISSING}
            sizes = asdict(network.config).items()
            return {"family": name, **{k: v for k, v in sizes if k not in defaults or v != defaults[k]}}
    raise HtrError(f"{type(network).__name__} is not in the table of networks (models.registry.FAMILIES)")


def build(sizes: dict[str, Any], classes: int) -> LineRecognizer:
    """The network that `architecture` described, with random weights.

    Raises:
        HtrError: the family is unknown, or its sizes make no sense.
    """
    sizes = dict(sizes)
    name = sizes.pop("family", None)
    if not isinstance(name, str) or name not in FAMILIES:
        known = " and ".join(f"'{known}'" for known in FAMILIES)
        raise HtrError(f"unknown architecture '{name}': this version knows {known}")
    numbers = [n for v in sizes.values() for n in (v if isinstance(v, list | tuple) else [v])]
    if not all(isinstance(n, int | float) and 0 <= n <= LARGEST for n in [*numbers, classes]):
        raise HtrError(f"the sizes of the architecture are not numbers from 0 to {LARGEST}")
    family = FAMILIES[name]
    fractions = {field.name for field in fields(family.config) if field.type is float}
    odd = next((k for k, v in sizes.items() if isinstance(v, float) and k not in fractions), None)
    if odd is not None:
        raise HtrError(f"the architecture's {odd} must be a whole number, and is {sizes[odd]}")
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}
        return family.network(family.config(**values), classes)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise HtrError(f"the architecture cannot be built: {error}") from None


def resolve_layers(network: LineRecognizer, layers: tuple[int, ...]) -> tuple[int, ...]:
    """The layers of the sequence part that a loss looks at: those named, or the middle one.

    Args:
        network: the network that is trained.
        layers: indices into `layer_dims`; 0 is the input of the sequence part.

    Raises:
        HtrError: the network has no such layer.
    """
    last = len(network.layer_dims) - 1
    odd = [layer for layer in layers if not 0 <= layer <= last]
    if odd:
        raise HtrError(f"--aux.layers {odd[0]}: this network has layers 0 to {last}, and {last} is the last one")
    return layers or (last // 2,)
