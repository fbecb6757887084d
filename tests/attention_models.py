"""A tiny network that was trained with an attention decoder until it knows its four lines, for tests of decoders."""

from pathlib import Path

import pytest
import torch
from sharing import Shared

from htrcompress import models
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.config import AttentionConfig, AuxConfig, TrainConfig
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.synthetic import open_synthetic
from htrcompress.training.objective import build_objective
from htrcompress.training.trainer import Trainer

AUX = AuxConfig(attention=1.0, decoder=AttentionConfig(layers=2, dim=48, heads=2, dropout=0.0, keep=True))


def four_lines() -> tuple[EncodedLines, Charset]:
    """Four lines of the built-in data, of several widths."""
    lines = open_synthetic({"train": 4, "valid": 1, "test": 1}).split("train")
    charset = Charset.of(line.text for line in lines)
    return encode_lines(lines, charset, 32, 4096), charset


@pytest.fixture(scope="session")
def attentive(shared: Shared) -> Path:
    """Its `.safetensors` file, which keeps the decoder."""
    return shared("attentive", _train) / "four.safetensors"


def _train(folder: Path) -> None:
    lines, charset = four_lines()
    torch.manual_seed(0)
    network = models.create("tiny-student", charset.classes)
    card = Card("four", models.architecture(network), charset.characters, 32, models.STRIDE, 4096)
    config = TrainConfig(steps=160, batch=4, lr=4e-3, warmup=10, ema=0.9, valid_every=160, precision="fp32")
    path = folder / "four.safetensors"
    Trainer(build_objective(network, charset, AUX), card, lines, lines, path, config, None).fit()
