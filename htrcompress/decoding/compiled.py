"""The prefix beam search compiled from `cpp/`, which reads the same text as `search.py` several times faster.

`python -m htrcompress.native` compiles it once with the machine's C++ compiler into the user's cache, which keeps the
package free of binaries. It is loaded from there alone, and only if nobody else can write to it; its name holds a hash
of the sources, so another version of the package compiles its own. Calls release Python's lock while they search.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.decoding.language import Language, Scorer
from htrcompress.decoding.ngram import ARRAYS
from htrcompress.decoding.search import NOT_NUMBERS, Found, Settings
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)
SOURCES = Path(__file__).parent / "cpp"
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=off")
"""Without fused operations, which round otherwise than NumPy."""
COMPILERS = ("c++", "g++", "clang++")
"""The first that is there is used."""
ABI = 1
"""What `htr_abi` in `cpp/c_api.cc` gives."""
MOST_SCORERS = 8
"""`kMaxScorers` in `cpp/prefix_search.h`."""
LARGEST_BUFFER = 1 << 24
"""Labels that one call of the library may return."""


class _Scorer(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_double),
        ("symbols", ctypes.c_void_p),
        ("begin", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ARRAYS),
    )


class _Settings(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("width", "candidates")),
        *((name, ctypes.c_double) for name in ("margin", "floor", "bonus")),
    )


class CompiledSearch:
    """The compiled search; several threads may use it at once.

    Args:
        library: from `load`.
        settings: see `Settings`.
        language: see `Language`.
        symbols: from `language.label_symbols`.
    """

    def __init__(self, library: ctypes.CDLL, settings: Settings, language: Language, symbols: Sequence[Sequence[int]]):
        if len(language.scorers) > MOST_SCORERS:
            raise HtrError(f"a beam search follows at most {MOST_SCORERS} language models and word lists")
        self.library, self.settings = library, settings
        self._settings = _Settings(**vars(settings), bonus=language.bonus)
        self._arrays: list[NDArray] = []  # what the views point at must outlive them
        views = [self._view(*pair) for pair in zip(language.scorers, symbols, strict=True)]
        self._scorers = (_Scorer * len(views))(*views)

    def _view(self, scorer: Scorer, symbols: Sequence[int]) -> _Scorer:
        kinds = {"symbols": np.dtype(np.uint32), **ARRAYS}
        values = {"symbols": symbols, **scorer.automaton.arrays}
        arrays = {name: np.ascontiguousarray(values[name], kind) for name, kind in kinds.items()}
        self._arrays += arrays.values()
        pointers = {name: array.ctypes.data for name, array in arrays.items()}
        return _Scorer(scorer.weight, begin=scorer.automaton.begin, **pointers)

    def decode(self, logits: NDArray[np.float32], frames: NDArray[np.integer], n_best: int) -> list[Found]:
        """See `search.Search.decode`."""
        lines, steps, _ = logits.shape
        n_best = min(n_best, self.settings.width)
        at_once = max(1, LARGEST_BUFFER // max(1, n_best * steps))
        found: list[Found] = []
        for start in range(0, lines, at_once):
            some = slice(start, start + at_once)
            found += self._decode(logits[some], frames[some], n_best)
        return found

    def _decode(self, logits: NDArray[np.float32], frames: NDArray[np.integer], n_best: int) -> list[Found]:
        lines, steps, classes = logits.shape
        logits, counts = np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(frames, np.int64)
        labels = np.empty((lines, n_best, steps), np.int32)
        lengths, scores = np.empty((lines, n_best), np.int32), np.empty((lines, n_best))
        result = self.library.htr_decode(
            self._scorers,
            len(self._scorers),
            ctypes.byref(self._settings),
            logits.ctypes.data,
            lines,
            steps,
            classes,
            counts.ctypes.data,
            n_best,
            labels.ctypes.data,
            lengths.ctypes.data,
            scores.ctypes.data,
        )
        if result != 0:
            raise HtrError(NOT_NUMBERS if result == 1 else "the beam search ran out of memory: decode fewer lines")
        rows = zip(labels, lengths.tolist(), scores.tolist(), strict=True)
        return [
            [(tuple(row[:length].tolist()), score) for row, length, score in zip(*line, strict=True) if length >= 0]
            for line in rows
        ]


@cache
def compiled_search() -> ctypes.CDLL | None:
    """The library in the user's cache; None where it was not compiled, or cannot be read."""
    try:
        path = library_path()
        if not path.exists():
            logger.info("the beam search runs in NumPy; `python -m htrcompress.native` compiles a faster one, once")
            return None
        return load(path)
    except (HtrError, OSError) as error:  # such as a home that another user owns
        logger.warning("%s; the beam search runs in NumPy", error)
        return None


