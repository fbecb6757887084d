"""How editors write the same sign: typographically or plainly; one table for `--read.plain` and the recipe of corpora.

A model that learns from corpora of different conventions is told to write one sign in two ways, and guesses between
them. `differences` says where corpora of a mix differ, from their characters alone.
"""

import unicodedata
from collections import Counter
from collections.abc import Mapping

KINDS = {
    "typographic quotes": dict(zip("’‘“”„", '\'\'"""', strict=True)),
    "dashes": dict(zip("–—¬", "---", strict=True)),
    "long s": {"ſ": "s"},
    "raised letters": dict(zip("ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻªº", "abcdefghijklmnoprstuvwxyzao", strict=True)),
}
"""Kinds of signs, and how each is written plainly. `¬` is a hyphen at the end of a line."""
PLAIN = str.maketrans({sign: plain for signs in KINDS.values() for sign, plain in signs.items()})
"""For `str.translate`: the same as one table."""
COMBINING = "combining marks"
"""Those that NFC leaves, for want of a character that holds them."""


def differences(characters: Mapping[str, Counter[str]]) -> str:
    """A sentence on the kinds of signs that some corpora have and others have not; empty where there are none.

    Args:
        characters: by the name of each corpus, its characters with counts.
    """
    found = {kind: {name: _count(of, kind) for name, of in characters.items()} for kind in (*KINDS, COMBINING)}
    odd = {kind: counts for kind, counts in found.items() if any(counts.values()) and not all(counts.values())}
    if not odd:
        return ""
    told = []
    for kind, counts in odd.items():
        some = ", ".join(f"{count} in {name}" for name, count in counts.items() if count)
        told.append(f"{kind} ({some}, none in {', '.join(name for name, count in counts.items() if not count)})")
    mend = "" if odd.keys() == {COMBINING} else "; --read.plain true writes typographic signs plainly"
    return f"the corpora write differently: {'; '.join(told)}{mend}"


def _count(characters: Counter[str], kind: str) -> int:
    if kind == COMBINING:
        return sum(count for character, count in characters.items() if unicodedata.category(character) == "Mn")
    return sum(characters[sign] for sign in KINDS[kind])
