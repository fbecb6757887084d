"""Text to labels and back. Label 0 is the CTC blank; character `i` of the charset is label `i + 1`."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from htrcompress.bidi import Direction, direction_of, has_right_to_left, logical_order, visual_order
from htrcompress.errors import HtrError

BLANK = 0


def clean_text(text: str) -> str:
    """NFC, with every run of white space made one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True)
class Charset:
    """The characters that a model can emit, in label order, and the direction of its lines.

    Labels stand as on the page, from left to right; texts are in the order of reading (`bidi`).

    Attributes:
        characters: distinct single NFC code points, none of them a control character.
        direction: of the lines as a whole.
    """

    characters: tuple[str, ...]
    direction: Direction = "ltr"
    _labels: dict[str, int] = field(init=False, repr=False, compare=False)
    _reorders: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.characters:
            raise HtrError("the charset is empty: the training lines hold no text")
        wrong = [c for c in self.characters if len(c) != 1 or unicodedata.normalize("NFC", c) != c]
        # Lone surrogates cannot be encoded; control characters would drive a terminal and break files of labels.
        wrong += [c for c in self.characters if unicodedata.category(c[:1] or " ") in ("Cs", "Cc")]
        if wrong or len(set(self.characters)) != len(self.characters):
            raise HtrError(f"a charset holds distinct printable NFC characters; this one has {wrong or 'repeats'}")
        if self.direction not in ("ltr", "rtl"):
            raise HtrError(f"the direction of a charset is ltr or rtl, not {self.direction!r}")
        object.__setattr__(self, "_labels", {c: i + 1 for i, c in enumerate(self.characters)})
        reorders = self.direction == "rtl" or has_right_to_left("".join(self.characters))
        object.__setattr__(self, "_reorders", reorders)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Charset":
        """The sorted NFC characters of some texts, and their direction.

        Raises:
            HtrError: there is no text, or one is in a script that is written from top to bottom.
        """
        texts = [unicodedata.normalize("NFC", text) for text in texts]
        direction = direction_of(texts)
        on_page = (visual_order(t, direction) if direction == "rtl" or has_right_to_left(t) else t for t in texts)
        return cls(tuple(sorted({c for text in on_page for c in text})), direction)

    @property
    def classes(self) -> int:
        """Number of model outputs: the characters and the blank."""
        return len(self.characters) + 1

    @property
    def reorders(self) -> bool:
        """Whether a text may stand in another order on the page than it is read in."""
        return self._reorders

    def on_page(self, text: str) -> str:
        """A text as it stands on the page, from left to right, in NFC."""
        text = unicodedata.normalize("NFC", text)
        return visual_order(text, self.direction) if self.reorders else text

    def encode(self, text: str) -> list[int]:
        """Labels of a text as it stands on the page; characters outside the charset are left out (see `unknown`)."""
        return [self._labels[c] for c in self.on_page(text) if c in self._labels]

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that the charset lacks, as they stand on the page, with repeats."""
        return [c for c in self.on_page(text) if c not in self._labels]

    def decode(self, labels: Sequence[int]) -> str:
        """The text of decoded labels, in the order of reading; negative ones (padding) are skipped.

        Raises:
            HtrError: a label is larger than the charset, so model and charset do not belong together.
        """
        if any(label > len(self.characters) for label in labels):
            raise HtrError(f"label {max(labels)} is outside a charset of {len(self.characters)} characters")
        text = "".join(self.characters[label - 1] for label in labels if label > 0)
        return logical_order(text, self.direction) if self.reorders else text

    def changed_order(self, texts: Iterable[str]) -> int:
        """How many texts of mixed direction do not come back as they were from the order of the page."""
        if not self.reorders:
            return 0
        return sum(logical_order(self.on_page(text), self.direction) != text for text in texts)
