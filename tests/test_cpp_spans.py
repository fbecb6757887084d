"""Confidences and spans in `export/cpp` are those of Python, to a step of their rounding."""

import json
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import Parts, passes, run
from numpy.typing import NDArray
from test_compiled import CARD, LONG, lines
from test_cpp import document, read_options, tiny_files, write_pictures  # noqa: F401

from htrcompress.card import Card
from htrcompress.cli import to_json
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram import NGram
from htrcompress.decoding.ngram_file import save_ngram
from htrcompress.runtime.spans import Span, SpanFinder, Spans

STEP = 1.01e-4
"""Confidences are rounded to four digits in both, so they are this close where they are computed alike."""
PLAIN, FITTED = "", "0.5 -0.25 1.5 0.125"


def expected_spans(
    card: Card, options: LanguageOptions, logits: NDArray, frames: NDArray, labels, pictures
) -> list[Spans]:
    """Of some readings in Python."""
    finder = SpanFinder(card, open_language(options, card.characters()))
    widths = (frames * card.stride - 1).clip(1).astype(np.int32)
    return finder.find(logits, widths, labels, pictures)


def close(found: list[str], expected: tuple[Span, ...]) -> None:
    rows = [found[i : i + 4] for i in range(0, len(found) - 1, 4)]
    assert [row[0] for row in rows] == [span.text for span in expected]
    numbers = [[float(value) for value in row[1:]] for row in rows]
    assert [tuple(row[:2]) for row in numbers] == [(span.start, span.end) for span in expected]
    np.testing.assert_allclose([row[2] for row in numbers], [span.confidence for span in expected], atol=STEP)


