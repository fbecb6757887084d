"""Compiles the beam search for this machine: `python -m htrcompress.native`.

The package holds C++ sources and no binaries. This command compiles them once with the system's C++ compiler into the
user's cache, checks that the result decodes as the NumPy search does, and from then on every beam search uses it.
Without it everything works, and reads the same text, but slower.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from htrcompress.cli import run_command
from htrcompress.errors import HtrError

if TYPE_CHECKING:
    from htrcompress.decoding.ngram import NGram
    from htrcompress.decoding.search import Search


@dataclass(frozen=True)
class NativeOptions:
    """Compiles the beam search with the machine's C++ compiler: the same readings, sooner."""

    compiler: str | None = None
    """The compiler's command; the environment's CXX, or the first of c++, g++ and clang++, if not given."""


@dataclass(frozen=True)
class NativeResult:
    """The result of `compile_native`.

    Attributes:
        path: the library.
        faster: how many times as fast as NumPy it decoded a few random lines.
    """

    path: Path
    faster: float

    def __rich__(self) -> str:
        return f"{self.path}: {self.faster:.1f} times as fast as NumPy on random lines, with the same readings"


def compile_native(options: NativeOptions = NativeOptions()) -> NativeResult:
    """Compiles the search into the user's cache and compares it with the one in NumPy.

    Raises:
        HtrError: there is no compiler, or what it makes decodes otherwise; then nothing is kept.
    """
    from htrcompress.decoding.compiled import CompiledSearch, compile_search, library_path, load
    from htrcompress.decoding.language import Language, Scorer
    from htrcompress.decoding.search import NumpySearch, Settings

    path = library_path()
    compile_search(path, options.compiler)
    model, symbols = _model()
    settings = Settings(width=12, candidates=8, margin=6.9, floor=1e-4)
    given = settings, Language((Scorer(model, 0.8),), 0.5), [symbols]
    try:
        expected, slow = _decoded(NumpySearch(*given))
        found, fast = _decoded(CompiledSearch(load(path), *given))
        if found != expected:
            raise HtrError("this compiler's beam search does not decode as NumPy does: try another with --compiler")
    except HtrError:
        path.unlink(missing_ok=True)
        raise
    return NativeResult(path, slow / fast)


def _model() -> "tuple[NGram, list[int]]":
    """A small language model over 26 letters, and its symbols for their labels."""
    import numpy as np

    from htrcompress.charset import Charset
    from htrcompress.decoding.kneser_ney import SPECIAL, train
    from htrcompress.decoding.ngram import compile_orders

    letters = "abcdefghijklmnopqrstuvwxyz"
    draw = np.random.default_rng(1)
    texts = ["".join(letters[i] for i in draw.integers(0, 26, 30) ** 2 // 26) for _ in range(100)]
    charset = Charset(tuple(letters))
    orders = train(([letters.index(c) + SPECIAL for c in text] for text in texts), 4, len(letters))
    model = compile_orders(orders, charset)
    return model, [0, *model.symbols(letters).tolist()]


def _decoded(search: "Search") -> "tuple[list, float]":
    """Readings of random lines, and the seconds that they took."""
    import time

    import numpy as np

    logits = np.random.default_rng(2).normal(0, 2, (16, 80, 27)).astype(np.float32)
    logits[:, ::2, 0] += 9
    frames = np.arange(65, 81)
    search.decode(logits, frames, 1)
    start = time.perf_counter()
    found = search.decode(logits, frames, 4)
    return found, time.perf_counter() - start


if __name__ == "__main__":
    run_command(compile_native)
