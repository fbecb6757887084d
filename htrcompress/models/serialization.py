"""Model files: weights as safetensors, and in the file's metadata the card from which the network is rebuilt.

Teacher, student and control are the same kind of file. One that keeps the attention decoder that it was trained with
holds its weights as well. Loading a file never runs code from it.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from htrcompress import models
from htrcompress.card import CARD_KEY, Card
from htrcompress.errors import HtrError
from htrcompress.models.attention import AttentionDecoder, AttentionSizes
from htrcompress.models.base import LineRecognizer
from htrcompress.utils.io import write_atomic

TYPES = ("F32", "F16", "BF16")
"""Types of weights that a file may hold, by their names in safetensors."""
EXPORTED = (".onnx", ".engine")
"""Suffixes of files that are made from a model and cannot be trained."""
DECODER = "attention_decoder."
"""How the names of the attention decoder's weights begin."""


def save_model(path: Path, model: LineRecognizer, card: Card, decoder: AttentionDecoder | None = None) -> None:
    """Writes the model's weights and its card to one `.safetensors` file, whole or not at all.

    Args:
        path: the file.
        model: the network.
        card: its card; the sizes of network and decoder are filled in.
        decoder: the attention decoder that the file keeps, if any.

    Raises:
        HtrError: a weight is not a finite number, or the file cannot be written.
    """
    sizes = asdict(decoder.sizes) if decoder else {}
    card = replace(card, architecture=models.architecture(model), attention=sizes)
    named = {**model.state_dict(), **(decoder.state_dict(prefix=DECODER) if decoder else {})}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    odd = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
    if odd:
        raise HtrError(f"{path} is not written: {odd} holds numbers that are not finite; train with a lower --train.lr")
    write_atomic(path, save(tensors, metadata={CARD_KEY: card.to_json()}))


def copy_with_card(path: Path, out: Path, card: Card) -> None:
    """Writes a model's file with another card, its weights as they are; both may be the same file.

    Raises:
        HtrError: the file is damaged or cannot be written.
    """
    load_card(path)  # which refuses what is no model's file
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = {**header["__metadata__"], CARD_KEY: card.to_json()}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # weights begin at a multiple of eight bytes
    write_atomic(out, len(text).to_bytes(8, "little") + text + data[end:])


def load_card(path: Path) -> Card:
    """The card of a `.safetensors` file, without its weights."""
    with _open(path) as file:
        return Card.from_json((file.metadata() or {}).get(CARD_KEY), str(path))


def load_model(path: Path) -> tuple[LineRecognizer, Card]:
    """Rebuilds a model, in FP32 and in evaluation mode, from its file alone.

    Raises:
        HtrError: the file is missing, damaged, of another kind, or its weights do not fit its card.
    """
    model, _, card = load_with_decoder(path)
    return model, card


def load_with_decoder(path: Path) -> tuple[LineRecognizer, AttentionDecoder | None, Card]:
    """Like `load_model`, with the attention decoder in between; None if the file keeps none."""
    with _open(path) as file:
        card = Card.from_json((file.metadata() or {}).get(CARD_KEY), str(path))
        model, decoder = _build(card, path)
        parts: dict[str, nn.Module] = {"": model, **({DECODER: decoder} if decoder else {})}
        named = {prefix + name: w for prefix, part in parts.items() for name, w in part.state_dict().items()}
        expected = {name: list(tensor.shape) for name, tensor in named.items()}
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        if expected != found:
            odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise HtrError(f"the weights in {path} do not fit its card, first at {odd[0]}")
        odd = [name for name in found if file.get_slice(name).get_dtype() not in TYPES]
        if odd:
            raise HtrError(
                f"{path} is damaged: its weights are not floating-point numbers of 16 or 32 bits, first at {odd[0]}"
            )
        weights = {name: file.get_tensor(name).float() for name in found}
    if not all(torch.isfinite(w).all() for w in weights.values()):
        raise HtrError(f"{path} is damaged: it holds weights that are not finite numbers")
    for prefix, part in parts.items():
        part.load_state_dict({name: weights[prefix + name] for name in part.state_dict()}, assign=True)
        part.eval()
    return model, decoder, card


def require_decoder(decoder: AttentionDecoder | None, path: Path) -> AttentionDecoder:
    """The attention decoder of a file.

    Raises:
        HtrError: it keeps none.
    """
    if decoder is None:
        raise HtrError(f"{path} keeps no attention decoder: train with --aux.attention and --aux.decoder.keep true")
    return decoder


def _build(card: Card, path: Path) -> tuple[LineRecognizer, AttentionDecoder | None]:
    """The networks that a card describes; nothing is allocated before the file proves that it holds the weights.

    Raises:
        HtrError: the card contradicts itself.
    """
    classes, decoder = card.characters().classes, None
    try:
        with torch.device("meta"):
            model = models.build(card.architecture, classes)
            if card.attention:
                decoder = AttentionDecoder(AttentionSizes(**card.attention), model.layer_dims[-1], classes)
    except (HtrError, TypeError, ValueError) as error:
        raise HtrError(f"the card of {path} is damaged: {error}") from None
    if (card.height, card.stride) != (model.config.height, model.stride):
        raise HtrError(f"the card of {path} contradicts itself: height or stride is not that of its architecture")
    return model, decoder


def _open(path: Path) -> safe_open:
    if not path.is_file():
        raise HtrError(f"there is no model at {path}")
    if path.suffix in EXPORTED:
        raise HtrError(
            f"{path} is an exported form of a model, whose weights cannot be trained any more: give the .safetensors "
            "file that it was made from, which is in the run folder, or in `models/` of the project for one that ships"
        )
    if path.suffix != ".safetensors":
        raise HtrError(f"{path} is not a .safetensors file; files with Python code inside (pickle) are never read")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise HtrError(f"{path} is damaged or not a safetensors file: {error}") from None
