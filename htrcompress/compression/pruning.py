"""Which channels a network needs least, and the network without them: structured pruning.

Channels that belong together go together: a stage's blocks share theirs through the residual sum, and whatever reads
a channel loses its input. The importance of a channel is the squared first-order change of the loss without it, a
sum of weight times gradient over all its weights (Molchanov et al. 2019, arXiv 1906.10771). Those with the least
importance for what they cost go first, over all groups at once. `prune.py` is the command.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from htrcompress.models.base import fuse
from htrcompress.models.gated import GatedConfig, GatedRecognizer

FLOOR = 0.25
"""No group falls below this share of what it had."""
WIDTH = 512
"""Width in pixels of the line that multiplications are counted for."""

Expand = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Cut:
    """Where the units of a group lie in one parameter.

    Attributes:
        parameter: its name.
        axis: the axis that shrinks.
        expand: from units (n,) to their indices on that axis (n, k).
    """

    parameter: str
    axis: int
    expand: Expand


@dataclass(frozen=True)
class Group:
    """Units that are removed one for one in every cut.

    Attributes:
        units: how many there are.
        step: how many go at once, so that sizes stay good ones for the hardware.
        cuts: where they lie.
    """

    units: int
    step: int
    cuts: tuple[Cut, ...]


def plain(model: GatedRecognizer) -> GatedRecognizer:
    """The same network with plain convolutions, which can lose channels without changing the others."""
    network = GatedRecognizer(replace(model.config, standardized=False), model.classes)
    network.load_state_dict(fuse(copy.deepcopy(model)).state_dict())
    return network


def multiplications(config: GatedConfig) -> int:
    """Multiplications in convolutions and matrix products for a line of `WIDTH` pixels; the head's are left out."""
    height, width = config.height // 2, WIDTH // 2
    total = 9 * config.channels[0] * height * width
    strides = ((2, 2), (2, 1), (2, 1))
    for before, after, blocks, (down, along) in zip(
        config.channels[:3], config.channels[1:], config.blocks, strides, strict=True
    ):
        height, width = height // down, width // along
        total += 10 * (before + blocks * after) * after * height * width
    total += config.channels[3] * height * config.dim * width
    for inner, hidden in zip(config.inners, config.hiddens, strict=True):
        linear = config.dim * (4 * inner + config.dim + 2 * hidden + config.kernel)
        total += width * linear + 2 * width * width * inner
    return total


def parameters(config: GatedConfig, classes: int) -> int:
    """Numbers that are trained."""
    with torch.device("meta"):
        return sum(p.numel() for p in GatedRecognizer(config, classes).parameters())


def groups(config: GatedConfig) -> dict[str, Group]:
    """Every group of units that can shrink, by name: `stem`, `stage0`, ..., `qk0`, `v0`, `hidden0`, ..."""
    found = {name: _picture_group(config, place) for place, name in enumerate(("stem", "stage0", "stage1", "stage2"))}
    for layer, (inner, hidden) in enumerate(zip(config.inners, config.hiddens, strict=True)):
        found |= _sequence_groups(f"sequence.{layer}", str(layer), config.heads, inner, hidden)
    return found


