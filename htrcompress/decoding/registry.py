"""The table of decoders, and how one is made for a model: `--decoder beam --lm letters.ngram`."""

from collections.abc import Callable
from dataclasses import dataclass

from htrcompress.card import Card
from htrcompress.decoding.base import Decoder, GreedyDecoder
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.errors import HtrError

GREEDY, BEAM = "greedy", "beam"


@dataclass(frozen=True)
class DecoderOptions:
    """What a decoder is made from, besides the model's card.

    Attributes:
        lm: what is known about the language, for decoders that use it.
        beam: see `BeamOptions`.
    """

    lm: LanguageOptions = LanguageOptions()
    beam: BeamOptions = BeamOptions()


def _greedy(card: Card, options: DecoderOptions) -> Decoder:
    return GreedyDecoder(card)


def _beam(card: Card, options: DecoderOptions) -> Decoder:
    decoder = BeamDecoder(card, open_language(options.lm, card.characters()), options.beam)
    decoder.report_unknown()
    return decoder


DECODERS: dict[str, Callable[[Card, DecoderOptions], Decoder]] = {GREEDY: _greedy, BEAM: _beam}
"""Name on the command line to what makes the decoder of a model."""


def check_decoder(name: str, options: DecoderOptions = DecoderOptions()) -> None:
    """Raises HtrError if there is no decoder of that name, or if it takes no options and some are given."""
    if name not in DECODERS:
        raise HtrError(f"no decoder is called '{name}': choose {', '.join(DECODERS)}")
    if name == GREEDY and options != DecoderOptions():
        raise HtrError("--lm, --lm.* and --beam.* are for another decoder than greedy: choose --decoder beam")


def make_decoder(name: str, card: Card, options: DecoderOptions = DecoderOptions()) -> Decoder:
    """The decoder of that name for a model.

    Raises:
        HtrError: there is no such decoder, or its language model cannot be read.
    """
    check_decoder(name, options)
    return DECODERS[name](card, options)
