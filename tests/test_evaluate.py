"""The command that measures: known error rates, groups, failures, and where the readings are written."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

import htrcompress
from htrcompress import HtrError
from htrcompress import evaluate as command
from htrcompress.charset import clean_text
from htrcompress.cli import to_json
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.readers.trained_on import default_data
from htrcompress.evaluate import EvaluateOptions
from htrcompress.evaluate import evaluate as run
from htrcompress.models.serialization import load_card, load_model, save_model

WIDTHS = range(60, 72)


@pytest.fixture
def data(tmp_path: Path, tiny_onnx: Path, picture: Callable[..., NDArray[np.uint8]]) -> Path:
    """A dataset whose test split is transcribed as the model reads it."""
    root = tmp_path / "data"
    root.mkdir()
    recognizer = htrcompress.load(tiny_onnx)
    rows = []
    for width in WIDTHS:
        Image.fromarray(picture(width)).save(root / f"{width}.png")
        rows.append((f"{width}.png", f"x{clean_text(recognizer.read([picture(width)])[0].text)}x"))
    write(root, rows)
    return root


def write(root: Path, rows: list[tuple[str, str]]) -> None:
    (root / "test.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in rows), encoding="utf-8")


def rows_of(root: Path) -> list[tuple[str, str]]:
    return [(line.id, line.text) for line in open_dataset(str(root)).split("test")]


def evaluate(*options: Any, **named: Any) -> command.Evaluation:
    return run(EvaluateOptions(*options, **named))


def test_known_errors(data: Path, tiny_onnx: Path) -> None:
    result = evaluate(tiny_onnx, str(data))
    rows = rows_of(data)
    assert result.cer == pytest.approx(2 * len(rows) / sum(len(text) for _, text in rows))
    assert result.confusions[0] == ("x", "", 2 * len(rows))
    assert result.lines == len(WIDTHS)
    assert result.interval[0] <= result.cer <= result.interval[1]
    assert result.wer_interval[0] <= result.wer <= result.wer_interval[1]
    assert (result.failed, result.unknown, result.groups) == (0, {}, [])
    assert result.hash == open_dataset(str(data)).identity("test")
    assert result.runtime == "ONNX Runtime, cpu"


def test_runtimes_and_batches_agree(data: Path, tiny_model: Path, tiny_onnx: Path) -> None:
    one, other = evaluate(tiny_model, str(data), batch=1), evaluate(tiny_onnx, str(data), batch=5)
    assert one == replace(other, model=one.model, runtime=one.runtime)


def test_the_result_as_json(data: Path, tiny_onnx: Path) -> None:
    result = json.loads(to_json(evaluate(tiny_onnx, str(data))))
    assert {"cer", "wer", "lines", "interval", "wer_interval", "groups", "confusions"} <= set(result)
    assert {"split", "hash", "unknown", "failed"} <= set(result)
    assert result["lines"] == len(WIDTHS)


def test_lines_that_cannot_be_read_stay_in_the_rates(
    data: Path, tiny_onnx: Path, picture: Callable[..., NDArray[np.uint8]]
) -> None:
    clean = evaluate(tiny_onnx, str(data))
    (data / "broken.png").write_bytes(b"no image")
    Image.fromarray(picture(1500)).save(data / "wide.png")
    write(data, [*rows_of(data), ("broken.png", "a" * 50), ("wide.png", "b" * 50)])
    result = evaluate(tiny_onnx, str(data), out=data / "out.json")
    assert (result.failed, result.lines) == (2, len(WIDTHS) + 2)
    length = sum(len(text) for _, text in rows_of(data))
    assert result.cer == pytest.approx((clean.cer * (length - 100) + 100) / length)
    broken, wide = json.loads((data / "out.json").read_text(encoding="utf-8"))[-2:]
    assert (broken["reading"], broken["edits"]) == ("", 50)
    assert "broken.png" in broken["error"]
    assert "1500 pixels wide" in wide["error"]


def test_all_lines_failing_is_an_error(data: Path, tiny_onnx: Path) -> None:
    for width in WIDTHS:
        (data / f"{width}.png").write_bytes(b"no image")
    with pytest.raises(HtrError, match=r"no line of data/test could be read; the first: .*60\.png"):
        evaluate(tiny_onnx, str(data))


def test_characters_outside_the_charset_are_counted(data: Path, tiny_onnx: Path) -> None:
    write(data, [(name, f"{text} ÄÄ?") for name, text in rows_of(data)])
    assert evaluate(tiny_onnx, str(data)).unknown == {"Ä": 2 * len(WIDTHS), "?": len(WIDTHS)}


@pytest.mark.parametrize(("groups", "rows"), [(1, 0), (2, 2), (30, 30), (31, 0)])
def test_groups(
    monkeypatch: pytest.MonkeyPatch,
    tiny_onnx: Path,
    picture: Callable[..., NDArray[np.uint8]],
    groups: int,
    rows: int,
) -> None:
    lines = [Line(str(i), "a" * (i + 1), "test", lambda: picture(20), f"hand {i % groups:02}") for i in range(62)]
    monkeypatch.setattr(command.runs, "open_data", lambda *_: Dataset("made", "made", {"test": lines}))
    result = evaluate(tiny_onnx, "made")
    assert len(result.groups) == rows
    if rows:
        assert sum(group.lines for group in result.groups) == 62
        lengths = [sum(len(line.text) for line in lines if line.group == group.group) for group in result.groups]
        edits = [group.cer * length for group, length in zip(result.groups, lengths, strict=True)]
        assert sum(edits) / sum(lengths) == pytest.approx(result.cer)


def shown(result: Any) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(result)
    return capture.get()


def test_people_see_a_table(data: Path, tiny_onnx: Path) -> None:
    write(data, [(name, f"{text} [red]") for name, text in rows_of(data)])
    result = evaluate(tiny_onnx, str(data))
    text = shown(result)
    assert f"{100 * result.cer:.2f}" in text
    assert result.hash in text
    assert "'[' (12)" in text
    assert "'r'" not in text


def test_readings_are_written_beside_a_model_of_a_run(
    data: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    evaluate(tiny_onnx, "data")
    assert list(tiny_onnx.parent.glob("*.json")) == []
    model = Path("runs/1-train/export/tiny.onnx")
    model.parent.mkdir(parents=True)
    shutil.copy(tiny_onnx, model)
    result = evaluate(model, "data")
    (path,) = Path("runs").rglob("*.json")
    assert path == model.with_name("tiny.test.json")
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [(row["id"], row["text"]) for row in rows] == rows_of(data)
    assert all(
        row["text"] == f"x{clean_text(row['reading'])}x" and row["edits"] == 2 and row["score"] < 0 for row in rows
    )
    assert sum(row["edits"] for row in rows) / sum(len(row["text"]) for row in rows) == pytest.approx(result.cer)


def test_the_data_of_the_card_is_the_default(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    with pytest.raises(HtrError, match="--data"):
        evaluate(tiny_model)
    model, card = load_model(tiny_model)
    save_model(tmp_path / "a.safetensors", model, replace(card, data={"name": data.name}))
    assert evaluate(tmp_path / "a.safetensors").lines == len(WIDTHS)
    assert default_data(replace(load_card(tiny_model), data={"name": "synthetic"})) == "synthetic"


def test_an_empty_name_is_not_one_that_is_missing(tiny_onnx: Path) -> None:
    with pytest.raises(HtrError, match="--data"):
        run(EvaluateOptions(model=tiny_onnx, data=""))
    with pytest.raises(HtrError, match="decoder"):
        run(EvaluateOptions(model=tiny_onnx, decoder=""))


def test_a_split_that_is_not_there_is_named(data: Path, tiny_onnx: Path) -> None:
    with pytest.raises(HtrError, match=r"no lines in split 'valid'; it has: test \(12\)"):
        evaluate(tiny_onnx, str(data), split="valid")


def test_a_list_of_lines_that_cannot_be_written_costs_no_result(
    data: Path, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tiny_onnx, str(data), out=data).lines == len(WIDTHS)  # a folder is no file to write
    told = capsys.readouterr()  # on stderr where an earlier test has started a command
    assert str(data) in "".join((told.out + told.err).split())


def test_the_list_of_lines_is_json_whatever_was_read(
    data: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON has neither -inf, the score of the empty reading, nor half of a surrogate pair, as in a bad file name."""
    line = Line("caf\udce9.png", "a", "test", lambda: np.full((32, 40), 255, np.uint8))
    monkeypatch.setattr(command.runs, "open_data", lambda *_: Dataset("made", "made", {"test": [line]}))
    recognizer = htrcompress.load(tiny_onnx)
    monkeypatch.setattr(command, "load", lambda *_: recognizer)
    monkeypatch.setattr(recognizer, "read_each", lambda *_: iter([htrcompress.Reading("", -np.inf)]))
    evaluate(tiny_onnx, "made", out=data / "out.json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    (row,) = json.loads((data / "out.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert (row["id"], row["reading"], row["score"]) == (line.id, "", None)
