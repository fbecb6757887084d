"""Training learns: a few lines are over-fitted, so that no sign or gradient in the loop can be wrong unnoticed."""

from pathlib import Path

import pytest
import torch

from htrcompress import models
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.config import TrainConfig
from htrcompress.data.prepare import EncodedLines, encode_lines
from htrcompress.data.synthetic import open_synthetic
from htrcompress.models.serialization import load_card
from htrcompress.training.objective import build_objective
from htrcompress.training.trainer import Trainer


@pytest.fixture(scope="module")
def four() -> tuple[EncodedLines, Charset]:
    lines = open_synthetic({"train": 4, "valid": 1, "test": 1}).split("train")
    charset = Charset.of(line.text for line in lines)
    return encode_lines(lines, charset, 32, 4096), charset


def test_four_lines_are_learned(four: tuple[EncodedLines, Charset], tmp_path: Path) -> None:
    lines, charset = four
    torch.manual_seed(0)
    network = models.create("tiny-student", charset.classes)
    card = Card("four", models.architecture(network), charset.characters, 32, models.STRIDE, 4096)
    config = TrainConfig(steps=160, batch=4, lr=4e-3, warmup=10, ema=0.9, valid_every=160, precision="fp32")
    path = tmp_path / "four.safetensors"
    result = Trainer(build_objective(network, charset), card, lines, lines, path, config, None).fit()
    assert result.cer < 0.05
    assert load_card(path).metrics["valid"]["cer"] == result.cer