def _picture_group(config: GatedConfig, place: int) -> Group:
    """The channels after the stem (0) or after a stage (1 to 3)."""
    made = [*_convs(f"stages.{place - 1}.0")] if place else ["stem.conv"]
    read = _convs(f"stages.{place}.0") if place < 3 else []
    for block in range(1, 1 + (config.blocks[place - 1] if place else 0)):
        inside = f"stages.{place - 1}.{block}"
        made += [*_convs(f"{inside}.conv"), f"{inside}.excite.up"]
        read += [*_convs(f"{inside}.conv"), f"{inside}.excite.down"]
    cuts = [Cut(f"{layer}.{kind}", 0, _same) for layer in made for kind in ("weight", "bias")]
    cuts += [Cut(f"{layer}.weight", 1, _same) for layer in read]
    if place == 3:
        cuts.append(Cut("flatten.weight", 1, _rows(config.height // 16)))
    return Group(config.channels[place], 4, tuple(cuts))


def _sequence_groups(block: str, number: str, heads: int, inner: int, hidden: int) -> dict[str, Group]:
    """What an attention block has inside: queries with keys, values, and the feed-forward layer."""
    width = inner // heads
    found = {}
    for name, parts in (("qk", (0, 1)), ("v", (2,))):
        cuts = [Cut(f"{block}.attention.qkv.{kind}", 0, _heads(parts, heads, width)) for kind in ("weight", "bias")]
        if name == "v":
            cuts.append(Cut(f"{block}.attention.out.weight", 1, _heads((0,), heads, width)))
        found[name + number] = Group(width, 4, tuple(cuts))
    ffn = [Cut(f"{block}.ffn.0.{kind}", 0, _same) for kind in ("weight", "bias")]
    found[f"hidden{number}"] = Group(hidden, 16, (*ffn, Cut(f"{block}.ffn.2.weight", 1, _same)))
    return found


def importance(model: GatedRecognizer, losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """Importance of every unit of every group, FP32 (units,).

    Args:
        model: a plain network.
        losses: losses of batches, each computed when it is asked for.
    """
    found = groups(model.config)
    weights = dict(model.named_parameters())
    scores = {name: torch.zeros(group.units) for name, group in found.items()}
    for loss in losses:
        model.zero_grad()
        loss.backward()
        for name, group in found.items():
            change = torch.zeros(group.units)
            for cut in group.cuts:
                weight = weights[cut.parameter]
                assert weight.grad is not None
                products = (weight * weight.grad).detach().float()
                along = products.movedim(cut.axis, 0).reshape(weight.shape[cut.axis], -1).sum(1)
                change += along[cut.expand(torch.arange(group.units))].sum(1)
            scores[name] += change.square()
    return scores


def choose(
    whole: GatedConfig,
    config: GatedConfig,
    scores: dict[str, Tensor],
    cost: Callable[[GatedConfig], int],
    target: float,
) -> GatedConfig:
    """The sizes at which the cost has fallen to `target`, removing what matters least for what it costs.

    Args:
        whole: the sizes before any pruning; of each, `FLOOR` stays.
        config: the sizes as they are.
        scores: what `importance` gives.
        cost: of a network of given sizes.
        target: the cost to reach.
    """
    found, floors = groups(config), _floors(whole)
    sorted_scores = {name: values.sort().values for name, values in scores.items()}
    counts = {name: group.units for name, group in found.items()}
    now = cost(config)
    while now > target:
        best: tuple[float, str] | None = None
        for name, group in found.items():
            if name.startswith("v") or counts[name] - group.step < floors[name]:
                continue  # v shrinks with qk
            gone = group.units - counts[name]
            loss = float(sorted_scores[name][gone : gone + group.step].sum())
            if name.startswith("qk"):
                loss += float(sorted_scores[f"v{name[2:]}"][gone : gone + group.step].sum())
            saved = now - cost(sized(config, {**counts, name: counts[name] - group.step}))
            best = min(best or (float("inf"), ""), (loss / max(saved, 1), name))
        if best is None:
            break
        counts[best[1]] -= found[best[1]].step
        now = cost(sized(config, counts))
    return sized(config, counts)


def least(whole: GatedConfig) -> GatedConfig:
    """The smallest sizes that `choose` comes to."""
    floors = _floors(whole)
    counts = {
        name: group.units - (group.units - floors[name]) // group.step * group.step
        for name, group in groups(whole).items()
    }
    return sized(whole, counts)


def _floors(whole: GatedConfig) -> dict[str, int]:
    return {name: max(group.step, round(FLOOR * group.units)) for name, group in groups(whole).items()}


def sized(config: GatedConfig, counts: dict[str, int]) -> GatedConfig:
    """The config with other numbers of units."""
    layers = range(config.layers)
    return replace(
        config,
        channels=(counts["stem"], counts["stage0"], counts["stage1"], counts["stage2"]),
        inner=tuple(counts[f"qk{layer}"] * config.heads for layer in layers),
        hidden=tuple(counts[f"hidden{layer}"] for layer in layers),
        standardized=False,
    )


def shrink(model: GatedRecognizer, scores: dict[str, Tensor], config: GatedConfig) -> GatedRecognizer:
    """The network with the most important units of every group, as many as `config` has."""
    found, after = groups(model.config), groups(config)
    state = dict(model.state_dict())
    kept: dict[tuple[str, int], Tensor] = {}
    for name, group in found.items():
        gone = scores[name].argsort()[: group.units - after[name].units]
        for cut in group.cuts:
            place = (cut.parameter, cut.axis)
            kept.setdefault(place, torch.ones(state[cut.parameter].shape[cut.axis], dtype=torch.bool))
            kept[place][cut.expand(gone).flatten()] = False
    for (name, axis), mask in kept.items():
        state[name] = state[name].index_select(axis, mask.nonzero().flatten())
    for stage, (blocks, channels) in enumerate(zip(config.blocks, config.channels[1:], strict=True)):
        for block in range(1, 1 + blocks):
            _shrink_excite(state, f"stages.{stage}.{block}.excite", channels // 4)
    for layer, (before, now) in enumerate(zip(model.config.inners, config.inners, strict=True)):
        for kind in ("weight", "bias"):  # attention divides by the root of a head's width, which has changed
            state[f"sequence.{layer}.attention.qkv.{kind}"][:now] *= (now / before) ** 0.5
    network = GatedRecognizer(config, model.classes)
    network.load_state_dict(state)
    return network


def _shrink_excite(state: dict[str, Tensor], name: str, units: int) -> None:
    """Squeeze-and-excitation keeps a quarter of its channels inside: those with the largest weights."""
    size = state[f"{name}.down.weight"].norm(dim=1) * state[f"{name}.up.weight"].norm(dim=0)
    best = size.argsort(descending=True)[:units].sort().values
    for key, axis in (("down.weight", 0), ("down.bias", 0), ("up.weight", 1)):
        state[f"{name}.{key}"] = state[f"{name}.{key}"].index_select(axis, best)


def _convs(name: str) -> list[str]:
    return [f"{name}.value", f"{name}.gate"]


def _same(units: Tensor) -> Tensor:
    return units.unsqueeze(1)


def _rows(rows: int) -> Expand:
    """A channel's rows, once the picture is flattened."""
    return lambda units: units.unsqueeze(1) * rows + torch.arange(rows)


def _heads(parts: tuple[int, ...], heads: int, width: int) -> Expand:
    """The same place in every head of the query (0), the key (1) or the value (2)."""
    starts = torch.tensor([(part * heads + head) * width for part in parts for head in range(heads)])
    return lambda units: units.unsqueeze(1) + starts