def library_path() -> Path:
    """Where the library of this version of the package is, or would be, in the user's cache.

    Raises:
        HtrError: the user has no home.
    """
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    except RuntimeError:
        raise HtrError("no folder for the compiled beam search: set HOME") from None
    name = f"search-{digest.hexdigest()[:16]}-{sys.platform}-{platform.machine()}.so"
    return root / "htrcompress" / "native" / name


def _hash_file(path: Path) -> Path:
    """Where the hash of a library stands."""
    return path.with_suffix(".sha256")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path: Path) -> ctypes.CDLL:
    """Opens a compiled library.

    Raises:
        HtrError: somebody else could have written it, or it is not what this version compiles.
    """
    for place in (path.parent, path):
        status = place.lstat()
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022 or place.is_symlink():
            raise HtrError(f"{place} is not loaded, since others than you can write to it: remove it and compile again")
    try:
        whole = _hash_file(path).read_text() == _hash(path)  # a part of a library would crash the process
        library = ctypes.CDLL(str(path.absolute())) if whole else None
        abi = None if library is None else library.htr_abi()
    except (OSError, AttributeError, UnicodeDecodeError):
        library = abi = None
    if library is None or abi != ABI:
        raise HtrError(f"{path} is damaged or of another version: run `python -m htrcompress.native` again")
    library.htr_decode.argtypes = [
        ctypes.c_void_p,  # scorers
        ctypes.c_int32,  # their number
        *(ctypes.c_void_p,) * 2,  # settings, logits
        *(ctypes.c_int64,) * 2,  # lines, steps
        ctypes.c_int32,  # classes
        ctypes.c_void_p,  # frames
        ctypes.c_int32,  # n_best
        *(ctypes.c_void_p,) * 3,  # labels, lengths, scores
    ]
    return library


def compile_search(path: Path, compiler: str | None = None) -> None:
    """Compiles the library to `path`, whole or not at all.

    Args:
        path: the file to write; its folder is made for this user alone.
        compiler: a C++ compiler that takes the options of GCC; `CXX` or the first of `COMPILERS` if None.

    Raises:
        HtrError: there is no compiler, or it fails, or the file cannot be written.
    """
    if os.name != "posix":
        raise HtrError("the beam search is compiled on Linux and macOS alone; elsewhere it runs in NumPy")
    command = shlex.split(compiler or os.environ.get("CXX", "")) or [next(filter(shutil.which, COMPILERS), "")]
    if shutil.which(command[0]) is None:
        raise HtrError(f"no C++ compiler {command[0]!r}: install one, such as g++, or name it with --compiler")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / path.name
            sources = sorted(str(source) for source in SOURCES.glob("*.cc"))
            done = subprocess.run([*command, *FLAGS, *sources, "-o", str(made)], capture_output=True, text=True)
            if done.returncode != 0:
                why = (done.stderr.strip().splitlines() or ["no message"])[0]
                raise HtrError(f"{command[0]} cannot compile the beam search: {why}")
            made.chmod(0o700)
            os.replace(made, path)
            write_atomic(_hash_file(path), _hash(path).encode())
    except OSError as error:
        raise HtrError(f"cannot write {path}: {error.strerror}") from None
