"""`load`: from a model's file or name to a recogniser, with the decoder and the language model that are asked for."""

import os
from dataclasses import replace
from typing import get_args

from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import locate
from htrcompress.decoding.attention import AttentionOptions
from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.decoding.registry import BEAM, GREEDY, OVER_ATTENTION, DecoderOptions, check_decoder, make_decoder
from htrcompress.errors import HtrError
from htrcompress.runtime.attention import open_attention
from htrcompress.runtime.backend import Device, NoLogits, Open, open_backend
from htrcompress.runtime.recognizer import Recognizer, check_count

MAX_THREADS = 256


def load(
    path: str | os.PathLike[str] = DEFAULT,
    threads: int | None = None,
    device: str | None = None,
    decoder: str | None = None,
    lm: LanguageOptions | str | os.PathLike[str] | None = None,
    beam: BeamOptions = BeamOptions(),
    attention: AttentionOptions = AttentionOptions(),
) -> Recognizer:
    """Opens a model file for reading lines.

    Args:
        path: a `.safetensors` model (needs torch), an exported `.onnx` (onnxruntime) or `.engine` (TensorRT, a GPU); or
            the name of a model (`htrcompress models`), as `catalogue.find` takes it; the one that ships by default.
        threads: CPU threads; by default one for each core that the process may use.
        device: one of `Device`, and no other is used instead; by default `cuda` where it works, else `cpu`.
        decoder: one of `decoding.registry.DECODERS`; by default `beam` with something in `lm`, else `greedy`. All but
            `greedy` need the network's logits; `attention` and `joint` the attention decoder that a file may keep.
        lm: a character language model for the other decoders than `greedy`: a file (`python -m htrcompress.lm`), a
            name (`htrcompress models`), or `LanguageOptions` with its weight as well.
        beam: how the beam search decodes.
        attention: how the attention decoder reads.

    Raises:
        HtrError: the file is missing, damaged or of a kind that is not read, its runtime is not installed, the device
            or the decoder is not there, or the file gives no logits for the decoder or keeps no attention decoder.
    """
    if threads is not None:
        check_count("number of threads", threads, MAX_THREADS)
    if device not in (None, *get_args(Device)):
        raise HtrError(f"no device is called '{device}': choose {', '.join(get_args(Device))}")
    if not isinstance(lm, LanguageOptions):
        lm = LanguageOptions(None if lm is None else os.fspath(lm))
    options = DecoderOptions(lm, beam, attention)
    if decoder is None:
        decoder = GREEDY if lm == LanguageOptions() else BEAM
    check_decoder(decoder, options)
    file, attends = locate(path), decoder in OVER_ATTENTION
    try:
        backend = open_backend(file, Open(threads, device, logits=decoder != GREEDY, memory=attends))
    except NoLogits as error:
        raise HtrError(f"the decoder '{decoder}' needs logits: {error}") from None
    if attends:
        options = replace(options, model=open_attention(file, backend.card, Open(threads, backend.device)))
    return Recognizer(backend, None if decoder == GREEDY else make_decoder(decoder, backend.card, options), threads)
