"""Text to labels and back. Label 0 is the CTC blank; character `i` of the charset is label `i + 1`."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from htrcompress.errors import HtrError

BLANK = 0


def clean_text(text: str) -> str:
    """NFC, with every run of white space made one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True)
class Charset:
    """The characters that a model can emit, in label order.

    Attributes:
        characters: distinct single NFC code points, none of them a control character.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.characters:
            raise HtrError("the charset is empty: the training lines hold no text")
        odd = [c for c in self.characters if len(c) != 1 or unicodedata.normalize("NFC", c) != c]
        # Lone surrogates: no file takes them. Control characters: a terminal would obey them, a label file break.
        odd += [c for c in self.characters if unicodedata.category(c[:1] or " ") in ("Cs", "Cc")]
        if odd or len(set(self.characters)) != len(self.characters):
            raise HtrError(f"a charset holds distinct printable NFC characters; this one has {odd or 'repeats'}")
        object.__setattr__(self, "_labels", {c: i + 1 for i, c in enumerate(self.characters)})

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Charset":
        """The sorted NFC characters of some texts."""
        return cls(tuple(sorted({c for text in texts for c in unicodedata.normalize("NFC", text)})))

    @property
    def classes(self) -> int:
        """Number of model outputs: the characters and the blank."""
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """Labels of a text; characters outside the charset are left out (see `unknown`)."""
        labels: dict[str, int] = self._labels  # type: ignore[attr-defined]
        return [labels[c] for c in unicodedata.normalize("NFC", text) if c in labels]

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that the charset lacks, in order, with repeats."""
        labels: dict[str, int] = self._labels  # type: ignore[attr-defined]
        return [c for c in unicodedata.normalize("NFC", text) if c not in labels]

    def decode(self, labels: Sequence[int]) -> str:
        """The text of decoded labels; negative ones (padding) are skipped.

        Raises:
            HtrError: a label is larger than the charset, so model and charset do not belong together.
        """
        if any(label > len(self.characters) for label in labels):
            raise HtrError(f"label {max(labels)} is outside a charset of {len(self.characters)} characters")
        return "".join(self.characters[label - 1] for label in labels if label > 0)
