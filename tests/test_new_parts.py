"""The interfaces for networks, auxiliary losses and compression passes, each shown with a small new part.

Everything that a new part needs is in this file, and one row in a table makes it known.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress import compression, models
from htrcompress.compression.base import BatchLosses, CompressionPass, Target
from htrcompress.compression.distillation import DistillationLoss
from htrcompress.config import AugmentConfig, DistillConfig, TrainConfig
from htrcompress.data.readers import ReadConfig
from htrcompress.export.onnx_export import export_onnx
from htrcompress.models import presets, registry
from htrcompress.models.base import STRIDE, Encoding, LineRecognizer
from htrcompress.models.layers import column_mask, standardize_ink
from htrcompress.models.serialization import load_card, load_model
from htrcompress.prune import PruneOptions, prune
from htrcompress.runtime import load
from htrcompress.training import objective
from htrcompress.training.data import open_training_data
from htrcompress.training.losses import AuxiliaryLoss, LossTerm, ModelOutput
from htrcompress.training.trainer import Trainer

SHORT = TrainConfig(steps=2, batch=8, lr=1e-3, valid_every=1, warmup=1, precision="fp32")


@dataclass(frozen=True)
class ToyConfig:
    channels: int
    height: int = 32


class ToyRecognizer(LineRecognizer):
    """Two strided convolutions and a linear layer."""

    config: ToyConfig

    def __init__(self, config: ToyConfig, classes: int):
        super().__init__()
        self.config = config
        self.first = nn.Conv2d(1, config.channels, 3, 2, 1)
        self.second = nn.Conv2d(config.channels, config.channels, 3, 2, 1)
        self.out = nn.Linear(config.channels * config.height // 4, classes)

    @property
    def layer_dims(self) -> tuple[int, ...]:
        return (self.out.in_features,)

    def encode(self, pixels: Tensor, widths: Tensor) -> Encoding:
        ink, widths = standardize_ink(pixels, widths, STRIDE)
        halves = (widths + 1) // 2
        frames = (halves + 1) // 2
        x = F.relu(self.first(ink.to(self.out.weight.dtype)))
        x = x * column_mask(halves, x.shape[3])[:, None, None].to(x.dtype)
        return Encoding([F.relu(self.second(x)).flatten(1, 2).transpose(1, 2)], frames)

    def classify(self, features: Tensor) -> Tensor:
        return self.out(features).float()

    def output_layers(self) -> dict[str, nn.Linear | nn.Conv1d]:
        return {"out": self.out}


class Confidence(AuxiliaryLoss):
    """Rewards frames that are sure of a label."""

    def forward(self, output: ModelOutput) -> dict[str, LossTerm]:
        valid = column_mask(output.frames, output.logits.shape[1])
        entropy = torch.distributions.Categorical(logits=output.logits[valid]).entropy()
        return {"confidence": LossTerm(entropy.sum(), valid.sum(), 0.1)}


class HalfTheChannels(CompressionPass):
    """Keeps the first half of a toy's channels."""

    def supports(self, network: LineRecognizer) -> bool:
        return isinstance(network, ToyRecognizer)

    def apply(self, network: LineRecognizer, target: Target, losses: BatchLosses) -> LineRecognizer:
        assert torch.isfinite(next(losses(network, 1)))
        kept, state = network.config.channels // 2, network.state_dict()
        state["first.weight"], state["first.bias"] = state["first.weight"][:kept], state["first.bias"][:kept]
        state["second.weight"], state["second.bias"] = state["second.weight"][:kept, :kept], state["second.bias"][:kept]
        state["out.weight"] = state["out.weight"][:, : kept * network.config.height // 4]
        small = ToyRecognizer(replace(network.config, channels=kept), network.classes)
        small.load_state_dict(state)
        return small


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that make the parts known."""
    monkeypatch.setitem(registry.FAMILIES, "toy", registry.Family(ToyConfig, ToyRecognizer))
    monkeypatch.setitem(presets.PRESETS, "toy", ToyConfig(8))
    monkeypatch.setitem(objective.AUXILIARY_LOSSES, "confidence", lambda *_: Confidence())
    monkeypatch.setitem(compression.PASSES, "half", HalfTheChannels())


def fit(lines: str, path: Path, teacher: LineRecognizer | None = None) -> None:
    data = open_training_data(lines, 32, SHORT, ReadConfig())
    torch.manual_seed(0)
    network = models.create("toy", data.charset.classes)
    distill = DistillationLoss(teacher, network, DistillConfig(frames="all", features=0.5)) if teacher else None
    losses = objective.build_objective(network, data.charset, distill=distill)
    card = data.card("toy", network, {})
    Trainer(losses, card, data.train, data.valid, path, SHORT, AugmentConfig()).fit()


def test_a_new_network_trains_distils_exports_and_reads_the_same(
    lines: str, tmp_path: Path, picture: Callable[..., object]
) -> None:
    fit(lines, tmp_path / "teacher.safetensors")
    teacher, _ = load_model(tmp_path / "teacher.safetensors")
    fit(lines, tmp_path / "student.safetensors", teacher)
    log = (tmp_path / "student/log.jsonl").read_text()
    assert all(f'"{name}"' in log for name in ("ctc", "kd", "features", "confidence"))
    student, card = load_model(tmp_path / "student.safetensors")
    assert card.architecture == {"family": "toy", "channels": 8}
    export_onnx(student, card, tmp_path / "student.onnx")  # refuses a graph that does not compute what PyTorch does
    pictures = [picture(width) for width in (40, 97, 200)]
    texts = [load(tmp_path / name).read(pictures) for name in ("student.onnx", "student.safetensors")]
    assert [reading.text for reading in texts[0]] == [reading.text for reading in texts[1]]


def test_a_new_pass_is_run_by_the_command(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(lines, tmp_path / "toy.safetensors")
    result = prune(
        PruneOptions(model=tmp_path / "toy.safetensors", data=lines, params=0.5, out=tmp_path / "run", train=SHORT)
    )
    assert load_card(result.path).architecture == {"family": "toy", "channels": 4}
    assert result.parameters[1] < result.parameters[0] and result.flops[1] < result.flops[0]
    monkeypatch.delattr(HalfTheChannels, "apply")  # a resumed run has the start weights in its folder
    assert prune(PruneOptions(resume=tmp_path / "run")).parameters == result.parameters
