"""The table of decoders, and how one is made for a model: `--decoder beam --lm letters.ngram`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from htrcompress.card import Card
from htrcompress.decoding.attention import AttentionDecoder, AttentionModel, AttentionOptions
from htrcompress.decoding.base import Decoder, GreedyDecoder
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language, report_unknown
from htrcompress.errors import HtrError

GREEDY, BEAM, ATTENTION, JOINT = "greedy", "beam", "attention", "joint"
OVER_ATTENTION = (ATTENTION, JOINT)
"""Decoders that read with the attention decoder that the model's file keeps."""


@dataclass(frozen=True)
class DecoderOptions:
    """What a decoder is made from, besides the model's card.

    Attributes:
        lm: what is known about the language, for decoders that use it.
        beam: see `BeamOptions`.
        attention: see `AttentionOptions`.
        model: the network of the attention decoder, for those of `OVER_ATTENTION`.
    """

    lm: LanguageOptions = LanguageOptions()
    beam: BeamOptions = BeamOptions()
    attention: AttentionOptions = AttentionOptions()
    model: AttentionModel | None = None


def _greedy(card: Card, options: DecoderOptions) -> Decoder:
    return GreedyDecoder(card)


def _beam(card: Card, options: DecoderOptions) -> Decoder:
    decoder = BeamDecoder(card, open_language(options.lm, card.characters()), options.beam)
    decoder.report_unknown()
    return decoder


def _attention(card: Card, options: DecoderOptions) -> Decoder:
    return _joint(card, replace(options, attention=replace(options.attention, ctc=0.0)))


def _joint(card: Card, options: DecoderOptions) -> Decoder:
    if options.model is None:
        raise HtrError(f"{card.name} was opened without its attention decoder")
    language = open_language(options.lm, card.characters())
    report_unknown(card, language)
    return AttentionDecoder(card, options.model, language, options.attention.width, options.attention.ctc)


DECODERS: dict[str, Callable[[Card, DecoderOptions], Decoder]] = {
    GREEDY: _greedy,
    BEAM: _beam,
    ATTENTION: _attention,
    JOINT: _joint,
}
"""Name on the command line to what makes the decoder of a model."""


def check_decoder(name: str, options: DecoderOptions = DecoderOptions()) -> None:
    """Raises HtrError if there is no decoder of that name, or if it does not take options that are given."""
    if name not in DECODERS:
        raise HtrError(f"no decoder is called '{name}': choose {', '.join(DECODERS)}")
    if name == GREEDY and options.lm != LanguageOptions():
        raise HtrError("--lm and --lm.* are for another decoder than greedy: choose --decoder beam")
    if name in (GREEDY, *OVER_ATTENTION) and options.beam != BeamOptions():
        raise HtrError("--beam.* is for the beam search over CTC alone: choose --decoder beam")
    if name in (GREEDY, BEAM) and options.attention != AttentionOptions():
        raise HtrError("--attention.* is for another decoder: choose --decoder joint or attention")
    if name == ATTENTION and options.attention.ctc != AttentionOptions.ctc:
        raise HtrError("--attention.ctc is the weight of CTC beside attention: choose --decoder joint")


def make_decoder(name: str, card: Card, options: DecoderOptions = DecoderOptions()) -> Decoder:
    """The decoder of that name for a model.

    Raises:
        HtrError: there is no such decoder, or its language model cannot be read.
    """
    check_decoder(name, options)
    return DECODERS[name](card, options)
