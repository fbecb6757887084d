"""Transfer of a trained network to another charset, for fine-tuning and for teachers that know other characters.

Only the output layers know characters (`LineRecognizer.output_layers`). Their rows of characters that both charsets
have are copied, in the order of the new charset; all other layers stay as they are.
"""

import torch
from torch import nn

from htrcompress.charset import BLANK, Charset
from htrcompress.config import CharsetPolicy
from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer

NEVER = -30_000.0
"""Bias of a character that a network must not emit; finite in FP16, and exp() of it is zero."""


def choose_charset(model: Charset, data: Charset, choice: CharsetPolicy | None) -> Charset:
    """The charset of a trained model that is trained further.

    Args:
        model: its charset now.
        data: the characters of the new training lines.
        choice: keep the model's charset, take the union of both, or replace it by that of the data; None is the union
            where the model lacks characters of the data.
    """
    missing = [c for c in data.characters if c not in model.characters]
    if choice == "replace":
        return data
    if choice == "union" or (choice is None and missing):
        return Charset(tuple(sorted({*model.characters, *data.characters})), data.direction)
    return model


def common_charset(teacher: Charset, data: Charset) -> Charset:
    """The charset of a student whose teacher and training lines know different characters: the larger one.

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


def set_charset(model: LineRecognizer, before: Charset, after: Charset, trainable: bool) -> None:
    """Replaces the output layers of a network, in place, so that it has one output for each label of another charset.

    Args:
        model: the network.
        before: the charset of its outputs now.
        after: the new charset.
        trainable: whether characters that are new to the network start as unlikely ones that it can learn; otherwise
            it never emits them.
    """
    if before == after:
        return
    pairs = [(BLANK, BLANK)]
    known = {c: label for label, c in enumerate(before.characters, 1)}
    pairs += [(label, known[c]) for label, c in enumerate(after.characters, 1) if c in known]
    for name, layer in model.output_layers().items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, _relabelled(layer, after.classes, pairs, trainable))


def _relabelled(
    old: nn.Linear | nn.Conv1d, classes: int, pairs: list[tuple[int, int]], trainable: bool
) -> nn.Linear | nn.Conv1d:
    """A layer with other classes; `pairs` are the rows (new, old) that are copied."""
    new: nn.Linear | nn.Conv1d
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, classes)
    else:
        new = nn.Conv1d(old.in_channels, classes, old.kernel_size[0], padding=old.padding[0])
    assert old.bias is not None and new.bias is not None
    with torch.no_grad():
        if trainable:
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
