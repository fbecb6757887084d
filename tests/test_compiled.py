"""The compiled beam search finds what the one in NumPy finds, to the last bit, and only a trusted file is loaded."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import passes
from numpy.typing import NDArray
from sharing import Shared
from test_ngram import _model, _texts

from htrcompress.card import Card
from htrcompress.decoding import beam, compiled
from htrcompress.decoding.base import Hypothesis
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import Language, Scorer
from htrcompress.errors import HtrError

_, SHORT = _model(_texts(80), 3)
_, LONG = _model(_texts(200), 6)
LANGUAGES = {
    "none": Language((), 0.4),
    "one": Language((Scorer(LONG, 0.8),), 1.5),
    "two": Language((Scorer(LONG, 0.7), Scorer(SHORT, -0.3)), 0.25),
    "heavy": Language((Scorer(SHORT, 400.0),), -9.0),  # probabilities near the limits of a double
}
SEARCHES = {
    "usual": BeamOptions(),
    "narrow": BeamOptions(width=1, candidates=1),
    "wide": BeamOptions(width=64, candidates=100, blank=1.0, floor=0.0),
    "coarse": BeamOptions(width=7, candidates=3, blank=0.6, floor=0.05),
}
SETTINGS = [(language, search) for language in LANGUAGES for search in SEARCHES]
CARD = Card("test", {}, LONG.charset.characters, 32, 4, 1000)
CLASSES = len(CARD.charset) + 1


@pytest.fixture(scope="session")
def library(shared: Shared) -> Path:
    if not any(map(shutil.which, compiled.COMPILERS)):
        pytest.skip("no C++ compiler")

    def make(folder: Path) -> None:
        (folder / "own").mkdir(mode=0o700)
        compiled.compile_search(folder / "own" / "search.so")

    return shared("search", make, [*sorted(compiled.SOURCES.iterdir()), Path(compiled.__file__)]) / "own" / "search.so"


def both(library: Path, monkeypatch: pytest.MonkeyPatch, *given: object) -> tuple[BeamDecoder, BeamDecoder]:
    loaded = compiled.load(library)
    decoders = []
    for found in (None, loaded):
        monkeypatch.setattr(beam, "compiled_search", lambda found=found: found)
        decoders.append(BeamDecoder(CARD, *given))  # type: ignore[arg-type]
    kinds = [type(decoder.search).__name__ for decoder in decoders]
    assert kinds == ["NumpySearch", "CompiledSearch"]
    return decoders[0], decoders[1]


def lines(kind: str, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits of 24 lines, and the frames of each."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2.5, (24, 60, CLASSES))
    logits[:, :, 0] += np.where(draw.random((24, 60)) < 0.6, 9, 1)
    if kind == "ties":
        logits = np.round(logits)
    elif kind == "flat":
        logits[:] = 0
    elif kind == "log-probabilities":
        logits = logits - np.logaddexp.reduce(logits, 2, keepdims=True)
        logits[draw.random(logits.shape) < 0.3] = -np.inf
        logits[:, :, 1] = -3
    elif kind == "huge":
        logits *= 1e4
    return logits.astype(np.float32), np.concatenate(([60, 0, 1, 2], draw.integers(0, 61, 20)))


@pytest.mark.parametrize("kind", ["peaks", "ties", "flat", "log-probabilities", "huge"])
@pytest.mark.parametrize(("language", "search"), SETTINGS)
def test_readings_and_scores_are_those_of_numpy(
    library: Path, monkeypatch: pytest.MonkeyPatch, language: str, search: str, kind: str
) -> None:
    slow, fast = both(library, monkeypatch, LANGUAGES[language], SEARCHES[search])
    logits, frames = lines(kind)
    expected, found = slow.decode(logits, frames, 5), fast.decode(logits, frames, 5)
    assert [[h.labels for h in row] for row in found] == [[h.labels for h in row] for row in expected]
    np.testing.assert_allclose(scores(found), scores(expected), rtol=1e-12)
    assert all(len(row) > 0 for row in found)


def install(library: Path, path: Path) -> None:
    path.parent.mkdir(0o700, True, True)
    shutil.copy(library, path)
    shutil.copy(compiled._hash_file(library), compiled._hash_file(path))


def uncached() -> object:
    return compiled.compiled_search.__wrapped__()


def scores(rows: list[list[Hypothesis]]) -> list[float]:
    return [h.score for row in rows for h in row]


def test_a_line_reads_the_same_alone_and_beside_others(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, fast = both(library, monkeypatch, LANGUAGES["two"])
    logits, frames = lines("peaks", 1)
    together = fast.decode(logits, frames, 3)
    monkeypatch.setattr(compiled, "LARGEST_BUFFER", 400)  # several calls
    assert fast.decode(logits, frames, 3) == together
    for row, count in enumerate(frames):
        assert fast.decode(logits[[row], :count], frames[[row]], 3) == [together[row]]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_logits_that_are_not_numbers_are_refused(library: Path, monkeypatch: pytest.MonkeyPatch, odd: float) -> None:
    for decoder in both(library, monkeypatch):
        for place in (0, 3):
            logits, frames = lines("peaks")
            logits[5, frames[5] // 2, place] = odd
            if np.isnan(odd) or place > 0:  # an infinite logit of the blank is a certain blank
                with pytest.raises(HtrError, match="logits"):
                    decoder.decode(logits, frames)
        logits, frames = lines("peaks")
        for wrong in (logits[:, :, 1:], logits[:, :30], logits[:3]):
            with pytest.raises(HtrError, match="logits"):
                decoder.decode(wrong, frames)


def test_only_a_file_that_nobody_else_can_write_is_loaded(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "native"
    folder.mkdir(mode=0o700)
    file = folder / "search.so"
    install(library, file)
    for place, mode in ((file, 0o777), (file, 0o720), (folder, 0o777), (folder, 0o770)):
        before = place.stat().st_mode & 0o777
        place.chmod(mode)
        with pytest.raises(HtrError, match=place.name):
            compiled.load(file)
        place.chmod(before)
    assert compiled.load(file).htr_abi() == compiled.ABI
    (folder / "link.so").symlink_to(file)
    with pytest.raises(HtrError, match=r"link\.so"):
        compiled.load(folder / "link.so")
    install(library, folder / "cut.so")
    (folder / "cut.so").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(HtrError, match=r"cut\.so"):
        compiled.load(folder / "cut.so")
    other = folder / "other.cc"
    other.write_text('extern "C" int htr_abi() { return -1; }\n')
    passes("c++", "-shared", "-fPIC", other, "-o", folder / "other.so")
    compiled._hash_file(folder / "other.so").write_text(compiled._hash(folder / "other.so"))
    with pytest.raises(HtrError, match=r"other\.so"):
        compiled.load(folder / "other.so")


def test_the_cache_is_never_relative(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert compiled.library_path().is_relative_to(tmp_path / "home" / ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiled.library_path().is_relative_to(tmp_path / "cache")


def test_the_command_compiles_checks_and_is_then_used(
    library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from htrcompress.native import NativeOptions, compile_native

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "compile_search", lambda path, compiler: install(library, path))
    assert uncached() is None
    done = compile_native(NativeOptions())
    assert done.path.is_relative_to(tmp_path) and done.path.is_file()
    assert uncached() is not None
    done.path.chmod(0o777)
    assert uncached() is None


def test_where_the_cache_cannot_be_read_numpy_searches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("a" * 300)))  # the system refuses to look there
    assert uncached() is None


def test_a_compiler_that_is_not_there_or_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HtrError, match="no-such-compiler"):
        compiled.compile_search(tmp_path / "a.so", "no-such-compiler -O2")
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(HtrError, match="false"):
        compiled.compile_search(tmp_path / "a.so")
    assert os.listdir(tmp_path) == []