@pytest.mark.parametrize("kind", ["peaks", "ties", "flat", "log-probabilities"])
@pytest.mark.parametrize("knows", ["nothing", "a bonus", "an n-gram", "an n-gram and words", "words"])
def test_the_spans_of_a_reading_are_those_of_python(parts: Parts, tmp_path: Path, kind: str, knows: str) -> None:
    calibrated = knows != "nothing"
    card = Card(**{**vars(CARD), "calibration": FITTED if calibrated else PLAIN})
    (tmp_path / "card.meta").write_text(document(card), encoding="utf-8")
    settings = {"calibration": "0.75 0.5 1 0"} if knows == "an n-gram and words" else {}
    save_ngram(tmp_path / "a.ngram", NGram(**{**vars(LONG), "settings": settings}))
    (tmp_path / "names.txt").write_text("ace\nto\nthe\nhe is\t2\n")
    options = {
        "nothing": LanguageOptions(),
        "a bonus": LanguageOptions(bonus=1.0),
        "an n-gram": LanguageOptions(tmp_path / "a.ngram", 0.8, 0.5),
        "an n-gram and words": LanguageOptions(tmp_path / "a.ngram", 0.8, 0.5, tmp_path / "names.txt", 1.5),
        "words": LanguageOptions(words=tmp_path / "names.txt", words_bonus=1.5),
    }[knows]
    logits, frames = lines(kind)
    found = BeamDecoder(card, open_language(options, card.characters())).decode(logits, frames)
    labels = [readings[0].labels for readings in found]
    labels[5] = (1,) * 200  # which no alignment writes
    labels[6] = (*labels[6], 4, 4)
    pictures = np.random.default_rng(0).integers(1, 2000, len(frames)).tolist()
    expected = expected_spans(card, options, logits, frames, labels, pictures)
    given = [options.file, options.weight, options.bonus, options.words, options.words_bonus]
    words, jobs = ["-" if value is None else value for value in given], []
    for number, row in enumerate(logits):
        (tmp_path / f"{number}").write_bytes(row.tobytes())
        width = max(1, int(frames[number]) * card.stride - 1)
        count = -(-width // card.stride)
        reading = " ".join(map(str, labels[number]))
        jobs.append([tmp_path / f"{number}", count, tmp_path / "card.meta", *words, reading, width, pictures[number]])
    for line, spans in zip(parts("sure", *jobs), expected, strict=True):
        assert line.startswith("ok "), line
        first, characters, listed = line.removeprefix("ok ").split("|")
        is_calibrated, confidence = map(float, first.split(" "))
        assert float(confidence) == pytest.approx(spans.confidence, abs=STEP)
        assert is_calibrated == (knows in ("a bonus", "an n-gram and words"))
        close(characters.split("\t"), spans.characters)
        close(listed.split("\t"), spans.words)
    assert any(spans.words for spans in expected)


def test_logits_that_are_not_numbers_have_no_confidence(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "card.meta").write_text(document(CARD), encoding="utf-8")
    (tmp_path / "logits").write_bytes(np.full((4, len(CARD.charset) + 1), np.nan, np.float32).tobytes())
    [line] = parts("sure", [tmp_path / "logits", 4, tmp_path / "card.meta", *"-----", "1 2", 16, 16])
    assert line.startswith("ok 0 0|")


def test_a_line_from_right_to_left_has_its_spans_in_the_order_of_the_page(parts: Parts, tmp_path: Path) -> None:
    charset = tuple(sorted({*" ()", *"אבגדהולםשתמנר"}))
    card = Card("test", {}, charset, 32, 4, 1000, direction="rtl", calibration=FITTED)
    (tmp_path / "card.meta").write_text(document(card), encoding="utf-8")
    logits, frames = lines("peaks")
    labels = tuple(card.characters().encode("(שלום) אב 12"))
    [expected] = expected_spans(card, LanguageOptions(), logits[:1], frames[:1], [labels], [600])
    (tmp_path / "0").write_bytes(logits[0].tobytes())
    given = ["-"] * 5
    width = int(frames[0]) * card.stride - 1
    job = [tmp_path / "0", frames[0], tmp_path / "card.meta", *given, " ".join(map(str, labels)), width, 600]
    [line] = parts("sure", job)
    _, characters, words = line.split("|")
    close(characters.split("\t"), expected.characters)
    close(words.split("\t"), expected.words)
    assert "(שלום)" in [span.text for span in expected.words]


def test_a_damaged_calibration_is_one_sentence(parts: Parts, tmp_path: Path) -> None:
    logits, frames = lines("peaks")
    (tmp_path / "0").write_bytes(logits[0].tobytes())
    for text in ("1 2 3", "a b c d", "nan 0 1 0", "-1 0 1 0"):
        (tmp_path / "card.meta").write_text(document(CARD) + f"htrcompress.calibration={text}\n", encoding="utf-8")
        [line] = parts("sure", [tmp_path / "0", frames[0], tmp_path / "card.meta", *["-"] * 5, "1", 239, 240])
        assert line.startswith("error: ") and "calibration" in line


def test_the_demo_says_what_transcribe_says(
    demo: Path,
    tiny_files: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    from htrcompress.transcribe import TranscribeOptions, transcribe

    model, raw = tiny_files
    paths = write_pictures(tmp_path, ".png", 12)
    save_ngram(tmp_path / "a.ngram", NGram(**{**vars(LONG), "settings": {"calibration": FITTED}}))
    (tmp_path / "names.txt").write_text("the\nof\nand\n")
    lm = LanguageOptions(tmp_path / "a.ngram", 0.4, 1.5, tmp_path / "names.txt", 0.5)
    words = ["--lm", lm.file, "--lm.weight", 0.4, "--lm.bonus", 1.5, "--lm.words", lm.words, "--lm.words_bonus", 0.5]
    cases = [
        (TranscribeOptions(paths, model, spans=True), ["--spans"]),
        (TranscribeOptions(paths, model, lm=lm, spans=True, n_best=3), [*words, "--spans", "--n_best", 3]),
        (TranscribeOptions(paths, raw, decoder="beam", n_best=2), ["--decoder", "beam", "--n_best", 2]),
    ]
    for options, given in cases:
        expected = json.loads(to_json(transcribe(options)))["images"]
        done = run(demo, *paths, *read_options(Path(str(options.model))), "--json", *map(str, given))
        assert done.returncode == 0 and done.stderr.count("warning: ") == (
            "--n_best" not in given or "--lm" in given
        ), done.stderr
        for found, image in zip(json.loads(done.stdout)["images"], expected, strict=True):
            for name in ("path", "text", "error"):
                assert found[name] == image[name]
            assert [other["text"] for other in found["alternatives"]] == [o["text"] for o in image["alternatives"]]
            assert found["score"] == pytest.approx(image["score"], abs=1e-4)
            assert found["confidence"] == pytest.approx(image["confidence"], abs=STEP)
            for name in ("characters", "words"):
                for one, other in zip(found[name], image[name], strict=True):
                    assert {**one, "confidence": 0} == {**other, "confidence": 0}
                    assert one["confidence"] == pytest.approx(other["confidence"], abs=STEP)
    (tmp_path / "text.png").write_text("no picture")
    done = run(demo, tmp_path / "text.png", paths[0], *read_options(model), "--json")
    images = json.loads(done.stdout)["images"]
    assert done.returncode == 2 and images[0]["error"] and images[1]["text"] and images[1]["confidence"] is None


def test_spans_need_logits_and_a_document(demo: Path, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    import onnx

    [path] = write_pictures(tmp_path, ".png", 1)
    graph = onnx.load(tiny_files[0])
    del graph.graph.output[[output.name for output in graph.graph.output].index("logits")]
    onnx.save(graph, tmp_path / "labels.onnx")
    options = read_options(tmp_path / "labels.onnx")
    assert passes(demo, path, *options)
    for words in (["--json", "--spans"], ["--decoder", "beam"]):
        done = run(demo, path, *options, *words)
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: ") and "logits" in done.stderr
    done = run(demo, path, *read_options(tiny_files[0]), "--spans")
    assert done.returncode == 2 and "--json" in done.stderr
