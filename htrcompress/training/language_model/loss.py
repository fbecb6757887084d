"""The loss of a frozen language model: `python -m htrcompress.train --data DIR --llm NAME`.

A connector turns a line's frames at an intermediate layer into a few tokens. With these as its prefix, the language
model gives the line's text a likelihood, whose gradient flows through the frozen weights into the connector and the
recogniser (Altinok 2025, arXiv 2506.22846). The recogniser's file contains nothing of this. The connector is saved
beside the run's log as `connector.safetensors`, for `benchmarks/studies/language_model.py`.
"""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from htrcompress.charset import Charset
from htrcompress.config import LlmConfig
from htrcompress.data.batching import Batch
from htrcompress.errors import HtrError
from htrcompress.models.base import Encoding
from htrcompress.training.language_model.connector import Connector
from htrcompress.training.language_model.frozen_lm import FrozenLanguageModel
from htrcompress.training.losses import AuxiliaryLoss, LossTerm, ModelOutput, StepLines
from htrcompress.utils.io import write_atomic

FILE = "connector.safetensors"
KEY = "htrcompress.training.language_model.connector"


class LanguageModelLoss(AuxiliaryLoss):
    """Negative log-likelihood of the texts of some lines of a batch, with a connector for each layer it looks at.

    Args:
        language_model: the language model.
        dims: width of every layer of the recogniser.
        layers: indices of the layers to look at.
        charset: of the recogniser's labels.
        config: how the language model is used.
    """

    def __init__(
        self,
        language_model: FrozenLanguageModel,
        dims: Sequence[int],
        layers: Sequence[int],
        charset: Charset,
        config: LlmConfig,
    ):
        super().__init__()
        self.language_model: FrozenLanguageModel = language_model
        self.charset, self.config = charset, config
        self.layers, self.dims = tuple(layers), tuple(dims)
        width = language_model.embed.embedding_dim
        scale = language_model.scale()
        self.connectors = nn.ModuleList(Connector(dims[i], config.queries, width, scale) for i in layers)

    def forward(self, output: ModelOutput) -> dict[str, LossTerm]:
        texts = self.texts(output.batch)
        drawn = draw_lines(output.step, self.config.ratio)
        # Several processes expect a gradient of the connector: where no line was drawn, one takes part and counts zero.
        chosen = drawn or [0]
        prefix = self.prefixes(output.encoding, torch.tensor(chosen, device=output.frames.device))
        losses, tokens = self.language_model.negative_log_likelihood(
            prefix, [texts[i] for i in chosen] * len(self.layers)
        )
        used = bool(drawn)
        return {"language": LossTerm(losses.sum() * used, tokens.sum() * used, self.config.weight)}

    def prefixes(self, encoding: Encoding, rows: Tensor) -> Tensor:
        """Prefix tokens of N rows of a batch, one layer after the other: (len(self.layers) · N, queries, width)."""
        pairs = zip(self.connectors, self.layers, strict=True)
        return torch.cat([connector(encoding.layers[i][rows], encoding.frames[rows]) for connector, i in pairs])

    def texts(self, batch: Batch) -> list[str]:
        """The transcriptions, decoded from the labels; empty for a line without labels."""
        parts = batch.targets.cpu().split(batch.target_lengths.tolist())
        return [self.charset.decode(part.tolist()) for part in parts]

    def costs(self) -> str:
        """Time and memory that the language model has cost so far, for people."""
        learning = sum(p.numel() for p in self.parameters())
        model = self.language_model
        return f"{model.name}: {model.meter.text()}; {learning:,} parameters learn with the recogniser"

    def fingerprint(self) -> dict[str, Any]:
        """Which language model this is."""
        return {"fingerprint": self.language_model.fingerprint}

    def save(self, folder: Path) -> None:
        """Writes the connectors and adapters to `connector.safetensors`, without the language model."""
        card = {"llm": self.language_model.name, "layers": self.layers, "dims": self.dims, "lm": asdict(self.config)}
        card |= self.fingerprint()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_atomic(folder / FILE, save(tensors, metadata={KEY: json.dumps(card)}))


def draw_lines(step: StepLines, ratio: float) -> list[int]:
    """Rows of the batch that are among the drawn lines of the step: a share `ratio` of the labelled ones, at least one.

    The draw depends on the seed of the step alone, so all processes agree about it.
    """
    labelled = [line for line, has_text in enumerate(step.labelled) if has_text]
    count = max(1, math.ceil(ratio * len(labelled) - 0.5)) if labelled else 0
    drawn = set(random.Random(f"language model/{step.seed}").sample(labelled, count))
    return [row for row, line in enumerate(step.rows) if line in drawn]


def load_language_model_loss(path: Path, charset: Charset, llm: str | None = None) -> LanguageModelLoss:
    """The loss that a training saved, with its language model.

    Args:
        path: a `connector.safetensors`.
        charset: of the recogniser that it was trained with.
        llm: the language model, if it is not where it was in the training.

    Raises:
        HtrError: the file is missing or damaged, or the language model cannot be loaded or is another one.
    """
    if not path.is_file():
        raise HtrError(f"there is no connector at {path}: name a run that was trained with --llm")
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})[KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = LlmConfig(**card["lm"])
        dims, layers, name, known = card["dims"], card["layers"], card["llm"], card["fingerprint"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise HtrError(f"{path} is damaged or not a connector: {error}") from None
    language_model = FrozenLanguageModel.load(llm or name, config, "no")
    if language_model.fingerprint != known:
        raise HtrError(f"{path} was not trained with {llm or name}: name its language model with --llm")
    loss = LanguageModelLoss(language_model, dims, layers, charset, config)
    try:
        loss.load_state_dict(weights)
    except RuntimeError:
        raise HtrError(f"{path} is damaged: its weights do not fit its card") from None
    return loss.eval()
