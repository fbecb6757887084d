"""The card that every model file carries: all that is needed to use the model, and where it comes from.

A card is stored as one line of JSON in the metadata of the file. What a program needs to run an exported model stands
beside it once more as flat keys, `htrcompress.height` and so on, which any language reads without a JSON parser.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, get_origin

from htrcompress.bidi import Direction
from htrcompress.charset import Charset
from htrcompress.errors import HtrError

CARD_KEY = "htrcompress"
"""The key of the card's JSON in a model file's metadata, in safetensors and ONNX alike."""
FORMAT = 1
"""Version of the card's layout."""
MAX_SIZE = 1 << 20
"""No size on a card may exceed this, nor the number of its characters."""
MAX_BYTES = 16 << 20
"""No card's text may be longer than this."""


@dataclass(frozen=True)
class Card:
    """What a model file states about its model; stored as JSON.

    What must not leave the machine or cannot be written is replaced in every entry that people fill: an absolute path
    by its last part, a control character or half of a surrogate pair by its number (U+0007), and a number that is not
    finite by None.

    Attributes:
        name: the model's name in tables, such as `student`.
        architecture: family and sizes of the network (`models.architecture`).
        charset: the characters in label order; label 0 is the blank.
        height: height of the lines that the model reads, in pixels.
        stride: pixels for each frame.
        max_width: the widest line that the model reads, in pixels at `height`.
        data: the training data: name, and lines and hash of each split.
        metrics: split name to figures measured on it.
        training: how the model was trained: steps, lines, seconds, seed, teacher, options.
        versions: packages that made the model.
        licence: SPDX name for the weights, with the attributions that the data asks for.
        direction: of the lines that it reads, `ltr` or `rtl`; cards from before it was noted are of `ltr` models.
        calibration: what makes probabilities of its confidences (`decoding.confidence.Calibration`); empty until
            `htrcompress.calibrate` has fitted it.
        attention: sizes of the attention decoder that the file keeps (`models.attention.AttentionSizes`); empty if
            it keeps none.
    """

    name: str
    architecture: dict[str, Any]
    charset: tuple[str, ...]
    height: int
    stride: int
    max_width: int
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    direction: Direction = "ltr"
    calibration: str = ""
    attention: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("name", "data", "metrics", "training", "versions", "licence"):
            object.__setattr__(self, name, _portable(getattr(self, name)))

    def to_json(self) -> str:
        """The card as one line of JSON, non-ASCII characters as they are."""
        values = {CARD_KEY: FORMAT, **asdict(self)}
        for name in ("calibration", "attention"):  # as earlier versions read it
            if not values[name]:
                del values[name]
        return json.dumps(values, ensure_ascii=False, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Card":
        """Reads a card.

        Raises:
            HtrError: there is none, it is of another version, or it contradicts itself.
        """
        try:
            if len(text or "") > MAX_BYTES:
                raise ValueError
            values = json.loads(
                text or "", object_pairs_hook=_without_repeats, parse_constant=_finite, parse_float=_finite
            )
            version = values.pop(CARD_KEY)
            unprintable = _first_unprintable(values)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise HtrError(f"{where} carries no htrcompress card: it was not written by this package") from None
        if version != FORMAT:
            raise HtrError(f"{where} has a card of another version than {FORMAT}, the one that this htrcompress reads")
        if unprintable is not None:
            raise HtrError(f"the card of {where} is damaged: {unprintable!a} holds a control character")
        values.setdefault("direction", "ltr")
        values.setdefault("calibration", "")
        values.setdefault("attention", {})
        kinds = {f.name: get_origin(f.type) or f.type for f in fields(cls)} | {"charset": list, "direction": str}
        if set(values) != set(kinds):
            odd = ", ".join(sorted(set(values) ^ set(kinds)))
            raise HtrError(f"the card of {where} has missing or unknown entries: {odd[:200]}")
        wrong = [name for name, kind in kinds.items() if type(values[name]) is not kind]
        wrong = wrong or [name for name in ("height", "stride", "max_width") if not 0 < values[name] <= MAX_SIZE]
        if wrong:
            raise HtrError(f"the card of {where} is damaged: {', '.join(wrong)} cannot be right")
        if len(values["charset"]) > MAX_SIZE or not all(isinstance(c, str) for c in values["charset"]):
            raise HtrError(f"the card of {where} is damaged: its charset is not a list of characters")
        card = cls(**{**values, "charset": tuple(values["charset"])})
        try:
            card.characters()
        except HtrError as error:
            raise HtrError(f"the card of {where} is damaged: {error}") from None
        return card

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> "Card":
        """The card in the metadata of an exported model.

        Raises:
            HtrError: see `from_json`; or the flat keys beside the card are missing or contradict it.
        """
        card = cls.from_json(metadata.get(CARD_KEY), where)
        odd = next((key for key, value in card.flat().items() if metadata.get(key) != value), None)
        if odd is not None:
            raise HtrError(f"{where} contradicts itself: {odd} is not what its card says; export the model again")
        return card

    def to_metadata(self) -> dict[str, str]:
        """The metadata that `from_metadata` reads: the card's JSON, and the flat keys."""
        return {CARD_KEY: self.to_json(), **self.flat()}

    def flat(self) -> dict[str, str]:
        """What a program needs to run an exported model, as flat keys: no value holds a control character.

        The charset is one string of all characters in label order, each of which is a single code point.
        """
        entries = {
            "format": str(FORMAT),
            "height": str(self.height),
            "stride": str(self.stride),
            "max_width": str(self.max_width),
            "charset": "".join(self.charset),
            "digest": self.digest(),
        }
        if self.direction != "ltr":
            entries["direction"] = self.direction
        if self.calibration:
            entries["calibration"] = self.calibration
        return {f"{CARD_KEY}.{name}": value for name, value in entries.items()}

    def digest(self) -> str:
        """SHA-256 of what a reader relies on: the network, its characters and the sizes of lines."""
        entries: tuple[object, ...] = (self.architecture, self.charset, self.height, self.stride, self.max_width)
        if self.direction != "ltr":
            entries += (self.direction,)
        return hashlib.sha256(json.dumps(entries, sort_keys=True, allow_nan=False).encode()).hexdigest()

    def without_attention(self) -> "Card":
        """The card of a file of the same model that does not hold its attention decoder."""
        return replace(self, attention={})

    def is_of(self, other: "Card") -> bool:
        """Whether both are of the same model, whichever of them holds its attention decoder or is calibrated."""
        ones, others = (replace(card, attention={}, calibration="") for card in (self, other))
        return ones == others

    def characters(self) -> Charset:
        """The charset as an object."""
        return Charset(self.charset, self.direction)


def is_printable(text: str) -> bool:
    """Whether a text can be printed and stored as UTF-8: no control characters, no halves of surrogate pairs."""
    return text.isprintable() or all(unicodedata.category(c) not in ("Cc", "Cs") for c in text)


def printable(text: str) -> str:
    """The text with each character that is not printable written as its number, such as U+0007."""
    return text if is_printable(text) else "".join(c if is_printable(c) else f"U+{ord(c):04X}" for c in text)


def _portable(value: Any) -> Any:
    """A card's entry as it may be written; see `Card`."""
    if isinstance(value, Mapping):
        return {_portable(str(key)): _portable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return value
    # a dataset may be several folders with commas between
    return printable(",".join(map(_without_folder, value.split(","))))


def _without_folder(path: str) -> str:
    """The last part of an absolute path; any other text as it is."""
    if path.lstrip().startswith(("/", "~/")):
        return PurePosixPath(path).name or path
    if re.match(r"\s*([A-Za-z]:[\\/]|\\\\)", path):
        return PureWindowsPath(path).name or path
    return path


def _first_unprintable(value: Any) -> str | None:
    """The first text among the entries of a card, their names included, that is not printable (`is_printable`)."""
    if isinstance(value, str):
        return None if is_printable(value) else value[:50]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    found = (_first_unprintable(entry) for entry in value) if isinstance(value, list) else iter(())
    return next((text for text in found if text is not None), None)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError
    return entries


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):  # NaN, or 1e999, neither of which could be written again
        raise ValueError
    return value
