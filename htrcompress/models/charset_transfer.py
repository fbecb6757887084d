"""A trained network taken to other characters: for fine-tuning on a new hand, and for a teacher of another charset.

Only the last layer, and the shortcut of a `hybrid`, know characters. Rows of characters that both charsets have are
copied, in the order of the new one; what the network has learnt of shapes and of the rest stays.
"""

from typing import Any

import torch
from torch import nn

from htrcompress.charset import BLANK, Charset
from htrcompress.config import Choice
from htrcompress.errors import HtrError

NEVER = -30_000.0
"""Bias of a character that a network cannot emit; finite in FP16, and exp() of it is zero."""


def choose_charset(model: Charset, data: Charset, choice: Choice | None) -> Charset:
    """The charset of a model that is trained on.

    Args:
        model: what it reads now.
        data: the characters of the new training lines.
        choice: keep the model's, take the union, or replace it by the data's; may be left open where the
            model knows every character of the data.

    Raises:
        HtrError: the data has characters that the model lacks, and no choice was made.
    """
    missing = [c for c in data.characters if c not in model.characters]
    if choice is None and missing:
        raise HtrError(
            f"the model of --init does not know {_some(missing)}: choose --charset keep (read the lines without), "
            "union (learn them too) or replace (forget what the new lines lack)"
        )
    if choice == "replace":
        return data
    return Charset(tuple(sorted({*model.characters, *data.characters}))) if choice == "union" else model


def common_charset(teacher: Charset, data: Charset) -> Charset:
    """What a student reads whose teacher and lines know different characters: the larger set.

    Raises:
        HtrError: neither contains the other.
    """
    lacks = [c for c in data.characters if c not in teacher.characters]
    alone = [c for c in teacher.characters if c not in data.characters]
    if lacks and alone:
        raise HtrError(
            f"the teacher reads {_some(alone)}, which the lines lack, and not {_some(lacks)}, which they hold: "
            "train it on these lines first (train --init TEACHER --charset union)"
        )
    return data if lacks else teacher


def set_charset(model: nn.Module, before: Charset, after: Charset, learn: bool) -> None:
    """Gives a network the labels of another charset, in place.

    Args:
        model: with its labels in a linear layer `head`, and in the convolution `shortcut` if it has one.
        before: the charset of its labels.
        after: the charset that they shall have.
        learn: whether characters that are new to it start as unlikely ones that it can learn; otherwise it
            never emits them.
    """
    if before == after:
        return
    pairs = [(BLANK, BLANK)]
    pairs += [(after.encode(c)[0], before.encode(c)[0]) for c in after.characters if c in before.characters]
    for name in ("head", "shortcut"):
        if hasattr(model, name):
            setattr(model, name, _relabelled(getattr(model, name), after.classes, pairs, learn))


def _relabelled(old: Any, classes: int, pairs: list[tuple[int, int]], learn: bool) -> nn.Module:
    """A layer over other classes; `pairs` says which row each copied one comes from."""
    new: Any
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, classes)
    else:
        new = nn.Conv1d(old.in_channels, classes, old.kernel_size, padding=old.padding)
    with torch.no_grad():
        if learn:
            nn.init.constant_(new.bias, float(old.bias.min()))
        else:
            nn.init.zeros_(new.weight)
            nn.init.constant_(new.bias, NEVER)
        to, source = (list(side) for side in zip(*pairs, strict=True))
        new.weight[to], new.bias[to] = old.weight[source], old.bias[source]
    return new.to(old.weight.device, old.weight.dtype)


def _some(characters: list[str]) -> str:
    shown = " ".join(repr(c) for c in characters[:12])
    return shown + (f" and {len(characters) - 12} more" if len(characters) > 12 else "")
