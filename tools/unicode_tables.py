"""Writes the tables of characters that `export/cpp` needs: `python -m tools.unicode_tables`.

C++ has no knowledge of Unicode. What the library needs of it to read word lists and to put texts from right to left in
order is written here from Python's, so that both do the same: letters, directions, mirror images, normal form C.
Unassigned code points take the value of their neighbours, which keeps the tables short. Version 14 of Unicode, that of
Python 3.11, is what is committed; a newer Python adds characters.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from bidi.mirror import MIRRORED

from htrcompress.bidi import WRITTEN
from htrcompress.decoding.words import is_letter

TARGET = Path(__file__).parents[1] / "export" / "cpp" / "src" / "unicode_tables.cc"
ASSIGNED = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
WIDTH = 120
NEUTRAL = "ON"
LEFT_OUT = "CJK COMPATIBILITY IDEOGRAPH"
"""A thousand characters that stand for others; no charset has them, so words with them are left out."""


def bidi_class(character: str) -> str:
    """The bidirectional class; all controls but BN are neutral, as `htrcompress.bidi` takes them."""
    found = unicodedata.bidirectional(character)
    return found if found in (*WRITTEN, "BN") else NEUTRAL


def ranges(value: Callable[[str], object], otherwise: object) -> Iterator[tuple[int, int, object]]:
    """The runs of assigned code points with the same value, but for those that have the usual one."""
    first = before = ord(ASSIGNED[0])
    now = value(ASSIGNED[0])
    for character in ASSIGNED[1:]:
        if (found := value(character)) != now:
            if now != otherwise:
                yield first, before, now
            first, now = ord(character), found
        before = ord(character)
    if now != otherwise:
        yield first, before, now


def decompositions(composes: bool) -> Iterator[tuple[int, int, int]]:
    """Each code point with the one or two that it is made of (0 for none), those that normal form C composes or not."""
    for character in ASSIGNED:
        parts = unicodedata.decomposition(character)
        if not parts or parts.startswith("<") or unicodedata.name(character, "").startswith(LEFT_OUT):
            continue
        if (unicodedata.normalize("NFC", character) == character) == composes:
            first, second, *_ = [*(int(part, 16) for part in parts.split()), 0]
            yield ord(character), first, second


def table(kind: str, name: str, rows: Iterator[tuple[object, ...]]) -> str:
    """A C++ table of some rows."""
    lines = [""]
    for row in rows:
        entry = "{" + ", ".join(f"0x{v:X}" if isinstance(v, int) else f"D::k{v}" for v in row) + "},"
        if len(lines[-1]) + len(entry) > WIDTH - 5:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + entry
    body = "".join(f"    {line}\n" for line in lines)
    view = f"const Table<{kind}> {name}{{std::begin({name}Rows), std::end({name}Rows)}};"
    return f"constexpr {kind} {name}Rows[] = {{\n{body}}};\n{view}\n"


def source() -> str:
    """The C++ source."""
    letters = ((first, last) for first, last, _ in ranges(is_letter, False))
    images = ((ord(a), ord(b)) for a, b in sorted(MIRRORED.items()) if unicodedata.mirrored(a) and a < b)
    return "\n".join(
        [
            f"// Written by tools/unicode_tables.py from Unicode {unicodedata.unidata_version}, not by hand.\n",
            '#include "unicode_tables.h"\n\n#include <iterator>\n',
            "namespace htr {\n\nusing D = BidiClass;\n",
            table("CodeRange", "kLetters", letters),
            table("BidiRange", "kBidiClasses", ranges(bidi_class, NEUTRAL)),
            table("MirrorPair", "kMirrorPairs", images),
            table("CombiningRange", "kCombiningClasses", ranges(unicodedata.combining, 0)),
            table("Decomposition", "kCompositions", decompositions(composes=True)),
            table("Decomposition", "kOtherDecompositions", decompositions(composes=False)),
            "}  // namespace htr\n",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
