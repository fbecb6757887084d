"""What is measured of trained models: students against controls, fine-tuning curves, files that ship."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import finetune
from benchmarks.finetune import fine_tune
from benchmarks.publish import publish
from benchmarks.seeds import compare_seeds
from benchmarks.training import VARIANTS, measure_training
from htrcompress.artifact import load_card, load_model, save_model
from htrcompress.config import TrainConfig
from htrcompress.errors import HtrError
from htrcompress.evaluate import evaluate
from htrcompress.metrics import mean_difference, score

Picture = Callable[..., NDArray[np.uint8]]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def data(picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of noise with texts."""
    folder = tmp_path_factory.mktemp("noise")
    for number in range(8):
        Image.fromarray(picture(80 + 10 * number)).save(folder / f"{number}.png")
    for split in ("train", "valid", "test", "test_more"):
        rows = (f"{number}.png\t{'abcdefgh'[number]} é\n" for number in range(8))
        (folder / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return folder


def test_the_mean_over_seeds_is_paired_by_line() -> None:
    truth = ["abcd", "efgh", "ijkl"]
    better, worse = score(truth, ["abcd", "efgh", "ijkx"]), score(truth, ["abcx", "efgx", "ijxx"])
    mean, low, high = mean_difference([better, worse], [worse, worse])
    assert mean == pytest.approx((1 - 4) / 12 / 2) and low <= mean <= high < 0
    with pytest.raises(HtrError, match="same lines"):
        mean_difference([better], [score(["a"], ["a"])])


def test_students_are_compared_with_controls_over_seeds(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    model, card = load_model(tiny_model)
    for seed in (0, 1):
        for role in ("teacher", "student", "control"):
            (tmp_path / f"{seed}").mkdir(exist_ok=True)
            training = {"seed": seed, "of": 5, "preset": "tiny-student", "seconds": 1.0}
            save_model(tmp_path / f"{seed}/{role}.safetensors", model, replace(card, training=training))
    result = compare_seeds([tmp_path / "0", tmp_path / "1"], str(data), tmp_path / "seeds.json")
    assert list(result.splits) == ["test", "test_more"]
    assert tuple(result.splits["test"]["difference"]) == (0.0, 0.0, 0.0)  # the files are the same
    assert len(result.splits["test"]["student"]) == 2
    assert json.loads((tmp_path / "seeds.json").read_text())["splits"]["test"]["lines"] == 8
    with pytest.raises(HtrError, match="differ in their seed"):
        compare_seeds([tmp_path / "0", tmp_path / "0"], str(data))
    (tmp_path / "1/control.safetensors").unlink()
    with pytest.raises(HtrError, match="holds no control"):
        compare_seeds([tmp_path / "0", tmp_path / "1"], str(data))


def test_a_published_file_scores_what_its_card_says(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "good.safetensors"
    result = publish(tiny_model, out, str(data), "Apache-2.0; lines by Nobody, CC BY 4.0")
    card = load_card(out)
    assert card.name == "good" and "Nobody" in card.licence and set(card.metrics) == {"test", "test_more"}
    assert card.metrics["test"]["cer"] == result.metrics["test"]["cer"] == evaluate(out, str(data)).cer
    assert out.stat().st_size < 0.6 * tiny_model.stat().st_size
    with pytest.raises(HtrError, match="name the trained file"):
        publish()
    with pytest.raises(HtrError, match="is the trained file itself"):
        publish(tiny_model, tiny_model, str(data))
    with pytest.raises(HtrError, match="no lines in split 'nix'"):
        publish(tiny_model, tmp_path / "bad.safetensors", str(data), splits="nix")
    assert not (tmp_path / "bad.safetensors").exists()


def test_the_curve_of_fine_tuning(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "LINES", (2, 4, 50))  # there are 8: no point may claim 50
    few = TrainConfig(batch=4, warmup=1, precision="fp32")
    settings = {"data": str(data), "preset": "tiny-student", "runs": tmp_path / "runs", "steps": 1, "train": few}
    result = fine_tune(tiny_model, **settings)  # type: ignore[arg-type]
    starts = [(point["lines"], point["start"]) for point in result.points]
    assert starts == [(0, "model"), *((n, start) for n in (2, 4) for start in ("model", "nothing"))]
    assert all(point["cer"] >= 0 for point in result.points)
    again = fine_tune(tiny_model, **settings)  # type: ignore[arg-type]
    assert again.points == result.points  # what is trained is not trained again
    other = tmp_path / "other.safetensors"
    shutil.copy(tiny_model, other)
    with pytest.raises(HtrError, match="--init differs"):  # its curve would be that of the first model
        fine_tune(other, **settings)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_speed_of_training_is_measured(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    result = measure_training(str(tmp_path / "data"), "tiny-student", batch=4, steps=2, rounds=1)
    assert list(result.rows) == list(VARIANTS) and all(row["gain"] > 0 for row in result.rows.values())


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.safetensors")), ids=lambda path: path.stem)
def test_what_ships_is_small_and_says_where_it_comes_from(path: Path) -> None:
    _, card = load_model(path)
    assert path.stat().st_size <= 20 * 2**20 and card.licence.startswith("Apache-2.0")
    assert card.data["splits"]["train"]["hash"] and card.training["seconds"] > 0
    assert "/" not in card.data["name"] and f"`{path.name}`" in (ROOT / "models/README.md").read_text()
