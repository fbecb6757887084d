"""Adapting a trained model to a new hand: derived settings, lines held back, what is reported, what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from trainings import SHORT

from benchmarks.results import FOLDER
from benchmarks.studies.adaptation import AdaptationOptions, study_adaptation
from htrcompress.card import Card
from htrcompress.cli import to_json
from htrcompress.config import TrainConfig
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.splitting import FEWEST_TO_HOLD_BACK, with_validation
from htrcompress.distill import DistillOptions
from htrcompress.errors import HtrError
from htrcompress.export.lines import ProofLines
from htrcompress.models.serialization import load_card, load_model
from htrcompress.runs import open_data
from htrcompress.train import TrainOptions, train
from htrcompress.training import adaptation
from htrcompress.training.adaptation import REMAINING, expected, settings
from htrcompress.training.data import open_training_data
from tools.tables import render

Write = Callable[[Path, dict[str, int]], Path]


def numbered(count: int, page_of: Callable[[int], str] = lambda number: "", group: str = "") -> Dataset:
    lines = [Line(f"{n}.png", "a", Path(f"{n}.png"), "train", group, page_of(n)) for n in range(count)]
    return Dataset("hand", "tsv", {"train": lines, "test": lines[:1]})


def test_steps_and_rate_follow_from_the_number_of_lines() -> None:
    open_, sizes = TrainConfig(), (4, 16, 64, 256, 2000)
    found = [settings(open_, lines, None) for lines in sizes]
    passes = [int(config.steps or 0) * config.batch / lines for config, lines in zip(found, sizes, strict=True)]
    assert passes == sorted(passes, reverse=True) and passes[0] < 100  # the fewer lines, the more often each
    assert all(config.lr < open_.for_preset(None).lr and config.keep and config.patience for config in found)
    mine = settings(replace(open_, lr=0.1, batch=3, keep=0.0, patience=2), 64, None)
    assert (mine.lr, mine.batch, mine.keep, mine.patience) == (0.1, 3, 0.0, 2)
    for config in (TrainConfig(steps=7), TrainConfig(epochs=2)):
        assert settings(config, 64, None) == config


def test_validation_lines_are_taken_by_page() -> None:
    made, unit = with_validation(numbered(64, lambda n: f"page {n // 8}"), seed=0)
    pages = [{line.page for line in made.splits[split]} for split in ("train", "valid")]
    assert unit == "page" and not pages[0] & pages[1] and len(made.splits["valid"]) == 8
    assert len(made.splits["test"]) == 1
    assert with_validation(numbered(64, lambda n: f"page {n // 8}"), 0)[0].identity("valid") == made.identity("valid")
    one_long_page, unit = with_validation(numbered(64, lambda n: f"page {n // 32}"), seed=0)
    assert unit == "line" and len(one_long_page.splits["valid"]) == 8
    for count, unit in ((FEWEST_TO_HOLD_BACK - 1, None), (FEWEST_TO_HOLD_BACK, "line")):
        assert with_validation(numbered(count, group="one hand"), 0)[1] == unit
    own = replace(made, splits={**made.splits, "valid": made.splits["valid"][:2]})
    assert with_validation(own, 0) == (own, None)


@pytest.fixture
def hand(tmp_path: Path) -> Callable[[int], tuple[Path, Card]]:
    """`hand(count)`: a dataset of so many training lines alone, and the card of a model that learnt it."""

    def make(count: int) -> tuple[Path, Card]:
        folder = tmp_path / "hand"
        folder.mkdir()
        for number in range(count):
            Image.new("L", (60, 32), number).save(folder / f"{number}.png")
        rows = (f"{number}.png\tline {number}\n" for number in range(count))
        (folder / "train.tsv").write_text("".join(rows), encoding="utf-8")
        used, unit = with_validation(open_dataset(str(folder)), 3)
        splits = {name: {"lines": len(some), "hash": used.identity(name)} for name, some in used.splits.items()}
        data = {"name": "hand", "splits": splits, **({"held_back": unit} if unit else {})}
        return folder, Card("a", {}, ("l",), 32, 4, 100, data, training={"seed": 3})

    return make


def test_lines_that_were_held_back_are_validation_lines_after_the_training(
    hand: Callable[[int], tuple[Path, Card]], tmp_path: Path
) -> None:
    folder, card = hand(40)
    (tmp_path / "config.yaml").write_text(f"data: {folder}\n", encoding="utf-8")
    for named in (None, str(folder)):
        dataset = open_data(named, tmp_path / "a.safetensors", card)
        assert {name: len(lines) for name, lines in dataset.splits.items()} == {"train": 35, "valid": 5}
        assert dataset.identity("valid") == card.data["splits"]["valid"]["hash"]
    (folder / "train.tsv").write_text("0.png\tother\n", encoding="utf-8")
    assert "valid" not in open_data(str(folder), tmp_path / "a.safetensors", card).splits


def test_of_a_hand_without_validation_lines_training_lines_show_how_large_activations_are(
    hand: Callable[[int], tuple[Path, Card]],
) -> None:
    folder, card = hand(4)
    note, batches = ProofLines(str(folder), lambda card: "", {}).for_activations(card)
    assert "4 training lines" in note and sum(len(widths) for _, widths in batches) == 4


def test_images_that_cannot_be_used_are_left_out_of_proofs_and_watched_lines(
    hand: Callable[[int], tuple[Path, Card]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, card = hand(8)
    (folder / "3.png").write_bytes(b"no picture")
    (folder / "valid.tsv").write_text((folder / "train.tsv").read_text(encoding="utf-8"), encoding="utf-8")
    proofs = ProofLines(str(folder), lambda card: "", {})
    assert len(proofs.calibration(card)) == len(proofs.valid(card)) == 7 and "1 of 8" in caplog.text
    data = open_training_data(str(folder), 32, TrainConfig(max_unreadable=0.2, max_too_narrow=0.9), ReadConfig())
    assert len(adaptation.Watch(data, str(folder), ReadConfig(), 0.2).parts[1][2]) == 7
    with pytest.raises(HtrError, match=r"--train\.max_unreadable"):
        adaptation.Watch(data, str(folder), ReadConfig())


def test_more_lines_are_expected_to_help() -> None:
    rates = [cer for _, cer in expected(16, 0.2)]
    assert [lines for lines, _ in expected(64, 0.2)] == [256] and expected(5000, 0.2) == []
    assert [0.2, *rates] == sorted([0.2, *rates], reverse=True)
    assert [share for _, share in REMAINING] == sorted((share for _, share in REMAINING), reverse=True)


def test_an_adaptation_tells_what_it_gained_and_what_was_forgotten(
    whole: Path, lines: str, write_lines: Write, tmp_path: Path
) -> None:
    hand = write_lines(tmp_path / "hand", {"train": 40, "valid": 0, "test": 0})
    short = replace(SHORT, keep=0.25)
    options = TrainOptions(data=str(hand), init=whole, watch=lines, out=tmp_path / "run", train=short)
    result = train(options)
    assert result.adaptation is not None and result.adaptation.lines == 35
    own, watched = result.adaptation.changes
    assert (own.data, own.split, own.lines) == ("hand", "valid", 5) and own.after == pytest.approx(result.fit.cer)
    assert (watched.data, watched.split, watched.lines) == ("lines", "valid", 6)
    assert watched.before == pytest.approx(load_card(whole / "tiny-student.safetensors").metrics["valid"]["cer"])
    card = load_card(result.fit.path)
    assert card.data["held_back"] == "line" and card.data["splits"]["train"]["lines"] == 35
    console = Console(width=100, record=True)
    console.print(result)
    told = console.export_text()
    assert "lines, valid" in told and "with 256" in told
    assert json.loads(to_json(result))["adaptation"]["changes"][1]["data"] == "lines"
    again = train(TrainOptions(resume=tmp_path / "run"))  # nothing is left to do but to tell it again
    assert again.adaptation == result.adaptation


def test_a_share_of_the_initial_weights_is_kept(whole: Path, lines: str, tmp_path: Path) -> None:
    start = load_model(whole / "tiny-student.safetensors")[0].state_dict()
    short = replace(SHORT, valid_every=6)
    found = {}
    for keep in (None, 0.5):
        run = tmp_path / str(keep)
        path = train(TrainOptions(data=lines, init=whole, out=run, train=replace(short, keep=keep))).fit.path
        found[keep] = load_model(path)[0].state_dict()
    for name, weights in found[0.5].items():
        torch.testing.assert_close(weights, (start[name] + found[None][name]) / 2)


def test_few_lines_are_all_learnt(whole: Path, write_lines: Write, tmp_path: Path) -> None:
    hand = write_lines(tmp_path / "hand", {"train": 6, "valid": 0, "test": 0})
    result = train(TrainOptions(data=str(hand), init=whole, out=tmp_path / "run", train=SHORT))
    assert result.fit.cer is None and result.fit.steps == 6 and result.adaptation is not None
    [own] = result.adaptation.changes
    assert (own.split, own.lines, own.after) == ("train", 6, None)
    assert load_card(result.fit.path).metrics == {} and "valid" not in load_card(result.fit.path).data["splits"]
    console = Console(width=100, record=True)
    console.print(result)
    assert "not measured" in console.export_text()


def test_a_training_stops_when_validation_does_not_improve(whole: Path, lines: str, tmp_path: Path) -> None:
    lazy = replace(SHORT, steps=40, valid_every=1, lr=1e-9, patience=3)  # nothing is learnt at this rate
    result = train(TrainOptions(data=lines, init=whole, out=tmp_path / "run", train=lazy))
    assert result.fit.steps == 4
    assert train(TrainOptions(resume=tmp_path / "run")).fit.steps == 4


def test_what_cannot_be_adapted_is_named(whole: Path, write_lines: Write, tiny_onnx: Path, tmp_path: Path) -> None:
    three = write_lines(tmp_path / "three", {"train": 3, "valid": 0, "test": 0})
    with pytest.raises(HtrError, match="3 training lines"):
        train(TrainOptions(data=str(three), init=whole, out=tmp_path / "a", train=SHORT))
    hand = write_lines(tmp_path / "hand", {"train": 8, "valid": 0, "test": 0})
    for exported in (tiny_onnx, Path("copiste_fr")):  # by its name, the package has an INT8 file
        with pytest.raises(HtrError, match=r"exported.*\.safetensors"):
            train(TrainOptions(data=str(hand), init=exported, out=tmp_path / "b", train=SHORT))
        shutil.rmtree(tmp_path / "b")
    with pytest.raises(HtrError, match=r"hand has no lines in split 'valid'"):
        train(TrainOptions(data=str(hand), init=whole, watch=str(hand), out=tmp_path / "c", train=SHORT))
    for options in ({"watch": "x"}, {"train": TrainConfig(keep=0.5)}):
        with pytest.raises(HtrError, match=r"--init"):
            TrainOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(HtrError, match=r"--train\.keep.*--init"):
        DistillOptions(train=TrainConfig(keep=0.5))


def test_the_study_measures_every_number_of_lines(
    whole: Path, lines: str, write_lines: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "PASSES", 2)
    hand = write_lines(tmp_path / "hand", {"train": 36, "valid": 0, "test": 4})
    options = AdaptationOptions(
        whole / "tiny-student.safetensors", str(hand), "5,all", also=lines, seeds=2, small=5, runs=tmp_path / "runs"
    )
    result = study_adaptation(replace(options, out=tmp_path / "adaptation.json"))
    assert [(size["lines"], len(size["cer"])) for size in result.sizes] == [(5, 2), (36, 1)]
    assert set(result.others[0]["after"]) == {"5", "36"} and result.data["training_lines"] == 36
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        name + end for name in ("5-0", "5-1", "36-0") for end in ("", "-lines")
    }
    assert study_adaptation(options).sizes == result.sizes  # nothing is trained again
    assert "| 36 |" in "\n".join(render(json.loads((tmp_path / "adaptation.json").read_text(encoding="utf-8"))))
    for wrong in ("5,many", "0", "37"):
        with pytest.raises(HtrError, match="--lines"):
            study_adaptation(replace(options, lines=wrong))


def test_what_is_expected_is_what_was_measured() -> None:
    path = FOLDER / "adaptation.json"
    if not path.is_file():
        pytest.skip("benchmarks/results/adaptation.json is not there: nothing was measured yet")
    sizes = json.loads(path.read_text(encoding="utf-8"))["sizes"]
    measured = [(size["lines"], round(1 + size["relative"], 2)) for size in sizes]
    assert list(REMAINING) == [(0, 1.0), *measured], "copy the study's figures into REMAINING"
