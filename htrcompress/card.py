"""The card that travels inside every model file: all that is needed to use it, and where it comes from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_origin

from htrcompress.charset import Charset
from htrcompress.errors import HtrError

CARD_KEY = "htrcompress"
"""Where the card stands in a model file's metadata, safetensors and ONNX alike."""
DIGEST_KEY = "htrcompress.reads"
"""Where an exported graph says which card it was made for."""
FORMAT = 1
"""Version of the card's layout."""
LARGEST = 1 << 20
"""No size on a card may exceed this."""


@dataclass(frozen=True)
class Card:
    """What a model file says of itself; stored as JSON.

    Attributes:
        name: what to call the model in tables, such as `student`.
        architecture: family and sizes of the network (`models.architecture`).
        charset: the characters in label order; label 0 is the blank.
        height: height of the lines it reads, in pixels.
        stride: pixels a frame.
        max_width: the widest line it reads, in pixels at `height`.
        data: what it was trained on: name, and lines and hash of each split.
        metrics: split name to figures measured on it.
        training: how it was trained: steps, lines, seconds, seed, teacher, options.
        versions: packages that made it.
        licence: SPDX name for the weights, with the attributions that the data asks for.
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

    def to_json(self) -> str:
        """The card as one line of JSON, non-ASCII characters as they are."""
        return json.dumps({"htrcompress": FORMAT, **asdict(self)}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Card":
        """Reads a card.

        Raises:
            HtrError: there is none, it is of another version, or it contradicts itself.
        """
        try:
            values = json.loads(text or "")
            version = values.pop("htrcompress")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise HtrError(f"{where} carries no htrcompress card: it was not written by this package") from None
        if version != FORMAT:
            raise HtrError(f"{where} has a card of version {version}; this htrcompress reads version {FORMAT}")
        kinds = {f.name: get_origin(f.type) or f.type for f in fields(cls)} | {"charset": list}
        if set(values) != set(kinds):
            odd = ", ".join(sorted(set(values) ^ set(kinds)))
            raise HtrError(f"the card of {where} has missing or unknown entries: {odd}")
        wrong = [name for name, kind in kinds.items() if type(values[name]) is not kind]
        wrong = wrong or [name for name in ("height", "stride", "max_width") if not 0 < values[name] <= LARGEST]
        if wrong:
            raise HtrError(f"the card of {where} is damaged: {', '.join(wrong)} cannot be right")
        if not all(isinstance(c, str) for c in values["charset"]):
            raise HtrError(f"the card of {where} is damaged: its charset is not a list of characters")
        card = cls(**{**values, "charset": tuple(values["charset"])})
        try:
            card.characters()
        except HtrError as error:
            raise HtrError(f"the card of {where} is damaged: {error}") from None
        return card

    @classmethod
    def of_graph(cls, metadata: Mapping[str, str], where: str) -> "Card":
        """The card in a graph's metadata.

        Raises:
            HtrError: see `from_json`; or it is not the card that the graph was exported with.
        """
        card = cls.from_json(metadata.get(CARD_KEY), where)
        if metadata.get(DIGEST_KEY) != card.digest():
            raise HtrError(f"the card of {where} is not the one that its graph was exported with: export it again")
        return card

    def to_metadata(self) -> dict[str, str]:
        """What `of_graph` reads."""
        return {CARD_KEY: self.to_json(), DIGEST_KEY: self.digest()}

    def digest(self) -> str:
        """Identity of what a reader relies on: the network, its characters and the sizes of lines."""
        entries = (self.architecture, self.charset, self.height, self.stride, self.max_width)
        return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()

    def characters(self) -> Charset:
        """The charset as an object."""
        return Charset(self.charset)
