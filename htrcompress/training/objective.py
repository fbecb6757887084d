"""The objective of a training: CTC, and the auxiliary losses that the options ask for.

`train`, `distill` and `prune` call `build_objective`. Losses that need more than options, such as a teacher, are made
by the caller and passed in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from htrcompress import models
from htrcompress.charset import Charset
from htrcompress.config import AuxConfig, LlmConfig
from htrcompress.data.batching import Batch
from htrcompress.errors import HtrError
from htrcompress.models.attention import AttentionDecoder, AttentionSizes
from htrcompress.models.base import LineRecognizer
from htrcompress.training.attention import AttentionLoss
from htrcompress.training.losses import AuxiliaryLoss, IntermediateCtc, LossTerm, ModelOutput, StepLines, ctc_loss
from htrcompress.training.optim import precision

if TYPE_CHECKING:
    from htrcompress.training.language_model import FrozenLanguageModel, LanguageModelLoss


class Objective(nn.Module):
    """The network and its losses in one module, so that it can be wrapped for several processes: `batch -> terms`.

    Args:
        model: the network; the only part that becomes a model file.
        losses: auxiliary losses by name; their parameters are part of the state.
        shortcut: weight of CTC at the network's shortcut, if it has one.
    """

    def __init__(
        self, model: LineRecognizer, losses: Mapping[str, AuxiliaryLoss] = {}, shortcut: float = AuxConfig.shortcut
    ):
        super().__init__()
        self.model = model
        self.shortcut = shortcut
        self.losses = nn.ModuleDict(losses)

    def forward(self, batch: Batch, step: StepLines | None = None) -> dict[str, LossTerm]:
        """The terms of a batch, by name; `step` says which lines of an optimiser step these are, if not all."""
        encoding = self.model.encode(batch.pixels, batch.widths)
        logits = self.model.classify(encoding.layers[-1])
        terms = {"ctc": LossTerm(*ctc_loss(logits, encoding.frames, batch), 1.0)}
        shortcut = self.model.shortcut_logits(encoding)
        if shortcut is not None:
            terms["shortcut"] = LossTerm(*ctc_loss(shortcut, encoding.frames, batch), self.shortcut)
        output = ModelOutput(batch, encoding, logits, step or StepLines.of(batch))
        for loss in self.losses.values():
            terms |= loss(output)
        return terms

    def save(self, folder: Path) -> None:
        """Writes what the auxiliary losses keep beside the model."""
        for loss in self._auxiliary().values():
            loss.save(folder)

    def kept_decoder(self) -> AttentionDecoder | None:
        """The attention decoder that becomes a part of the model's file; None if there is none."""
        found = (loss.kept_decoder() for loss in self._auxiliary().values())
        return next((decoder for decoder in found if decoder is not None), None)

    def fingerprint(self) -> dict[str, Any]:
        """What the auxiliary losses hold that is in no checkpoint, by the name of the loss."""
        found = {name: loss.fingerprint() for name, loss in self._auxiliary().items()}
        return {name: value for name, value in found.items() if value}

    def _auxiliary(self) -> dict[str, AuxiliaryLoss]:
        return dict(self.losses.items())  # type: ignore[arg-type]


def _intermediate(network: LineRecognizer, charset: Charset, aux: AuxConfig) -> AuxiliaryLoss | None:
    if not aux.intermediate:
        return None
    layers = models.resolve_layers(network, aux.layers)
    return IntermediateCtc(network.layer_dims, layers, network.classes, aux.intermediate)


def _attention(network: LineRecognizer, charset: Charset, aux: AuxConfig) -> AuxiliaryLoss | None:
    if not aux.attention:
        return None
    given = aux.decoder
    sizes = AttentionSizes(given.layers, given.dim, given.heads, given.dropout)
    decoder = AttentionDecoder(sizes, network.layer_dims[-1], network.classes)
    return AttentionLoss(decoder, aux.attention, given.smoothing, given.keep)


Build = Callable[[LineRecognizer, Charset, AuxConfig], AuxiliaryLoss | None]
AUXILIARY_LOSSES: dict[str, Build] = {"intermediate": _intermediate, "attention": _attention}
"""Losses that options alone decide, by name; a function returns None where its options leave the loss out."""


def build_objective(
    network: LineRecognizer, charset: Charset, aux: AuxConfig = AuxConfig(), **losses: AuxiliaryLoss | None
) -> Objective:
    """CTC with the auxiliary losses that the options ask for.

    Args:
        network: the network that is trained.
        charset: of its labels.
        aux: the options.
        losses: further losses by name, such as that of a teacher; None is left out.

    Raises:
        HtrError: --aux.layers or --aux.shortcut asks for what the network does not have.
    """
    if aux.shortcut != AuxConfig.shortcut and not network.has_shortcut:
        raise HtrError("--aux.shortcut is for a hybrid, and this network has no shortcut: leave it out")
    found = {**losses, **{name: build(network, charset, aux) for name, build in AUXILIARY_LOSSES.items()}}
    return Objective(network, {name: loss for name, loss in found.items() if loss is not None}, aux.shortcut)


LANGUAGE_MODEL_MEMORY = ("--lm.ratio or --lm.queries", "--lm.dtype bf16", "--lm.four_bit", "no --llm")
"""Options that make a training with a language model need less memory."""


def open_language_model(
    llm: str | None, lm: LlmConfig, arithmetic: str, texts: Sequence[str]
) -> "FrozenLanguageModel | None":
    """The language model that --llm names; None without a name.

    Args:
        llm: its name, folder or file.
        lm: how it is used.
        arithmetic: --train.precision.
        texts: all texts that it will read, so that one that is too long is refused before the training.

    Raises:
        HtrError: the language model cannot be loaded, a text is longer than its context, or FP16 lacks a GPU.
    """
    name = precision(arithmetic)
    if llm is None:
        return None
    from htrcompress.training.language_model import FrozenLanguageModel

    model = FrozenLanguageModel.load(llm, lm, name)
    model.check_context_length(texts, lm.queries)
    return model


def language_model_loss(
    network: LineRecognizer,
    charset: Charset,
    aux: AuxConfig,
    language_model: "FrozenLanguageModel | None",
    lm: LlmConfig,
) -> "LanguageModelLoss | None":
    """The loss of a language model that `open_language_model` gave; None without one.

    Raises:
        HtrError: --aux.layers names a layer that the network does not have.
    """
    if language_model is None:
        return None
    from htrcompress.training.language_model import LanguageModelLoss

    layers = models.resolve_layers(network, aux.layers)
    return LanguageModelLoss(language_model, network.layer_dims, layers, charset, lm)


def card_entries(aux: AuxConfig, llm: str | None = None, lm: LlmConfig = LlmConfig()) -> dict[str, Any]:
    """What a card says about these options; nothing about those that have their defaults."""
    found: dict[str, Any] = {}
    if aux != AuxConfig():
        found["aux"] = {**asdict(aux), "layers": list(aux.layers)}
        if not aux.attention:  # as it was before there was one, for runs that are resumed
            del found["aux"]["attention"], found["aux"]["decoder"]
    if llm is not None:
        found["llm"] = {"name": Path(llm).name if Path(llm).exists() else llm, **asdict(lm)}
    return found


def parameter_summary(name: str, network: LineRecognizer) -> str:
    """The number of parameters of a network and of each of its parts, for people."""
    parts = network.part_sizes()
    return f"{name}: {sum(parts.values()):,} parameters ({', '.join(f'{part} {n:,}' for part, n in parts.items())})"
