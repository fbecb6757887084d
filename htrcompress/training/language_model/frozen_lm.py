"""A causal language model whose weights stay as they are, and what it makes of texts behind a prefix."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.config import LlmConfig
from htrcompress.errors import HtrError, enough_memory
from htrcompress.training.language_model.loading import Meter, fingerprint, load
from htrcompress.training.losses import WithFrozen

IGNORED = -100
"""Target of a place that no loss looks at: padding."""


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
        self.fingerprint = fingerprint(model)
        if tokenizer.eos_token_id is None:
            raise HtrError(f"the tokenizer of {name} has no token that ends a text: choose another language model")
        self._check_causal()
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

    @torch.no_grad()
    def _check_causal(self) -> None:
        """Raises HtrError if what the model makes of a token depends on later ones, which would give the text away."""
        first = torch.arange(8, device=self.embed.weight.device) % len(self.embed.weight)
        other = torch.cat((first[:-1], first[:1]))
        x = self.embed(torch.stack((first, other)))
        try:
            logits = self._logits(x, torch.ones(x.shape[:2], device=x.device, dtype=torch.long), 8)
        except TypeError as error:
            raise HtrError(f"{self.name} cannot be read behind a prefix ({error}): choose another --llm") from None
        moved = (logits[0, :-1] - logits[1, :-1]).abs().max()
        if moved > 8 * torch.finfo(logits.dtype).eps * logits.abs().max():
            raise HtrError(f"{self.name} looks ahead in the text that it has to find: choose a causal language model")

    def _logits(self, x: Tensor, mask: Tensor, last: int) -> Tensor:
        """What the model makes of the last so many embeddings."""
        return self.frozen(inputs_embeds=x, attention_mask=mask, use_cache=False, logits_to_keep=last).logits

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, without those that begin and end a text; their names in a text are mere letters."""
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        return self.tokenizer(list(texts), **plain)["input_ids"] if texts else []

    def check_context_length(self, texts: Sequence[str], queries: int) -> None:
        """Raises HtrError if a text and its prefix are longer than what the model reads, or a token is none of its."""
        largest = max(self.tokenizer.eos_token_id, self.tokenizer.bos_token_id or 0, *chain(*self.encode(texts)))
        known = len(self.embed.weight)
        if largest >= known:
            raise HtrError(
                f"the tokenizer of {self.name} gives token {largest:,} and the model has but {known:,}: "
                "put the tokenizer that belongs to the model beside it, or choose another --llm"
            )
        config = self.frozen.config.get_text_config()
        room = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        for text, ids in zip(texts, self.encode(texts), strict=True):
            needed = queries + len(ids) + 2
            if room and needed > room:
                raise HtrError(
                    f"the text '{text[:40]}...' needs {needed:,} tokens with its prefix and {self.name} reads {room:,}"
                    ": choose a smaller --lm.queries, shorter lines or another --llm"
                )

    def negative_log_likelihood(self, prefix: Tensor | None, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
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
            logits = self._logits(x, mask, longest + 1).float().transpose(1, 2)
            losses = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none").sum(1)
        self.meter.backward(prefix, losses)
        return losses, lengths + 1


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
