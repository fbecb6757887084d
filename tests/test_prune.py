"""Pruning: what is removed, that nothing else changes, the sizes that are asked for, and the command."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from htrcompress import models
from htrcompress.card import Card
from htrcompress.compression import Target, pruning
from htrcompress.config import DistillConfig, TrainConfig
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import HtrError
from htrcompress.export.onnx_export import export_onnx
from htrcompress.models.base import LineRecognizer
from htrcompress.models.gated import GatedConfig, GatedRecognizer
from htrcompress.models.serialization import load_card, load_model, save_model
from htrcompress.prune import PruneOptions, prune
from htrcompress.runtime import load

ROOT = Path(__file__).parent.parent
SMALL = GatedConfig(32, (8, 16, 16, 24), (1, 2, 0), dim=48, layers=2, heads=2)
PRUNED = {"stem": 4, "stage0": 12, "stage1": 8, "stage2": 20, "qk0": 20, "v0": 20, "qk1": 12, "v1": 12}
PRUNED |= {"hidden0": 112, "hidden1": 144}


@pytest.fixture
def network() -> GatedRecognizer:
    torch.manual_seed(0)
    made = GatedRecognizer(SMALL, 11).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


@pytest.fixture
def picture() -> tuple[Tensor, Tensor]:
    pixels = torch.randint(0, 255, (3, 1, 32, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return pixels, torch.tensor([120, 77, 1])


def test_plain_convolutions_compute_the_same(network: GatedRecognizer, picture: tuple[Tensor, Tensor]) -> None:
    same = pruning.with_plain_convolutions(network).eval()
    assert not same.config.standardized and models.build(models.architecture(same), 11)
    with torch.no_grad():
        torch.testing.assert_close(same(*picture)[0], network(*picture)[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_units_that_nobody_reads_go_without_a_trace(network: GatedRecognizer, picture: tuple[Tensor, Tensor]) -> None:
    whole = pruning.with_plain_convolutions(network).eval()
    config = whole.with_units(PRUNED)
    scores = {}
    for name, group in whole.channel_groups().items():
        gone = torch.randperm(group.units)[: group.units - PRUNED[name]]
        scores[name] = torch.ones(group.units).index_fill(0, gone, 0)
        for cut in group.cuts:
            if cut.axis == 1 or name.startswith("qk"):
                cut.parameter.index_fill_(cut.axis, cut.expand(gone).flatten(), 0)
    for stage, (blocks, left) in enumerate(zip(config.blocks, config.channels[1:], strict=True)):
        for block in range(1, 1 + blocks):
            whole.stages[stage][block].excite.up.weight[:, left // 4 :] = 0  # type: ignore[index,union-attr]
    small = pruning.shrink(whole, scores, config).eval()
    assert sum(p.numel() for p in small.parameters()) < 0.75 * sum(p.numel() for p in whole.parameters())
    torch.testing.assert_close(small(*picture)[0], whole(*picture)[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["teacher", "student-xs", "tiny-student"])
def test_multiplications_are_those_that_pytorch_counts(name: str) -> None:
    config = models.preset(name)
    with torch.device("meta"):
        network = GatedRecognizer(config, 1)
        pixels, widths = torch.empty(1, 1, config.height, pruning.WIDTH, dtype=torch.uint8), torch.empty(1)
    with FlopCounterMode(display=False) as counter:
        network(pixels, widths.long())
    assert 2 * pruning.multiplications(config) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_what_disturbs_the_loss_is_important(network: GatedRecognizer, picture: tuple[Tensor, Tensor]) -> None:
    whole = pruning.with_plain_convolutions(network)
    with torch.no_grad():
        whole.stages[0][0].value.weight[3] = 0  # type: ignore[index,union-attr]
        whole.stages[0][0].value.bias[3] = 0  # type: ignore[index,union-attr]
    losses = (whole(*picture)[0].square().mean() for _ in range(2))
    scores = pruning.importance(whole, losses)
    assert all(values.isfinite().all() for values in scores.values())
    half = 0.5 * pruning.multiplications(SMALL)
    smaller = pruning.choose(whole, whole, scores, pruning.multiplications, half)
    assert pruning.multiplications(smaller) <= half
    assert all(size >= 0.25 * before - 4 for size, before in zip(smaller.channels, SMALL.channels, strict=True))


def test_the_command_leaves_an_ordinary_model(
    tmp_path: Path, write_lines: Callable[[Path, dict[str, int]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write_lines(tmp_path / "lines", {"train": 24, "valid": 6, "test": 4})
    model = ROOT / "models/tiny-student.safetensors"
    short = TrainConfig(steps=4, batch=8, valid_every=2, warmup=1)  # in BF16 where that is the default
    everywhere = DistillConfig(frames="all")
    result = prune(
        PruneOptions(model=model, data=str(lines), flops=0.5, out=tmp_path / "run", train=short, distill=everywhere)
    )
    assert 0.4 < result.flops[1] / result.flops[0] <= 0.51 and result.parameters[1] < result.parameters[0]
    network, card = load_model(result.path)
    assert sum(p.numel() for p in network.parameters()) == result.parameters[1]
    assert card.training["pruned"]["name"] == load_card(model).name and not card.architecture["standardized"]
    export_onnx(network, card, tmp_path / "model.onnx")
    pictures = [line.pixels() for line in open_synthetic({"test": 3}).splits["test"]]
    assert load(tmp_path / "model.onnx").read(pictures) and load(result.path).read(pictures)

    def apply(*_: object) -> None:
        raise AssertionError("scores may differ on another machine, so a resumed run keeps its start weights")

    monkeypatch.setattr(pruning.ChannelPruning, "apply", apply)
    again = prune(PruneOptions(resume=tmp_path / "run"))
    assert replace(again, cer=result.cer) == result


def test_characters_that_the_model_lacks_are_left_out(
    tmp_path: Path, write_lines: Callable[[Path, dict[str, int]], Path]
) -> None:
    lines = write_lines(tmp_path / "lines", {"train": 8, "valid": 2})
    table = lines / "train.tsv"
    table.write_text("".join(f"{row}Ω\n" for row in table.read_text(encoding="utf-8").splitlines()), encoding="utf-8")
    model = ROOT / "models/tiny-student.safetensors"
    short = TrainConfig(steps=1, batch=4, max_too_narrow=1.0)
    result = prune(PruneOptions(model=model, data=str(lines), flops=0.9, out=tmp_path / "run", train=short))
    card = load_card(result.path)
    assert card.charset == load_card(model).charset and card.data["unknown_characters"] == {"Ω": 8}
    row = json.loads((tmp_path / "run/pruned/log.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["ctc"] < 100  # an output for the character that can never be given would cost 30,000 each


def test_a_recurrent_model_is_not_pruned(tmp_path: Path) -> None:
    model = models.create("tiny-hybrid", 4)
    card = Card("rnn", models.architecture(model), (" ", "a", "b"), height=32, stride=models.STRIDE, max_width=500)
    save_model(tmp_path / "rnn.safetensors", model, card)
    with pytest.raises(HtrError, match="HybridRecognizer"):
        prune(PruneOptions(model=tmp_path / "rnn.safetensors", data="synthetic", flops=0.5, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--flops.*--params"),
        ({"flops": 0.5, "params": 0.5}, "--flops.*--params"),
        ({"flops": 1.5}, "--flops"),
        ({"params": 0.0}, "--params"),
        ({"flops": 0.5, "train": TrainConfig(keep=0.5)}, "--train.keep"),
        ({"flops": 0.01, "data": "synthetic"}, "cannot shrink to 1.0%"),
    ],
)
def test_targets_that_make_no_sense(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = open_synthetic({"train": 8, "valid": 2})
    monkeypatch.setattr("htrcompress.data.synthetic.open_synthetic", lambda: few)
    with pytest.raises(HtrError, match=message):
        prune(PruneOptions(model=ROOT / "models/tiny-student.safetensors", out=tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["missing.safetensors", "damaged.safetensors"])
def test_a_model_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes((ROOT / "models/tiny-student.safetensors").read_bytes()[:-7])
    with pytest.raises(HtrError, match=name):
        prune(PruneOptions(model=tmp_path / name, data="synthetic", flops=0.5, out=tmp_path / "run"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_network_on_a_gpu_is_pruned_there(network: GatedRecognizer, picture: tuple[Tensor, Tensor]) -> None:
    pixels, widths = (tensor.cuda() for tensor in picture)

    def losses(model: LineRecognizer, _: int) -> Iterator[Tensor]:
        yield model(pixels, widths)[0].square().mean()

    chosen = pruning.ChannelPruning()
    small = chosen.apply(chosen.prepare(network.cuda()), Target("flops", 0.6), losses)
    assert small(pixels, widths)[0].isfinite().all()
    assert chosen.cost(small, "flops") <= 0.6 * chosen.cost(network, "flops")
