"""Run folders: simultaneous starts, options that are saved and compared, and the data that a model was trained on."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from htrcompress import run_start, runs
from htrcompress.card import Card
from htrcompress.config import AugmentConfig, TrainConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.distill import DistillOptions
from htrcompress.errors import HtrError
from htrcompress.prune import PruneOptions
from htrcompress.train import TrainOptions


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: run_start.create("train"), range(64)))
    assert len(set(made)) == 64 and all(path.is_dir() for path in made)


STARTED = TrainOptions(data="a", model="tiny-student", train=TrainConfig(steps=6, warmup=2))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_start.start("train", replace(STARTED, out=tmp_path / "run"))[0]


@pytest.mark.parametrize(
    "options",
    [
        STARTED,
        TrainOptions(data="#1", augment=None, charset="union", init=Path("&x")),
        DistillOptions(teacher=Path("t"), control=False, unlabelled=Path("u"), llm="name"),
        PruneOptions(flops=0.5, model=Path("m"), data="d", augment=AugmentConfig(stripes=0)),
    ],
)
def test_options_are_saved_and_read_again(options: Any, tmp_path: Path) -> None:
    folder, _ = run_start.start("any", replace(options, out=tmp_path / "run"))
    assert run_start.saved_options(type(options), folder) == options
    _, again = run_start.start("any", type(options)(resume=folder))
    assert replace(again, resume=None) == options


def test_a_resumed_run_takes_the_same_options_only(run: Path) -> None:
    def resumed(given: str = "", **options: Any) -> TrainOptions:
        return run_start.start("train", TrainOptions(resume=run, **options), frozenset(given.split()))[1]

    assert resumed() == replace(STARTED, resume=run)
    assert resumed(model="tiny-student", train=TrainConfig(steps=6)).train == STARTED.train
    assert resumed("data", data="b").data == "b"  # may have moved
    for name, given, options in (
        ("model", "", {"model": "student"}),
        ("train.batch", "", {"train": TrainConfig(batch=4)}),
        ("train.warmup", "train.warmup", {}),  # typed, with the value of its default
        ("augment", "augment", {"augment": None}),
        ("llm", "llm", {"llm": "name"}),  # no language model cannot move
    ):
        with pytest.raises(HtrError, match=f"--{name} "):
            resumed(given, **options)


def test_a_folder_that_is_in_use_is_refused(run: Path, tmp_path: Path) -> None:
    run_start.start("train", replace(STARTED, out=run))  # of a start that failed, only the options are there
    (run / "tiny-student").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine.safetensors").touch()
    for folder in (run, tmp_path / "models"):
        with pytest.raises(HtrError, match="--out"):
            run_start.start("train", replace(STARTED, out=folder))
    with pytest.raises(HtrError, match="--resume"):
        run_start.start("train", TrainOptions(resume=tmp_path / "models"))
    with pytest.raises(HtrError, match="--out"):
        run_start.start("train", TrainOptions(resume=run, out=tmp_path / "other"))
    with pytest.raises(HtrError, match=r"config\.yaml"):
        run_start.start("prune", PruneOptions(resume=run))


def test_several_processes_must_be_given_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HtrError, match="--out"):
        run_start.start("train", STARTED)


def dataset(folder: Path, *texts: str) -> Path:
    folder.mkdir(parents=True)
    for split, lines in (("train", texts), ("valid", texts[:1])):
        for number in range(len(lines)):
            (folder / f"{split}-{number}.png").touch()
        rows = (f"{split}-{number}.png\t{text}\n" for number, text in enumerate(lines))
        (folder / f"{split}.tsv").write_text("".join(rows))
    return folder


def card_of(folder: Path) -> Card:
    found = open_dataset(str(folder))
    splits = {s: {"lines": len(found.split(s)), "hash": found.identity(s)} for s in ("train", "valid")}
    return Card("mine", {}, ("x",), 32, 4, 99, {"name": folder.name, "splits": splits})


def test_data_found_by_its_name_must_have_the_lines_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_of(dataset(tmp_path / "here/lines", "x", "y"))
    dataset(tmp_path / "there/lines", "others", "y")
    (tmp_path / "nowhere").mkdir()
    file = tmp_path / "model.safetensors"
    monkeypatch.chdir(tmp_path / "here")
    assert runs.own_data(file, card) == "lines"
    few = {**card.data, "splits": {**card.data["splits"], "train": {"lines": 1, "hash": "of one line"}}}
    assert runs.own_data(file, replace(card, data=few)) == "lines"  # trained on some of the lines
    for folder in ("there", "nowhere"):
        monkeypatch.chdir(tmp_path / folder)
        with pytest.raises(HtrError, match="--data"):
            runs.own_data(file, card)
    for unknown in ({}, {"name": "others"}, {"name": 3, "splits": []}):
        with pytest.raises(HtrError, match="--data"):
            runs.own_data(file, replace(card, data=unknown))


def test_a_run_knows_where_its_data_is(tmp_path: Path, run: Path) -> None:
    folder = dataset(tmp_path / "lines", "x", "y")
    shutil.rmtree(run)
    run_start.start("train", replace(STARTED, data=str(folder), out=run))
    for file in (run / "student.safetensors", run / "export/student/model.onnx"):
        assert runs.own_data(file, card_of(folder)) == str(folder)
