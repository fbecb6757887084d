"""The file of a compiled n-gram (`.ngram`): a header of `key=value` lines, and the arrays behind it.

The arrays are little-endian, each starts at a multiple of 64 bytes, and they are mapped into memory, not read, so that
a large model opens at once and several processes share it. `python -m htrcompress.lm` writes such files.
"""

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from htrcompress.bidi import Direction
from htrcompress.card import printable
from htrcompress.charset import Charset
from htrcompress.decoding.kneser_ney import SPECIAL
from htrcompress.decoding.ngram import ARRAYS, NGram
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

MAGIC = b"htrcompress-ngram 1\n"
LONGEST_HEADER = 1 << 20
LARGEST_ORDER = 64
"""No n-gram has more symbols: its key has 64 bits."""


def save_ngram(path: Path, model: NGram) -> None:
    """Writes a compiled n-gram, whole or not at all.

    Raises:
        HtrError: the file cannot be written.
    """
    header = {"order": str(model.order), "begin": str(model.begin), "charset": "".join(model.charset.characters)}
    header["direction"] = model.charset.direction
    header |= {f"setting.{name}": printable(value) for name, value in model.settings.items()}  # such as a file's name
    header |= {f"array.{name}": str(len(model.arrays[name])) for name in ARRAYS}
    text = MAGIC + "".join(f"{key}={value}\n" for key, value in header.items()).encode() + b"\n"
    parts = [text]
    size = len(text)
    for name, kind in ARRAYS.items():
        parts += [b"\0" * (-size % 64), np.ascontiguousarray(model.arrays[name], kind).tobytes()]
        size += sum(map(len, parts[-2:]))
    write_atomic(path, b"".join(parts))


def load_ngram(path: Path) -> NGram:
    """Opens a compiled n-gram; its arrays are mapped, not read.

    Raises:
        HtrError: the file is missing, truncated or of another kind.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(LONGEST_HEADER)
        size = os.path.getsize(path)
    except OSError as error:
        raise HtrError(f"cannot read the language model {path}: {error.strerror}") from None
    end = head.find(b"\n\n")
    if not head.startswith(MAGIC) or end < 0:
        raise HtrError(f"{path} is not a compiled language model: make one with `python -m htrcompress.lm`")
    try:
        rows = head[len(MAGIC) : end].decode().split("\n")
        values = dict(row.partition("=")[::2] for row in rows)
        lengths = {name: int(values[f"array.{name}"]) for name in ARRAYS}
        order, begin = int(values["order"]), int(values["begin"])
        direction = cast(Direction, values.get("direction", "ltr"))  # files from before it was noted
        charset = Charset(tuple(values["charset"]), direction)
    except (UnicodeDecodeError, KeyError, ValueError, HtrError):
        raise HtrError(f"the header of the language model {path} is damaged: make the file again") from None
    offset, arrays = end + 2, {}
    for name, kind in ARRAYS.items():
        offset += -offset % 64
        if lengths[name] < 1 or offset + lengths[name] * kind.itemsize > size:
            raise HtrError(f"the language model {path} is truncated: make the file again")
        arrays[name] = np.memmap(path, kind, "r", offset, (lengths[name],))
        offset += lengths[name] * kind.itemsize
    settings = {key[len("setting.") :]: value for key, value in values.items() if key.startswith("setting.")}
    model = NGram(charset, order, begin, arrays, settings)
    _check(model, path)
    _check_settings(settings, path)
    return model


def _check(model: NGram, path: Path) -> None:
    """Refuses arrays that point outside or in long chains, before anything follows them."""
    a, states = model.arrays, model.states
    arcs = len(a["arc_symbol"])
    sizes = len(a["backoff"]) == states and len(a["arc_start"]) == states + 1
    sizes = sizes and len(a["arc_log_probability"]) == len(a["arc_next"]) == arcs
    fits = (
        sizes
        and 0 <= model.begin < states
        and int(a["backoff_state"][0]) == 0
        and bool((a["backoff_state"][1:] < np.arange(1, states)).all())
        and int(a["backoff_state"].min()) >= 0
        and int(a["arc_start"][0]) == 0
        and int(a["arc_start"][-1]) == arcs
        and bool((a["arc_start"][1:] >= a["arc_start"][:-1]).all())  # differences of huge numbers would wrap
        and int(a["arc_symbol"].max()) < len(model.charset.characters) + SPECIAL
        and 0 <= int(a["arc_next"].min()) <= int(a["arc_next"].max()) < states
        and bool(np.isfinite(a["arc_log_probability"]).all() and np.isfinite(a["backoff"]).all())
        and _ends(a["backoff_state"], model.order)
    )
    if not fits:
        raise HtrError(f"the language model {path} is damaged: make the file again")


def _ends(backoff_state: NDArray[np.int32], order: int) -> bool:
    """Whether every state falls back to the empty history in fewer steps than the model's order."""
    state: NDArray[np.int32] = backoff_state
    for _ in range(min(order, LARGEST_ORDER) - 2):
        state = backoff_state[state]
    return 1 <= order <= LARGEST_ORDER and not state.any()


def _check_settings(settings: dict[str, str], path: Path) -> None:
    for name in ("weight", "bonus", "words_bonus"):
        try:
            fits = bool(np.isfinite(float(settings.get(name, "0"))))
        except ValueError:
            fits = False
        if not fits:
            raise HtrError(f"the {name} in the language model {path} is not a finite number: tune it again")
