"""The objective of a training run, put together from its options: for `train.py` and `distill.py`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from htrcompress import models
from htrcompress.charset import Charset
from htrcompress.config import NONE, AuxConfig, DistillConfig, LlmConfig
from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer
from htrcompress.training.losses import Distillation, IntermediateCtc, Objective
from htrcompress.training.optim import precision

if TYPE_CHECKING:
    from htrcompress.training.language_model.loss import FrozenLanguageModel, LanguageModelLoss


def objective(
    network: LineRecognizer,
    aux: AuxConfig,
    teacher: LineRecognizer | None = None,
    distill: DistillConfig = DistillConfig(),
    language: "LanguageModelLoss | None" = None,
) -> Objective:
    """CTC with all that the options add to it.

    Args:
        network: what is trained.
        aux: CTC at other places.
        teacher: whom it follows, as `distill` says.
        distill: how.
        language: the lesson of a language model, from `language`.

    Raises:
        HtrError: --aux.layers or --aux.shortcut asks for what the network does not have.
    """
    if aux.shortcut != AuxConfig.shortcut and not network.has_shortcut:
        raise HtrError("--aux.shortcut is for a hybrid, and this network has no shortcut: leave it out")
    dims = network.layer_dims
    lessons: dict[str, nn.Module] = {}
    if teacher is not None:
        lessons["distill"] = Distillation(teacher, dims[-1], distill)
    if aux.intermediate:
        layers = models.resolve_layers(network, aux.layers)
        lessons["intermediate"] = IntermediateCtc(dims, layers, network.classes, aux.intermediate)
    if language is not None:
        lessons["language"] = language
    return Objective(network, aux.shortcut, **lessons)


def frozen(llm: str, lm: LlmConfig, arithmetic: str, texts: Sequence[str]) -> "FrozenLanguageModel | None":
    """The language model that goes by a name, or None for `none`.

    Args:
        llm: its name, folder or file.
        lm: how it helps.
        arithmetic: `--train.precision`.
        texts: all that it will have to read, so that too long a one is told before training.

    Raises:
        HtrError: the language model cannot be had, a text is longer than what it reads, or there is no such arithmetic.
    """
    name = precision(arithmetic)
    if llm == NONE:
        return None
    from htrcompress.training.language_model.loss import FrozenLanguageModel

    model = FrozenLanguageModel.load(llm, lm, name)
    model.check_context_length(texts, lm.queries)
    return model


def language(
    network: LineRecognizer, aux: AuxConfig, frozen: "FrozenLanguageModel | None", lm: LlmConfig, charset: Charset
) -> "LanguageModelLoss | None":
    """The lesson of a language model from `frozen` for a network with this charset; None if there is none.

    Raises:
        HtrError: --aux.layers names a layer that the network does not have.
    """
    if frozen is None:
        return None
    from htrcompress.training.language_model.loss import LanguageModelLoss

    layers = models.resolve_layers(network, aux.layers)
    return LanguageModelLoss(frozen, network.layer_dims, layers, charset, lm)


def notes(aux: AuxConfig, llm: str = NONE, lm: LlmConfig = LlmConfig()) -> dict[str, Any]:
    """What a card says of these options; nothing of those that were left alone."""
    found: dict[str, Any] = {}
    if aux != AuxConfig():
        found["aux"] = {**asdict(aux), "layers": list(aux.layers)}
    if llm != NONE:
        found["llm"] = {"name": Path(llm).name if Path(llm).exists() else llm, **asdict(lm)}
    return found


def sizes(name: str, network: LineRecognizer) -> str:
    """Parameters of a network and of each of its parts, for people."""
    parts = network.part_sizes()
    return f"{name}: {sum(parts.values()):,} parameters ({', '.join(f'{part} {n:,}' for part, n in parts.items())})"
