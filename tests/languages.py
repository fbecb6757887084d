"""A tiny Llama for the tests: random weights and a tokenizer of single characters, made on the spot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from htrcompress.charset import Charset
from htrcompress.config import AuxConfig, LlmConfig, TrainConfig
from htrcompress.data.batching import Batch
from htrcompress.models.base import LineRecognizer
from htrcompress.training.language_model import LanguageModelLoss
from htrcompress.training.objective import language_model_loss, open_language_model

CHARSET = Charset(tuple(" abcdefgh"))
SMALL = LlmConfig(queries=4, ratio=1.0)
HALF = replace(SMALL, lora=2, ratio=0.5, dtype="bf16")
SHORT = TrainConfig(steps=4, batch=8, valid_every=2, warmup=2, precision="fp32")


def write_llama(path: Path) -> Path:
    """A language model as users have it: a folder."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = ["<s>", "</s>", "?", *map(chr, range(32, 127))]
    plain = Tokenizer(models.WordLevel({c: i for i, c in enumerate(dict.fromkeys(characters))}, unk_token="?"))
    plain.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>").save_pretrained(path)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(plain.get_vocab()), max_position_embeddings=200, **sizes)
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def loss_for(
    model: LineRecognizer, llama: Path, config: LlmConfig = SMALL, arithmetic: str = "fp32", **aux: Any
) -> LanguageModelLoss:
    language_model = open_language_model(str(llama), config, arithmetic, ["abc"])
    found = language_model_loss(model, CHARSET, AuxConfig(**aux), language_model, config)
    assert found is not None
    return found


def batch(lines: int = 3, width: int = 96, lengths: tuple[int, ...] = (1, 2, 3)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (lines, 1, 32, width), generator=generator, dtype=torch.uint8)
    widths = torch.tensor([width - 20 * row for row in range(lines)], dtype=torch.int32)
    labels = torch.arange(1, sum(lengths) + 1)
    return Batch(pixels, widths, labels, torch.tensor(lengths))
