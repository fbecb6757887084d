"""The file that rebuilds itself: round trip, damage, hostile cards, a full disk."""

import errno
import io
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file

from htrcompress import models
from htrcompress.card import CARD_KEY, Card
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card, load_model, save_model
from htrcompress.utils import io as htrcompress_io


def rewritten(source: Path, target: Path, card: dict[str, Any] | None = None, **weights: Any) -> Path:
    """A copy of a model file with entries of its card and some of its weights replaced."""
    values = json.loads(load_card(source).to_json()) | (card or {})
    save_file(load_file(source) | weights, target, metadata={CARD_KEY: json.dumps(values)})
    return target


def test_round_trip(tiny_model: Path, tmp_path: Path) -> None:
    model, card = load_model(tiny_model)
    save_model(tmp_path / "new folder" / "b.safetensors", model, card)
    again, card_again = load_model(tmp_path / "new folder" / "b.safetensors")
    assert card_again == card == load_card(tiny_model)
    assert not again.training
    assert models.architecture(again) == models.architecture(model)
    for (name, a), (name_again, b) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == name_again
        assert torch.equal(a, b)
    pixels, widths = torch.zeros(1, 1, 32, 40, dtype=torch.uint8), torch.tensor([40])
    with torch.inference_mode():
        assert torch.equal(model(pixels, widths)[0], again(pixels, widths)[0])


def test_half_weights_are_loaded_as_float(tiny_model: Path, tmp_path: Path) -> None:
    halves = {name: weight.half() for name, weight in load_file(tiny_model).items()}
    model, _ = load_model(rewritten(tiny_model, tmp_path / "half.safetensors", **halves))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.float8_e4m3fn, torch.float64, torch.complex64])
def test_weights_of_other_types_are_refused(tiny_model: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    odd = {name: weight.to(dtype) for name, weight in load_file(tiny_model).items()}
    with pytest.raises(HtrError, match=r"odd\.safetensors"):
        load_model(rewritten(tiny_model, tmp_path / "odd.safetensors", **odd))


@pytest.mark.parametrize("keep", [0, 4, 8, 500, -1, -1000])
def test_a_truncated_file_is_refused(tiny_model: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(tiny_model.read_bytes()[:keep])
    with pytest.raises(HtrError, match=r"cut\.safetensors"):
        load_model(path)


def test_pickles_are_refused_whatever_their_name(tmp_path: Path) -> None:
    for name in ("model.pt", "model.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(HtrError, match=name):
            load_model(tmp_path / name)
    with pytest.raises(HtrError, match="pickle"):
        load_card(tmp_path / "model.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HtrError, match=r"a\.safetensors"):
        load_model(tmp_path / "a.safetensors")


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(HtrError, match=r"a\.safetensors"):
        load_model(tmp_path / "a.safetensors")


def test_weights_must_fit_the_card(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for weights in ({"head.bias": torch.zeros(3)}, {"extra": torch.zeros(1)}):
        with pytest.raises(HtrError, match=next(iter(weights))):
            load_model(rewritten(tiny_model, path, **weights))
    with pytest.raises(HtrError, match="not finite"):
        load_model(rewritten(tiny_model, path, **{"head.bias": torch.full((28,), float("nan"))}))


@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": 10**9},
        {"layers": -1},
        {"layers": 1.5},
        {"layers": "2"},
        {"layers": None},
        {"dim": 16_384},
        {"channels": [16_384] * 4},
        {"channels": [8, 16]},
        {"heads": 0},
        {"heads": 4.0},
        {"dropout": 2.0},
        {"height": 48},
        {"blocks": [[1], 1, 0]},
        {"unheard": 1},
        {"family": "other"},
        {"family": None},
        {"family": []},
    ],
    ids=str,
)
def test_hostile_sizes_are_refused(tiny_model: Path, tmp_path: Path, sizes: dict[str, Any]) -> None:
    architecture = load_card(tiny_model).architecture | sizes
    path = rewritten(tiny_model, tmp_path / "a.safetensors", {"architecture": architecture})
    with pytest.raises(HtrError):
        load_model(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"charset": [chr(0x4E00 + i) for i in range(20_000)]},
        {"charset": ["ab"]},
        {"charset": ["\n"]},
        {"charset": "abc"},
        {"charset": [1]},
        {"charset": []},
        {"architecture": []},
        {"height": 0},
        {"height": 64},
        {"height": True},
        {"height": 10**12},
        {"stride": 3},
        {"max_width": "4096"},
        {"max_width": -4},
        {"unheard": 1},
        {"htrcompress": 2},
        {"attention": {"layers": 1, "dim": 32, "heads": 2.0}},
    ],
    ids=lambda entries: str(entries)[:30],
)
def test_cards_that_make_no_sense_are_refused(tiny_model: Path, tmp_path: Path, entries: dict[str, Any]) -> None:
    path = rewritten(tiny_model, tmp_path / "a.safetensors", entries)
    with pytest.raises(HtrError, match=r"a\.safetensors.*") as refusal:
        load_model(path)
    assert "card" in str(refusal.value)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "1", "{}", "[" * 100_000, '{"htrcompress": 1}'])
def test_texts_that_are_no_card(text: str | None) -> None:
    with pytest.raises(HtrError, match=r"a\.onnx"):
        Card.from_json(text, "a.onnx")


def test_a_card_survives_json(tiny_model: Path) -> None:
    card = replace(load_card(tiny_model), charset=(" ", "é", "漢", '"'), licence="CC-BY-4.0", data={"name": "x"})
    assert Card.from_json(card.to_json(), "a") == card
    assert "\n" not in card.to_json()


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    for path in (tmp_path, Path("."), Path("/")):
        with pytest.raises(HtrError, match="folder"):
            htrcompress_io.write_atomic(path, b"")


def full_disk(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullFile(io.BytesIO):
    """A file on a disk that fills up halfway through the data."""

    def write(self, data: Any) -> int:
        super().write(data[: len(data) // 2])
        full_disk()


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "replace"])
def test_a_full_disk_costs_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    model, card = load_model(tiny_model)
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"the last good one")
    if failing == "open":
        monkeypatch.setattr(htrcompress_io, "open", full_disk, raising=False)
    elif failing == "write":
        monkeypatch.setattr(htrcompress_io, "open", lambda *_: FullFile(), raising=False)
    else:
        monkeypatch.setattr(os, failing, full_disk)
    with pytest.raises(HtrError, match=r"a\.safetensors.*No space left"):
        save_model(path, model, card)
    assert path.read_bytes() == b"the last good one"
    assert os.listdir(tmp_path) == ["a.safetensors"]
