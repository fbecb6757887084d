"""The direction of writing: texts in the order of the page for the network, and in the order of reading for people.

CTC emits characters from left to right as they stand on the line, while a Hebrew or Arabic text is stored in the order
in which it is read. `visual_order` takes a text to the page by the Unicode bidirectional algorithm (UAX #9), brackets
mirrored; `logical_order` takes it back. Where directions mix, a few texts share one visual order, so a text can
come back changed: the commands count these.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from htrcompress.errors import HtrError

Direction = Literal["ltr", "rtl"]
"""The direction of a line as a whole: where its first word stands, and on which side of it a full stop."""
WRITTEN = ("L", "R", "AL", "EN", "ES", "ET", "AN", "CS", "NSM", "WS", "ON")
"""Bidirectional classes of what is written; controls and unassigned characters are taken as neutral."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_ATTACHED = ("NSM", "BN")
"""Bidirectional classes of what stays with the character before it: combining marks and joiners."""
_VERTICAL = {
    "Mongolian": re.compile("[\u1820-\u1878\u1880-\u18aa]"),
    "Phags-pa": re.compile("[\ua840-\ua873]"),
}
"""Scripts that are written from top to bottom alone."""


def direction_of(texts: Iterable[str]) -> Direction:
    """The direction in which most letters of some texts are written.

    Raises:
        HtrError: a text is in a script that is written from top to bottom.
    """
    letters: Counter[bool] = Counter()
    for text in texts:
        if text.isascii():
            letters[False] += len(text)
            continue
        for script, pattern in _VERTICAL.items():
            if pattern.search(text):
                raise HtrError(
                    f"a text is in {script} ('{text[:40]}'), which is written from top to bottom: only horizontal "
                    "lines can be read"
                )
        classes = Counter(map(unicodedata.bidirectional, text))
        letters[False] += classes["L"]
        letters[True] += classes["R"] + classes["AL"]
    return "rtl" if letters[True] > letters[False] else "ltr"


def has_right_to_left(text: str) -> bool:
    """Whether any character is of a script that is written from right to left."""
    return bool(_RIGHT_TO_LEFT.search(text))


def visual_order(text: str, direction: Direction) -> str:
    """A text as it stands on a line of that direction, from left to right."""
    return _reordered(text, direction)


def logical_order(text: str, direction: Direction) -> str:
    """A text as it is read, from how it stands on a line of that direction: the inverse of `visual_order`."""
    return _reordered(text, direction)  # reversing the runs once more puts them back


def _reordered(text: str, direction: Direction) -> str:
    if (text.isascii() and direction == "ltr") or not text:
        return text
    from bidi import algorithm  # python-bidi, which texts from left to right do not need

    clusters: list[str] = []
    for char in text:
        if clusters and unicodedata.bidirectional(char) in _ATTACHED:
            clusters[-1] += char
        else:
            clusters.append(char)
    storage = algorithm.get_empty_storage()
    storage["base_level"], storage["base_dir"] = (1, "R") if direction == "rtl" else (0, "L")
    algorithm.get_embedding_levels("".join(cluster[0] for cluster in clusters), storage)
    for entry, cluster in zip(storage["chars"], clusters, strict=True):
        entry["attached"] = cluster[1:]
        if entry["type"] not in WRITTEN:
            entry["type"] = entry["orig"] = "ON"
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    algorithm.reorder_resolved_levels(storage, False)
    algorithm.apply_mirroring(storage, False)
    return "".join(entry["ch"] + entry["attached"] for entry in storage["chars"])
