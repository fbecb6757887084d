"""Structured channel pruning of convolutional recognisers (`python -m htrcompress.prune`).

Channels that belong together are removed together (`GatedRecognizer.channel_groups`). The importance of a unit is the
squared first-order change of the loss without it, a sum of weight times gradient over all its weights (Molchanov et al.
2019, arXiv 1906.10771). Units with the least importance for what they cost are removed first, over all groups at once,
in several rounds.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from htrcompress.compression.base import WIDTH, BatchLosses, CompressionPass, Measure, Target, count_parameters
from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer, fuse
from htrcompress.models.gated import GatedConfig, GatedRecognizer
from htrcompress.models.layers import GatedBlock, SequenceBlock

FLOOR = 0.25
"""Each group keeps at least this share of its units."""
ROUNDS = 4
"""How often importance is measured on the way to the target."""


class ChannelPruning(CompressionPass):
    """Removes the least important channels of a `GatedRecognizer`."""

    def supports(self, network: LineRecognizer) -> bool:
        return isinstance(network, GatedRecognizer)

    def check(self, network: LineRecognizer, target: Target) -> None:
        model = cast(GatedRecognizer, network)
        cost = _cost_of(target.measure, model.classes)
        left = cost(smallest(model)) / cost(model.config)
        if left > target.share:
            raise HtrError(
                f"the model cannot shrink to {target.share:.1%}: at least {FLOOR:.0%} of every layer stays, which "
                f"leaves {left:.1%}; give a larger --{target.measure}, or train a smaller --model"
            )

    def prepare(self, network: LineRecognizer) -> GatedRecognizer:
        return with_plain_convolutions(cast(GatedRecognizer, network))

    def apply(self, network: LineRecognizer, target: Target, losses: BatchLosses) -> GatedRecognizer:
        whole = current = cast(GatedRecognizer, network)
        cost = _cost_of(target.measure, whole.classes)
        for number in range(1, ROUNDS + 1):
            scores = importance(current, losses(current, number))
            share = 1 - (1 - target.share) * number / ROUNDS
            config = choose(whole, current, scores, cost, cost(whole.config) * share)
            current = shrink(current, scores, config)
        return current

    def cost(self, network: LineRecognizer, measure: Measure) -> int:
        if measure == "flops":
            return 2 * multiplications(cast(GatedRecognizer, network).config)
        return count_parameters(network)


def _cost_of(measure: Measure, classes: int) -> Callable[[GatedConfig], int]:
    """The cost of a network with given sizes, from the sizes alone."""
    if measure == "flops":
        return multiplications
    return lambda config: _parameters(config, classes)


def _parameters(config: GatedConfig, classes: int) -> int:
    with torch.device("meta"):
        return count_parameters(GatedRecognizer(config, classes))


def multiplications(config: GatedConfig) -> int:
    """Multiplications in convolutions and matrix products for a line of `WIDTH` pixels, without the output layer's."""
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


def with_plain_convolutions(model: GatedRecognizer) -> GatedRecognizer:
    """The same network with plain convolutions: without weight standardisation, channels are independent."""
    network = GatedRecognizer(replace(model.config, standardized=False), model.classes)
    network.load_state_dict(fuse(copy.deepcopy(model)).state_dict())
    return network.to(next(model.parameters()).device)


