"""The classes of another maker's recogniser: which is the blank, which symbol stands for the space, and which is none.

Lists of classes are written for programs: `<ctc>` or `<pad>` for the blank, `<space>` or `|` for the space, `<unk>`.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from htrcompress.bidi import Direction
from htrcompress.charset import Charset
from htrcompress.errors import HtrError

Blank = Literal["first", "last"] | int | str
"""The place of the blank, counted from 0, or from behind if negative; or its symbol."""
SPACES = ("<space>", "<SPACE>", "<sp>", "\N{LOWER ONE EIGHTH BLOCK}", "\N{OPEN BOX}", "|")
"""How the space is written; the first that is there stands for it where there is no space itself."""
NO_TEXT = ("<unk>", "<UNK>", "[UNK]", "<s>", "</s>", "<pad>", "[PAD]")
"""Classes that stand for no character: nothing is read where they are probable, as with the blank."""


@dataclass(frozen=True)
class Classes:
    """The columns of a matrix.

    Attributes:
        charset: the characters.
        columns: of the characters, in the order of the charset.
        silent: of the blank and of what stands for no character.
    """

    charset: Charset
    columns: tuple[int, ...]
    silent: tuple[int, ...]

    @property
    def count(self) -> int:
        """Columns in all."""
        return len(self.columns) + len(self.silent)


def classes_of(symbols: Sequence[str], blank: Blank, direction: Direction) -> Classes:
    """Says what the columns of a matrix are.

    Args:
        symbols: of the classes in their order, with the blank's among them if it is named by it, else without.
        blank: see `Blank`.
        direction: of the lines.

    Raises:
        HtrError: there is no such blank, or a symbol stands twice or is not a single character.
    """
    named = [unicodedata.normalize("NFC", str(symbol)) for symbol in symbols]
    place, named = _blank(named, blank)
    space = next((one for one in SPACES if one in named), None) if " " not in named else None
    kept = {
        column: " " if symbol == space else symbol
        for column, symbol in enumerate(named)
        if column != place and symbol not in NO_TEXT
    }
    long = [symbol for symbol in kept.values() if len(symbol) != 1]
    if long:
        raise HtrError(
            f"the class {long[0]!r} is not a single character: name the blank's symbol with blank=, and write other "
            "classes as the characters that they stand for"
        )
    twice = sorted({symbol for symbol in kept.values() if list(kept.values()).count(symbol) > 1})
    if twice:
        raise HtrError(f"the characters name {' '.join(map(repr, twice))} twice: give one for each class")
    silent = tuple(column for column in range(len(named)) if column not in kept)
    return Classes(Charset(tuple(kept.values()), direction), tuple(kept), silent)


def _blank(named: list[str], blank: Blank) -> tuple[int, list[str]]:
    """The place of the blank, and the symbols of all classes, its own included."""
    if isinstance(blank, str) and blank not in ("first", "last"):
        if named.count(blank) != 1:
            raise HtrError(
                f"blank is {blank!r}, which is not one of the characters: say first, last, its place, or its symbol "
                "if that is among the characters"
            )
        return named.index(blank), named
    count = len(named) + 1
    place = {"first": 0, "last": count - 1}.get(blank) if isinstance(blank, str) else blank
    if not isinstance(place, int) or isinstance(place, bool) or not -count <= place < count:
        raise HtrError(f"blank is {blank!r}: with {count - 1} characters its place is from 0 to {count - 1}")
    place %= count
    return place, [*named[:place], "", *named[place:]]
