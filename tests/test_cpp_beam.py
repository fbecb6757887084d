"""The beam search of `export/cpp` reads what Python reads with the same language model, and refuses what it refuses."""

import os
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import Parts, passes, run
from test_compiled import CARD, LONG, lines
from test_cpp import document, read_options, tiny_files, write_pictures  # noqa: F401

from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.errors import HtrError

NO_WORDS = ("-", "-")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A language model and a document with a card."""
    save_ngram(tmp_path / "a.ngram", LONG)
    (tmp_path / "a.meta").write_text(document(CARD), encoding="utf-8")
    return tmp_path / "a.ngram", tmp_path / "a.meta"


@pytest.mark.parametrize("kind", ["peaks", "ties", "flat", "log-probabilities"])
@pytest.mark.parametrize("with_lm", [False, True])
def test_readings_are_those_of_python(
    parts: Parts, files: tuple[Path, Path], tmp_path: Path, kind: str, with_lm: bool
) -> None:
    language = LanguageOptions(files[0], 0.8, 0.3) if with_lm else LanguageOptions(bonus=0.3)
    decoder = BeamDecoder(CARD, open_language(language, CARD.characters()), BeamOptions(width=9))
    logits, frames = lines(kind)
    jobs = []
    for number, (row, count) in enumerate(zip(logits, frames, strict=True)):
        (tmp_path / f"{number}").write_bytes(row.tobytes())
        lm = [files[0], 0.8] if with_lm else ["-", "-"]
        jobs.append([tmp_path / f"{number}", count, files[1], *lm, 0.3, *NO_WORDS, 9, 3])
    for line, expected in zip(parts("beam", *jobs), decoder.decode(logits, frames, 3), strict=True):
        status, *words = line.split(" ", 1)
        assert status == "ok", line
        found = [reading.split(" ") for reading in words[0].split(" | ")]
        assert [tuple(map(int, labels)) for _, *labels in found] == [h.labels for h in expected]
        np.testing.assert_allclose([float(score) for score, *_ in found], [h.score for h in expected], rtol=1e-4)


def test_what_was_tuned_stands_in_the_file(parts: Parts, files: tuple[Path, Path], tmp_path: Path) -> None:
    logits, frames = lines("peaks")
    (tmp_path / "0").write_bytes(logits[0].tobytes())
    job = [tmp_path / "0", frames[0], files[1], files[0]]
    save_ngram(files[0], type(LONG)(**{**vars(LONG), "settings": {"weight": "0.9", "bonus": "1.25", "from": "a=b"}}))
    assert parts("beam", [*job, "-", "-", *NO_WORDS, 12, 2]) == parts("beam", [*job, 0.9, 1.25, *NO_WORDS, 12, 2])
    assert parts("beam", [*job, "-", "-", *NO_WORDS, 12, 2]) != parts("beam", [*job, 0.9, 0, *NO_WORDS, 12, 2])
    for setting in ("nan", "inf", "", "1 2", "x"):
        save_ngram(files[0], type(LONG)(**{**vars(LONG), "settings": {"bonus": setting}}))
        [line] = parts("beam", [*job, "-", "-", *NO_WORDS, 12, 2])
        assert line.startswith("error: ") and "bonus" in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("place", [3, 6], ids=["a language model", "words"])
def test_a_pipe_is_not_waited_for(parts: Parts, files: tuple[Path, Path], tmp_path: Path, place: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    job: list[object] = [files[0], 1, files[1], *"-----", 4, 1]
    job[place] = tmp_path / "pipe"
    [line] = parts("beam", job)
    assert line.startswith("error: ") and "pipe" in line


def test_options_that_make_no_sense_are_one_sentence(parts: Parts, files: tuple[Path, Path], tmp_path: Path) -> None:
    logits, frames = lines("peaks")
    (tmp_path / "0").write_bytes(logits[0].tobytes())
    (tmp_path / "nan").write_bytes(np.full_like(logits[0], np.nan).tobytes())
    good = [tmp_path / "0", frames[0], files[1], files[0], 0.8, 0.3, *NO_WORDS, 12, 1]
    odd = {
        8: [0, -1, 1025],
        4: ["nan", "inf"],
        5: ["-inf"],
        3: ["-", tmp_path, tmp_path / "none"],
        0: [tmp_path / "nan"],
    }
    jobs = [[*good[:place], value, *good[place + 1 :]] for place, values in odd.items() for value in values]
    found = parts("beam", good, *jobs)
    assert found[0].startswith("ok ") and len(found) == len(jobs) + 1
    assert all(line.startswith("error: ") for line in found[1:])


def test_damaged_language_models_are_refused_as_in_python(
    parts: Parts, files: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = files[0].read_bytes()
    header = whole.index(b"\n\n")
    draw = np.random.default_rng(0)
    damaged = [b"", b"x", b"htrcompress-ngram 2\n" + whole[20:], whole[:20], whole[: header + 1], whole[: header + 2]]
    damaged += [whole[: len(whole) * part // 8] for part in range(1, 8)] + [whole[:-1]]
    damaged += [whole.replace(b"array.arc_next=", b"array.arc_next=9"), whole.replace(b"begin=", b"begin=9999999")]
    damaged += [whole.replace(b"charset=", b"charsets="), whole.replace(b"array.backoff=", b"array.backoff=-")]
    certain = len(damaged)
    for _ in range(150):  # a byte changed anywhere
        data = bytearray(whole)
        data[draw.integers(len(data) if draw.random() < 0.7 else header)] = draw.integers(256)
        damaged.append(bytes(data))
    logits, frames = lines("peaks")
    (tmp_path / "0").write_bytes(logits[0].tobytes())
    jobs, refused = [], []
    for number, data in enumerate(damaged):
        path = tmp_path / f"{number}.ngram"
        path.write_bytes(data)
        jobs.append([tmp_path / "0", frames[0], files[1], path, "-", "-", *NO_WORDS, 12, 1])
        try:
            load_ngram(path)
            refused.append(False)
        except HtrError:
            refused.append(True)
    found = parts("beam", *jobs)
    assert refused[:certain] == [True] * certain
    assert [line.startswith("error: ") for line in found[:certain]] == [True] * certain
    assert all(line.startswith(("error: ", "ok ")) for line in found) and len(found) == len(jobs)


def test_the_demo_reads_what_transcribe_reads_with_a_language_model(
    demo: Path,
    tiny_files: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    from htrcompress.transcribe import TranscribeOptions, transcribe

    model, raw = tiny_files
    paths = write_pictures(tmp_path, ".png", 12)
    save_ngram(tmp_path / "a.ngram", LONG)
    lm = LanguageOptions(tmp_path / "a.ngram", 0.4, 1.5)
    images = transcribe(TranscribeOptions(paths, model, lm=lm)).images
    expected = [f"{path}\t{image.text}" for path, image in zip(paths, images, strict=True)]
    words = ["--lm", tmp_path / "a.ngram", "--lm.weight", "0.4", "--lm.bonus", "1.5"]
    assert passes(demo, *paths, *read_options(model), *words, "--batch", "5").splitlines() == expected
    assert passes(demo, *paths, *read_options(raw), *words).splitlines() == expected
    assert expected != passes(demo, *paths, *read_options(model)).splitlines()
    (tmp_path / "names.txt").write_text("the\nof\nand\nin\t2\n")
    listed = LanguageOptions(words=tmp_path / "names.txt", words_bonus=2.0)
    images = transcribe(TranscribeOptions(paths, model, lm=listed)).images
    expected = [f"{path}\t{image.text}" for path, image in zip(paths, images, strict=True)]
    listed_words = ["--lm.words", tmp_path / "names.txt", "--lm.words_bonus", "2"]
    assert passes(demo, *paths, *read_options(model), *listed_words).splitlines() == expected
    for odd in (["--decoder", "greedy", *words[:2]], ["--lm", raw], ["--lm.weight", "nan"], ["--beam.width", "0"]):
        done = run(demo, *paths, *read_options(model), *odd)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