def importance(model: GatedRecognizer, losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """Importance of every unit of every group, FP32 (units,), on the network's device.

    Args:
        model: a network with plain convolutions.
        losses: of the network on training batches, each computed when it is asked for.
    """
    device = next(model.parameters()).device
    groups = model.channel_groups()
    scores = {name: torch.zeros(group.units, device=device) for name, group in groups.items()}
    for loss in losses:
        model.zero_grad()
        loss.backward()
        for name, group in groups.items():
            change = torch.zeros(group.units, device=device)
            units = torch.arange(group.units, device=device)
            for cut in group.cuts:
                weight = cut.parameter
                assert weight.grad is not None
                products = (weight * weight.grad).detach().float()
                along = products.movedim(cut.axis, 0).reshape(weight.shape[cut.axis], -1).sum(1)
                change += along[cut.expand(units)].sum(1)
            scores[name] += change.square()
    return scores


def choose(
    whole: GatedRecognizer,
    model: GatedRecognizer,
    scores: dict[str, Tensor],
    cost: Callable[[GatedConfig], int],
    target: float,
) -> GatedConfig:
    """The sizes at which the cost has fallen to `target`, after removing what matters least for what it costs.

    Args:
        whole: the network before any pruning; `FLOOR` of each of its groups stays.
        model: the network as it is now.
        scores: from `importance`.
        cost: of a network of given sizes.
        target: the cost to reach.
    """
    groups, floors = model.channel_groups(), _floors(whole)
    sorted_scores = {name: values.sort().values.cpu() for name, values in scores.items()}
    counts = {name: group.units for name, group in groups.items()}
    now = cost(model.config)
    while now > target:
        best: tuple[float, str] | None = None
        for name, group in groups.items():
            if name.startswith("v") or counts[name] - group.step < floors[name]:
                continue  # values shrink together with queries and keys
            gone = group.units - counts[name]
            loss = float(sorted_scores[name][gone : gone + group.step].sum())
            if name.startswith("qk"):
                loss += float(sorted_scores[f"v{name[2:]}"][gone : gone + group.step].sum())
            saved = now - cost(model.with_units({**counts, name: counts[name] - group.step}))
            best = min(best or (float("inf"), ""), (loss / max(saved, 1), name))
        if best is None:
            break
        counts[best[1]] -= groups[best[1]].step
        now = cost(model.with_units(counts))
    return model.with_units(counts)


def smallest(whole: GatedRecognizer) -> GatedConfig:
    """The smallest sizes that `choose` can return."""
    floors = _floors(whole)
    counts = {
        name: group.units - (group.units - floors[name]) // group.step * group.step
        for name, group in whole.channel_groups().items()
    }
    return whole.with_units(counts)


def _floors(whole: GatedRecognizer) -> dict[str, int]:
    groups = whole.channel_groups()
    return {name: max(group.step, round(FLOOR * group.units)) for name, group in groups.items()}


def shrink(model: GatedRecognizer, scores: dict[str, Tensor], config: GatedConfig) -> GatedRecognizer:
    """The network with the most important units of every group, as many as `config` has."""
    network = GatedRecognizer(config, model.classes)
    after = network.channel_groups()
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    state = dict(model.state_dict())
    kept: dict[tuple[str, int], Tensor] = {}
    for name, group in model.channel_groups().items():
        gone = scores[name].argsort()[: group.units - after[name].units]
        for cut in group.cuts:
            weight = cut.parameter
            place = (names[weight], cut.axis)
            kept.setdefault(place, torch.ones(weight.shape[cut.axis], dtype=torch.bool, device=weight.device))
            kept[place][cut.expand(gone).flatten()] = False
    for (name, axis), mask in kept.items():
        state[name] = state[name].index_select(axis, mask.nonzero().flatten())
    for block, smaller in zip(_gated_blocks(model), _gated_blocks(network), strict=True):
        _shrink_excite(state, names, block, smaller.excite.down.out_features)
    for layer, (before, now) in enumerate(zip(model.config.inners, config.inners, strict=True)):
        qkv = cast(SequenceBlock, model.sequence[layer]).attention.qkv
        for parameter in (qkv.weight, qkv.bias):  # attention divides by the root of a head's width, which has changed
            state[names[parameter]][:now] *= (now / before) ** 0.5
    network.load_state_dict(state)
    return network.to(next(model.parameters()).device)


def _gated_blocks(model: GatedRecognizer) -> list[GatedBlock]:
    return [module for module in model.stages.modules() if isinstance(module, GatedBlock)]


def _shrink_excite(state: dict[str, Tensor], names: dict[Tensor, str], block: GatedBlock, units: int) -> None:
    """Keeps so many inner units of squeeze-and-excitation: those with the largest weights."""
    down, up = block.excite.down, block.excite.up
    size = state[names[down.weight]].norm(dim=1) * state[names[up.weight]].norm(dim=0)
    best = size.argsort(descending=True)[:units].sort().values
    for parameter, axis in ((down.weight, 0), (down.bias, 0), (up.weight, 1)):
        state[names[parameter]] = state[names[parameter]].index_select(axis, best)
