"""A causal language model with frozen weights, and the likelihood that it gives to texts behind a prefix."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htrcompress.config import LlmConfig
from htrcompress.errors import HtrError, enough_memory
from htrcompress.training.frozen import FrozenHolder
from htrcompress.training.language_model.loading import CostMeter, fingerprint, load

IGNORED = -100
"""Target of padding, which no loss looks at."""


class FrozenLanguageModel(FrozenHolder):
    """A causal language model that gives the likelihood of texts behind prefixes. Only LoRA adapters learn.

    Args:
        name: as the user gave it.
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        lora: rank of adapters to add to its linear layers; 0 for none.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Any, lora: int = 0):
        super().__init__(model)
        self.name, self.tokenizer = name, tokenizer
        self.meter = CostMeter(model)
        self.fingerprint = fingerprint(model)
        if tokenizer.eos_token_id is None:
            raise HtrError(f"the tokenizer of {name} has no token that ends a text: choose another language model")
        self._check_causal()
        learning = _add_lora(model, lora) if lora else {}
        self.adapters = nn.ParameterDict({key.replace(".", "-"): value for key, value in learning.items()})

    @classmethod
    def load(cls, name: str, config: LlmConfig, arithmetic: str) -> "FrozenLanguageModel":
        """Loads a language model.

        Args:
            name: its name on the Hugging Face hub, a folder, or a GGUF file.
            config: its arithmetic and adapters.
            arithmetic: of the training, as accelerate names it: `no`, `bf16` or `fp16`.

        Raises:
            HtrError: there is no such model, it has no tokenizer, there is too little memory, or a package is missing.
        """
        smaller = "--lm.dtype bf16, --lm.four_bit true, " + ("a smaller --lm.lora " if config.lora else "")
        with enough_memory(lambda: f"out of memory for --llm {name}: choose {smaller}or a smaller model"):
            model, tokenizer = load(name, config, arithmetic)
            return cls(name, model, tokenizer, config.lora)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenHolder:
        memo[id(self.tokenizer)] = self.tokenizer
        return super().__deepcopy__(memo)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Applies the change to the model too, unless it is in 4 bits: such a model stays on the GPU that it is on."""
        if getattr(self.module, "is_loaded_in_4bit", False):
            return nn.Module._apply(self, fn, recurse)
        return super()._apply(fn, recurse)

    @property
    def embed(self) -> nn.Embedding:
        """The model's own layer from token ids to embeddings."""
        return self.module.get_input_embeddings()

    @torch.no_grad()
    def scale(self) -> float:
        """Root mean square of its embeddings, over some thousand tokens."""
        weight = self.embed.weight
        some = torch.arange(0, len(weight), max(1, len(weight) // 4096), device=weight.device)
        return float(self.embed(some).float().square().mean().sqrt())

    @torch.no_grad()
    def _check_causal(self) -> None:
        """Raises HtrError if the logits of a token depend on later tokens: the loss would then be trivial."""
        first = torch.arange(8, device=self.embed.weight.device) % len(self.embed.weight)
        other = torch.cat((first[:-1], first[:1]))
        x = self.embed(torch.stack((first, other)))
        try:
            logits = self._logits(x, torch.ones(x.shape[:2], device=x.device, dtype=torch.long), 8)
        except TypeError as error:
            raise HtrError(f"{self.name} cannot be read behind a prefix ({error}): choose another --llm") from None
        moved = (logits[0, :-1] - logits[1, :-1]).abs().max()
        if moved > 8 * torch.finfo(logits.dtype).eps * logits.abs().max():
            raise HtrError(f"{self.name} is not causal, it sees later tokens: choose a causal language model")

    def _logits(self, x: Tensor, mask: Tensor, last: int) -> Tensor:
        """Logits of the last so many positions."""
        return self.module(inputs_embeds=x, attention_mask=mask, use_cache=False, logits_to_keep=last).logits

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, without begin and end tokens; the name of a special token inside a text is plain text."""
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        return self.tokenizer(list(texts), **plain)["input_ids"] if texts else []

    def check_context_length(self, texts: Sequence[str], queries: int) -> None:
        """Raises HtrError if a text with its prefix exceeds the model's context, or a token has no embedding."""
        rows, special = self.encode(texts), [self.tokenizer.eos_token_id, self.tokenizer.bos_token_id or 0]
        largest = max(chain(special, *rows))
        known = len(self.embed.weight)
        if largest >= known:
            raise HtrError(
                f"the tokenizer of {self.name} gives token {largest:,} and the model has only {known:,}: "
                "put the model's own tokenizer into its folder, or choose another --llm"
            )
        config = self.module.config.get_text_config()
        room = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        for text, ids in zip(texts, rows, strict=True):
            needed = queries + len(ids) + 2
            if room and needed > room:
                raise HtrError(
                    f"the text '{text[:40]}...' needs {needed:,} tokens with its prefix, and {self.name} "
                    f"reads at most {room:,}: choose a smaller --lm.queries, shorter lines or another --llm"
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
    """Adds low-rank adapters to all linear layers (Hu et al. 2021, arXiv 2106.09685) and returns their parameters."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise HtrError("peft is not installed: run `pip install peft`, or leave out --lm.lora") from None
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"), model)
    model.eval()
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for parameter in learning.values():  # BF16 would lose small steps, and the gradient scaler refuses FP16
        parameter.data = parameter.data.float()
    return learning
