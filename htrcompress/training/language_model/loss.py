"""A frozen language model that helps in training: `python -m htrcompress.train --data DIR --llm NAME`.

A connector turns a line's frames at an intermediate layer into a few tokens; behind these as its prefix, the language
model has to find the line's text probable. Its gradient flows through its frozen weights into the connector and the
recogniser (Altinok 2025, arXiv 2506.22846). At inference nothing of it is left: the recogniser's file is an ordinary
one. The connector lies beside the run's log as `connector.safetensors`, for `benchmarks/language.py`.
"""

import json
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
from htrcompress.training.language_model.connector import Connector
from htrcompress.training.language_model.frozen_lm import FrozenLanguageModel
from htrcompress.training.losses import Pass, Terms
from htrcompress.utils.io import write_atomic

FILE = "connector.safetensors"
KEY = "htrcompress.training.language_model.connector"


class LanguageModelLoss(nn.Module):
    """What the language model makes of some lines of a batch, by a connector for each layer it looks at.

    Args:
        language: the language model.
        dims: width of every layer of the recogniser.
        layers: those that it looks at.
        charset: of the recogniser's labels.
        config: how it helps.
    """

    shrinkable = ", --lm.ratio or --lm.queries, --lm.dtype bf16, --lm.four_bit, --llm none"

    def __init__(
        self,
        language: FrozenLanguageModel,
        dims: Sequence[int],
        layers: Sequence[int],
        charset: Charset,
        config: LlmConfig,
    ):
        super().__init__()
        self.language, self.charset, self.config = language, charset, config
        self.layers, self.dims = tuple(layers), tuple(dims)
        width = language.embed.embedding_dim
        scale = language.scale()
        self.connectors = nn.ModuleList(Connector(dims[i], config.queries, width, scale) for i in layers)

    def forward(self, seen: Pass) -> Terms:
        texts = self.texts(seen.batch)
        turns = zip(seen.batch.turns, texts, strict=True)
        drawn = [i for i, (turn, text) in enumerate(turns) if text and turn < self.config.ratio]
        # Without any, one line keeps the connector in the graph, which several processes expect, and counts zero.
        chosen = drawn or [0]
        rows = torch.tensor(chosen, device=seen.frames.device)
        prefix = self.prefixes(seen.layers, seen.frames, rows)
        losses, tokens = self.language.negative_log_likelihood(prefix, [texts[i] for i in chosen] * len(self.layers))
        return {"language": (losses.sum() * bool(drawn), tokens.sum() * bool(drawn), self.config.weight)}

    def prefixes(self, layers: Sequence[Tensor], frames: Tensor, rows: Tensor) -> Tensor:
        """Tokens of some rows of a batch, one layer after the other: (len(self.layers) · N, Q, width)."""
        pairs = zip(self.connectors, self.layers, strict=True)
        return torch.cat([connector(layers[i][rows], frames[rows]) for connector, i in pairs])

    def texts(self, batch: Batch) -> list[str]:
        """The transcriptions, as the labels tell them; empty for a line without."""
        parts = batch.targets.cpu().split(batch.target_lengths.tolist())
        return [self.charset.decode(part.tolist()) for part in parts]

    def costs(self) -> str:
        """What the language model has cost so far, for people."""
        learning = sum(p.numel() for p in self.parameters())
        return f"{self.language.name}: {self.language.meter.text()}; {learning:,} parameters learn beside the model"

    def identity(self) -> dict[str, Any]:
        """Which language model this is."""
        return {"fingerprint": self.language.fingerprint}

    def save(self, folder: Path) -> None:
        """Writes what has been learnt here to `connector.safetensors`; the language model stays where it is."""
        card = {"llm": self.language.name, "layers": self.layers, "dims": self.dims, "lm": asdict(self.config)}
        card |= self.identity()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_atomic(folder / FILE, save(tensors, metadata={KEY: json.dumps(card)}))


def load_language_model_loss(path: Path, charset: Charset, llm: str | None = None) -> LanguageModelLoss:
    """A connector with its language model, as a training left it.

    Args:
        path: a `connector.safetensors`.
        charset: of the recogniser that it was trained with.
        llm: where the language model lies, if not where it did.

    Raises:
        HtrError: the file is missing or damaged, or the language model cannot be had or is another one.
    """
    if not path.is_file():
        raise HtrError(f"no connector at {path}: name a run that was trained with --llm")
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})[KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = LlmConfig(**card["lm"])
        dims, layers, name, known = card["dims"], card["layers"], card["llm"], card["fingerprint"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise HtrError(f"{path} is damaged or not a connector: {error}") from None
    language = FrozenLanguageModel.load(llm or name, config, "no")
    if language.fingerprint != known:
        raise HtrError(f"{path} was not trained with {llm or name}: name its language model with --llm")
    lesson = LanguageModelLoss(language, dims, layers, charset, config)
    try:
        lesson.load_state_dict(weights)
    except RuntimeError:
        raise HtrError(f"{path} is damaged: its weights do not fit its card") from None
    return lesson.eval()
