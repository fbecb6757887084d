"""What is measured of trained models: arms over several seeds, the decode, fine-tuning curves, files that ship."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.studies import finetuning
from benchmarks.studies.beam_settings import BeamSettingsOptions, compare_settings
from benchmarks.studies.calibration import CalibrationStudyOptions, study_calibration
from benchmarks.studies.decode_cost import DecodeOptions, measure_decode
from benchmarks.studies.decoders import DecodersOptions, compare_decoders
from benchmarks.studies.finetuning import FineTuningOptions, fine_tune
from benchmarks.studies.seeds import SeedsOptions, compare_seeds
from benchmarks.studies.training_speed import VARIANTS, SpeedOptions, measure_training
from htrcompress.config import TrainConfig
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.evaluate import EvaluateOptions, evaluate
from htrcompress.lm import LmOptions, make_language_model
from htrcompress.metrics import mean_difference, score
from htrcompress.models.serialization import load_card, load_model, save_model
from tools.publish import PublishOptions, publish
from tools.tables import render

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


def test_arms_are_compared_over_seeds(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    model, card = load_model(tiny_model)
    for seed in (0, 1):
        training = {"seed": seed, "of": 5, "preset": "tiny-student", "seconds": 1.0}
        save_model(tmp_path / f"{seed}.safetensors", model, replace(card, training=training))
    zero, one = (str(tmp_path / f"{seed}.safetensors") for seed in (0, 1))
    files = [f"control={zero}", f"control={one}", f"student={zero}", f"student={one}", f"teacher={one}"]
    result = compare_seeds(SeedsOptions(files, str(data), tmp_path / "seeds.json"))
    assert list(result.splits) == ["test", "test_more"]
    arms = result.splits["test"]["arms"]
    assert {arm: len(found["cer"]) for arm, found in arms.items()} == {"control": 2, "student": 2, "teacher": 1}
    assert arms["control"]["difference"] is None
    assert arms["student"]["difference"] == arms["teacher"]["difference"] == (0.0, 0.0, 0.0)  # the weights are the same
    assert json.loads((tmp_path / "seeds.json").read_text())["splits"]["test"]["lines"] == 8
    for wrong, message in (
        ([f"control={zero}", f"control={zero}", f"student={one}"], "the same seed"),
        ([f"control={zero}", f"control={one}", f"student={one}", f"student={zero}"], "in order"),
        ([f"control={zero}", f"control={one}"], "two arms"),
        ([zero, one], "must be ARM=FILE"),
    ):
        with pytest.raises(HtrError, match=message):
            compare_seeds(SeedsOptions(wrong, str(data)))


def test_the_cost_of_the_decode(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    options = DecodeOptions(tiny_model, str(data), batch=3, threads=1, lines=7, rounds=2, out=tmp_path / "decode.json")
    result = measure_decode(options)
    frames, classes = 40, 27  # widths 80, 90, ..., 150 scaled by nothing; a batch is as wide as its widest line
    assert 0 < result.bytes["graph"] <= 4 * frames + 8
    assert 4 * classes * 20 < result.bytes["none"] <= 4 * classes * frames + 4
    assert result.share[1] <= result.share[0] <= result.share[2] < 1
    assert json.loads((tmp_path / "decode.json").read_text())["lines"] == 7
    with pytest.raises(HtrError, match="--rounds is 0"):
        measure_decode(replace(options, rounds=0))


def test_decoders_are_compared(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    make_language_model(LmOptions([str(data)], order=3, out=tmp_path / "lm.ngram"))
    options = DecodersOptions(
        tiny_model,
        str(data),
        rounds=1,
        out=tmp_path / "decoders.json",
        lm=LanguageOptions(tmp_path / "lm.ngram"),
        larger=tmp_path / "lm.ngram",
    )
    result = compare_decoders(options)
    assert set(result.splits) == {"test", "test_more"} and set(result.speed) == {
        "greedy",
        "beam",
        "beam, language model",
        "beam, larger text",
    }
    assert result.splits["test"]["decoders"]["greedy"]["difference"] == (0.0, 0.0, 0.0)
    page = "\n".join(render(json.loads((tmp_path / "decoders.json").read_text())))
    assert "| beam, language model |" in page and result.splits["test"]["hash"] in page
    with pytest.raises(HtrError, match="--lm"):
        DecodersOptions(tiny_model)


def test_orders_and_widths_are_compared(tiny_model: Path, lines: str, tmp_path: Path) -> None:
    options = BeamSettingsOptions(tiny_model, lines, orders=(2, 3), widths=(1, 4), lines=5, out=tmp_path / "s.json")
    result = compare_settings(options)
    assert [(row["order"], row["width"]) for row in result.rows] == [(2, 1), (2, 4), (3, 1), (3, 4)]
    assert result.rows[2]["bytes"] > result.rows[1]["bytes"] and result.lines == 5
    page = "\n".join(render(json.loads((tmp_path / "s.json").read_text())))
    assert "| 3 |" in page and result.data["hash"] in page


def test_sizes_are_compared(tiny_model: Path, lines: str, tmp_path: Path) -> None:
    options = BeamSettingsOptions(tiny_model, lines, lines, (0.015,), (4,), (4,), 5, tmp_path / "s.json")
    whole, pruned = compare_settings(options).rows
    assert (whole["size"], pruned["size"]) == (None, 0.015)
    assert pruned["bytes"] <= 0.015 * 2**20 < whole["bytes"]
    page = "\n".join(render(json.loads((tmp_path / "s.json").read_text())))
    assert page.count("| 4 |") == 2


def test_confidences_are_studied(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    make_language_model(LmOptions([str(data)], order=3, out=tmp_path / "lm.ngram"))
    options = CalibrationStudyOptions(
        tiny_model, str(data), fit="test_more", lm=LanguageOptions(tmp_path / "lm.ngram"), out=tmp_path / "c.json"
    )
    result = study_calibration(options)
    assert set(result.decoders) == {"greedy", "beam, language model"} and set(result.splits) == {"test_more", "test"}
    found = result.decoders["greedy"]
    assert found["trade"][0]["cer"] == pytest.approx(found["cer"])
    assert all(row["lowest"] <= row["cer"] for row in found["trade"])
    assert sum(b["count"] for b in found["characters"]["reliability"]["after"]) == found["characters"]["count"]
    page = "\n".join(render(json.loads((tmp_path / "c.json").read_text())))
    assert "% sent" in page and result.splits["test"]["hash"] in page
    with pytest.raises(HtrError, match="--lm"):
        CalibrationStudyOptions(tiny_model)


def test_a_published_file_scores_what_its_card_says(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "good.safetensors"
    result = publish(PublishOptions(tiny_model, out, str(data), "Apache-2.0; lines by Nobody, CC BY 4.0"))
    card = load_card(out)
    assert card.name == "good" and "Nobody" in card.licence and set(card.metrics) == {"test", "test_more"}
    assert card.data["path"] == data.name and str(tmp_path.parent) not in card.to_json()
    assert card.metrics["test"]["cer"] == result.metrics["test"]["cer"] == evaluate(EvaluateOptions(out, str(data))).cer
    assert out.stat().st_size < 0.6 * tiny_model.stat().st_size
    with pytest.raises(HtrError, match="name the trained file"):
        publish(PublishOptions())
    with pytest.raises(HtrError, match="is the trained file itself"):
        publish(PublishOptions(tiny_model, tiny_model, str(data)))
    with pytest.raises(HtrError, match="no lines in split 'nix'"):
        publish(PublishOptions(tiny_model, tmp_path / "bad.safetensors", str(data), splits="nix"))
    assert not (tmp_path / "bad.safetensors").exists()


def test_the_curve_of_fine_tuning(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "LINES", (4, 6, 50))  # there are 8: no point may claim 50
    few = TrainConfig(batch=4, warmup=1, precision="fp32")
    settings = {"data": str(data), "preset": "tiny-student", "runs": tmp_path / "runs", "steps": 1, "train": few}
    result = fine_tune(FineTuningOptions(tiny_model, **settings))  # type: ignore[arg-type]
    starts = [(point["lines"], point["start"]) for point in result.points]
    assert starts == [(0, "model"), *((n, start) for n in (4, 6) for start in ("model", "nothing"))]
    assert all(point["cer"] >= 0 for point in result.points)
    again = fine_tune(FineTuningOptions(tiny_model, **settings))  # type: ignore[arg-type]
    assert again.points == result.points  # what is trained is not trained again
    with pytest.raises(HtrError, match=r"model-4.*--train.*--runs"):
        fine_tune(FineTuningOptions(tiny_model, **{**settings, "train": replace(few, seed=1)}))  # type: ignore[arg-type]
    other = tmp_path / "other.safetensors"
    network, card = load_model(tiny_model)
    save_model(other, network, replace(card, training={"steps": 1}))
    with pytest.raises(HtrError, match="--init differs"):  # its curve would be that of the first model
        fine_tune(FineTuningOptions(other, **settings))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_speed_of_training_is_measured(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    result = measure_training(SpeedOptions(str(tmp_path / "data"), "tiny-student", batch=4, steps=2, rounds=1))
    assert list(result.rows) == list(VARIANTS) and all(row["gain"] > 0 for row in result.rows.values())


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.safetensors")), ids=lambda path: path.stem)
def test_what_ships_is_small_and_says_where_it_comes_from(path: Path) -> None:
    _, card = load_model(path)
    assert path.stat().st_size <= 20 * 2**20 and card.licence.startswith("Apache-2.0")
    assert card.data["splits"]["train"]["hash"] and card.training["seconds"] > 0
    assert "/" not in card.data["name"] and f"`{path.name}`" in (ROOT / "models/README.md").read_text()
