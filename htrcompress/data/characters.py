"""The characters of lines: which and how many, their charset, and those outside one. Needs no torch."""

from collections import Counter
from collections.abc import Sequence

from htrcompress.bidi import has_right_to_left
from htrcompress.charset import Charset
from htrcompress.data.lines import JoinedLines, Line, NamedLines
from htrcompress.data.packed import PackedLines


def characters_of(lines: Sequence[Line]) -> Counter[str]:
    """The characters of some lines, with counts."""
    stored = _stored_characters(lines)
    return Counter(c for line in lines for c in line.text) if stored is None else stored


def charset_of(lines: Sequence[Line]) -> Charset:
    """The charset of the texts of some lines; see `Charset.of`."""
    characters = sorted(_stored_characters(lines) or ())
    if characters and not has_right_to_left("".join(characters)):  # then their order decides nothing
        return Charset.of(characters)
    return Charset.of(line.text for line in lines)


def unknown_characters(lines: Sequence[Line], charset: Charset) -> dict[str, int]:
    """Characters outside the charset and how often they occur."""
    counts = None if charset.reorders else _stored_characters(lines)
    if counts is None:
        counts = Counter(c for line in lines for c in charset.unknown(line.text))
    known = set(charset.characters)
    return {character: count for character, count in counts.most_common() if character not in known}


def _stored_characters(lines: Sequence[Line]) -> Counter[str] | None:
    """The characters of lines that are all packed, with counts; None if they are not."""
    if isinstance(lines, PackedLines):
        return lines.characters()
    if isinstance(lines, NamedLines):
        return _stored_characters(lines.lines)
    counts: Counter[str] = Counter()
    if not isinstance(lines, JoinedLines):
        return None
    for part in lines.parts:
        more = _stored_characters(part)
        if more is None:
            return None
        counts.update(more)
    return counts
