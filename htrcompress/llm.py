"""A frozen language model that helps in training: `python -m htrcompress.train --data DIR --llm NAME`.

A connector turns a line's frames at an intermediate layer into a few tokens; behind these as its prefix, the language
model has to find the line's text probable. Its gradient flows through its frozen weights into the connector and the
recogniser (Altinok 2025, arXiv 2506.22846). At inference nothing of it is left: the recogniser's file is an ordinary
one. The connector lies beside the run's log as `connector.safetensors`, for `benchmarks/language.py`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from htrcompress.charset import Charset
from htrcompress.config import LlmConfig
from htrcompress.connector import Connector
from htrcompress.data.batches import Batch
from htrcompress.errors import HtrError, enough_memory
from htrcompress.files import write_atomic
from htrcompress.language import Meter, load
from htrcompress.losses import Pass, Terms, WithFrozen

IGNORED = -100
"""Target of a place that no loss looks at: padding."""
FILE = "connector.safetensors"
KEY = "htrcompress.connector"


class FrozenLanguageModel(WithFrozen):
    """A causal language model that says how probable texts are behind given prefixes. Only LoRA adapters learn.

    Args:
        name: what it is called.
        model: a causal language model of transformers, whose weights stay as they are.
        tokenizer: its tokenizer.
        lora: rank of adapters to add to its linear layers; 0 for none.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Any, lora: int = 0):
        super().__init__(model)
        self.name, self.tokenizer = name, tokenizer
        self.meter = Meter(model)
        if tokenizer.eos_token_id is None:
            raise HtrError(f"the tokenizer of {name} has no token that ends a text: choose another language model")
        learning = _add_lora(model, lora) if lora else {}
        self.adapters = nn.ParameterDict({key.replace(".", "-"): value for key, value in learning.items()})

    @classmethod
    def load(cls, name: str, config: LlmConfig, arithmetic: str) -> "FrozenLanguageModel":
        """The language model that goes by a name.

        Args:
            name: of a model on its hub, a folder, or a GGUF file.
            config: its arithmetic and adapters.
            arithmetic: accelerate's name of that of the training: `no`, `bf16` or `fp16`.

        Raises:
            HtrError: there is no such model, it has no tokenizer, memory does not suffice, or a package is missing.
        """
        smaller = "--lm.dtype bf16, --lm.four_bit true, " + ("a smaller --lm.lora " if config.lora else "")
        with enough_memory(lambda: f"out of memory for --llm {name}: choose {smaller}or a smaller model"):
            model, tokenizer = load(name, config, arithmetic)
            return cls(name, model, tokenizer, config.lora)

    def __deepcopy__(self, memo: dict[int, Any]) -> WithFrozen:
        memo[id(self.tokenizer)] = self.tokenizer
        return super().__deepcopy__(memo)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenLanguageModel":
        """Takes the model along, but for one in 4 bits: that was loaded where it stays."""
        if getattr(self.frozen, "is_loaded_in_4bit", False):
            return nn.Module._apply(self, fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[return-value]

    @property
    def embed(self) -> nn.Embedding:
        """From token ids to embeddings, as the model itself does it."""
        return self.frozen.get_input_embeddings()

    @torch.no_grad()
    def scale(self) -> float:
        """Root mean square of its embeddings' numbers, over some thousand tokens."""
        weight = self.embed.weight
        some = torch.arange(0, len(weight), max(1, len(weight) // 4096), device=weight.device)
        return float(self.embed(some).float().square().mean().sqrt())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, without the ones that begin and end a text."""
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []

    def check_room(self, texts: Sequence[str], queries: int) -> None:
        """Raises HtrError if a text and its prefix are longer than what the model reads."""
        config = self.frozen.config.get_text_config()
        room = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        for text, ids in zip(texts, self.encode(texts), strict=True):
            needed = queries + len(ids) + 2
            if room and needed > room:
                raise HtrError(
                    f"the text '{text[:40]}...' needs {needed:,} tokens with its prefix and {self.name} reads {room:,}"
                    ": choose a smaller --lm.queries, shorter lines or another --llm"
                )

    def surprise(self, prefix: Tensor | None, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of texts and their end: FP32 (N,) in nats, and the number of tokens, int64 (N,).

        The input is `prefix, BOS if the tokenizer has one, text`; teacher-forced, prefix and padding not counted.

        Args:
            prefix: (N, Q, width of the model), or None for the texts alone.
            texts: N of them.
        """
        device, end = self.embed.weight.device, self.tokenizer.eos_token_id
        begin = self.tokenizer.bos_token_id
        first = [end if begin is None else begin] if begin is not None or prefix is None else []
        rows = self.encode(texts)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        longest = int(lengths.max())
        ids = torch.tensor([[*first, *row, *[end] * (longest - len(row))] for row in rows], device=device).long()
        targets = torch.tensor([[*row, end, *[IGNORED] * (longest - len(row))] for row in rows], device=device)
        x = self.embed(ids)
        if prefix is not None:
            x = torch.cat((prefix.to(x.dtype), x), 1)
        known = lengths + (x.shape[1] - longest)
        mask = (torch.arange(x.shape[1], device=device) < known.unsqueeze(1)).long()
        with torch.autocast(device.type, enabled=False), self.meter.forward():
            output = self.frozen(inputs_embeds=x, attention_mask=mask, use_cache=False, logits_to_keep=longest + 1)
            logits = output.logits.float().transpose(1, 2)
            losses = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none").sum(1)
        self.meter.backward(prefix, losses)
        return losses, lengths + 1


class LanguageLesson(nn.Module):
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
        losses, tokens = self.language.surprise(prefix, [texts[i] for i in chosen] * len(self.layers))
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

    def save(self, folder: Path) -> None:
        """Writes what has been learnt here to `connector.safetensors`; the language model stays where it is."""
        card = {"llm": self.language.name, "layers": self.layers, "dims": self.dims, "lm": asdict(self.config)}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_atomic(folder / FILE, save(tensors, metadata={KEY: json.dumps(card)}))


def load_lesson(path: Path, charset: Charset, llm: str | None = None) -> LanguageLesson:
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
        dims, layers, name = card["dims"], card["layers"], card["llm"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise HtrError(f"{path} is damaged or not a connector: {error}") from None
    language = FrozenLanguageModel.load(llm or name, config, "no")
    lesson = LanguageLesson(language, dims, layers, charset, config)
    try:
        lesson.load_state_dict(weights)
    except RuntimeError:
        raise HtrError(f"{path} was not trained with {llm or name}: name its language model with --llm") from None
    return lesson.eval()


def _add_lora(model: nn.Module, rank: int) -> dict[str, nn.Parameter]:
    """Adds low-rank adapters to all linear layers (Hu et al. 2021, arXiv 2106.09685) and returns what learns."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise HtrError("peft is not installed: run `pip install peft`, or leave out --lm.lora") from None
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"), model)
    model.eval()
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for parameter in learning.values():  # small steps are lost in BF16, and a gradient scaler refuses FP16
        parameter.data = parameter.data.float()
    return learning
