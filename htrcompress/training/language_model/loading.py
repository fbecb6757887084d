"""Loading language models by name, folder or GGUF file through transformers, and measuring their cost.

Only a model that the user names is downloaded. transformers is imported only here, and only when a model is loaded.
"""

import contextlib
import importlib.util
import io
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from htrcompress.config import LlmConfig
from htrcompress.errors import HtrError, first_line, missing_extra, out_of_memory

TYPES = {"fp32": torch.float32, "no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MIB = 2**20


def load(name: str, config: LlmConfig, arithmetic: str) -> tuple[nn.Module, Any]:
    """A causal language model and its tokenizer.

    Args:
        name: a name on the Hugging Face hub, a folder, or a GGUF file.
        config: its `dtype` and `four_bit` are used.
        arithmetic: the meaning of `dtype` auto: `no`, `bf16` or `fp16`.

    Raises:
        HtrError: there is no such model, it has no tokenizer, or a package is missing.
    """
    transformers = _transformers()
    path, options = Path(name), dict[str, Any]()
    where = name
    if path.is_file():
        if path.suffix != ".gguf":
            raise HtrError(f"--llm {name} is a file and no .gguf: name a folder, a GGUF file or a model of the hub")
        where, options["gguf_file"] = str(path.parent), path.name
    elif not path.exists() and (name.count("/") > 1 or name.startswith((".", "~", "/")) or path.suffix == ".gguf"):
        raise HtrError(f"--llm {name}: there is no such file or folder")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **options)
    except Exception as error:  # the type depends on the file that is missing or damaged
        if out_of_memory(error):
            raise
        package = next((package for package in ("sentencepiece", "tiktoken") if package in str(error)), None)
        some = not path.is_dir() or any(path.glob("*.model"))  # a folder without any tokenizer gives the same message
        if package and some and not importlib.util.find_spec(package):
            raise HtrError(f"--llm {name}: its tokenizer needs {package}: run `pip install {package}`") from None
        if path.is_dir() and not _no_connection(error):
            raise HtrError(
                f"--llm {name} holds no tokenizer that transformers reads: save one there with "
                "`tokenizer.save_pretrained(FOLDER)`, or name another folder"
            ) from None
        raise _failure(name, error) from None
    dtype = TYPES[arithmetic if config.dtype == "auto" else config.dtype]
    if "gguf_file" in options:  # packed weights are slow, and adapters cannot be added to them
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    if config.four_bit:
        options |= _four_bit(transformers, dtype)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # transformers has no option against its progress bar
            return transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, **options), tokenizer
    except Exception as error:
        if out_of_memory(error):
            raise
        raise _failure(name, error) from None


def _transformers() -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # otherwise it warns in every worker process
    try:
        import transformers
    except ImportError:
        raise missing_extra("transformers", "lm") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _four_bit(transformers: Any, dtype: torch.dtype) -> dict[str, Any]:
    """Options that load weights in NF4 (Dettmers et al. 2023, arXiv 2305.14314), directly to this process's GPU."""
    if not torch.cuda.is_available():
        raise HtrError("--lm.four_bit needs a CUDA GPU, and there is none: leave it out, or choose --lm.dtype bf16")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise HtrError(
            "bitsandbytes is not installed: run `pip install bitsandbytes`, or leave out --lm.four_bit"
        ) from None
    quantised = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": quantised, "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}


def _no_connection(error: Exception) -> bool:
    message = str(error)
    return any(
        part in message for part in ("couldn't connect", "offline mode", "Name or service not known", "timed out")
    )


def _failure(name: str, error: Exception) -> HtrError:
    """The error for a model that cannot be loaded."""
    if isinstance(error, ImportError):
        return missing_extra(error.name or str(error).split("`")[0].strip() or "a package", "lm")
    if Path(name).exists():
        return HtrError(f"--llm {name} holds no causal language model: {first_line(error)}")
    if _no_connection(error):
        return HtrError(f"--llm {name}: there is no network, and the model is not in the cache: name a folder")
    return HtrError(
        f"--llm {name}: there is no such model on the hub and no such folder or GGUF file ({first_line(error)[:120]})"
    )


@torch.no_grad()
def fingerprint(model: nn.Module) -> str:
    """Identifies a language model: class, number of tokens, and a checksum of some embeddings and of one matrix.

    The checksum is over the signs of the weights, which are the same in every arithmetic.
    """
    embeddings: Tensor = model.get_input_embeddings().weight  # type: ignore[operator]
    matrices = [p for p in model.parameters() if p.ndim > 1 and p.is_floating_point()]
    value = 0
    for weight in (embeddings[:: max(1, len(embeddings) // 16)], matrices[len(matrices) // 2]):
        value = zlib.crc32(torch.signbit(weight).cpu().numpy().tobytes(), value)
    return f"{type(model).__name__}/{len(embeddings)}/{value:08x}"


class CostMeter:
    """Measures time and memory of a frozen model in training. The clock waits for the GPU to finish its work.

    Args:
        model: the frozen model.
    """

    def __init__(self, model: nn.Module):
        weights = list(model.parameters())
        self.parameters = sum(p.numel() for p in weights)
        self.weights = sum(p.numel() * p.element_size() for p in weights)
        self.model = model
        self.saved, self.seconds, self.passes = 0, 0.0, 0

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """Measures the time of the block, and the memory that it saves for the backward pass."""
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        began = _now()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            yield
        weights = {p.untyped_storage().data_ptr() for p in self.model.parameters()}  # in memory anyway
        self.saved = max(self.saved, sum(size for place, size in sizes.items() if place not in weights))
        self.seconds += _now() - began
        self.passes += 1

    def backward(self, first: Tensor | None, last: Tensor) -> None:
        """Measures the time of the backward pass from `last` to `first` when it happens."""
        if first is None or not (first.requires_grad and last.requires_grad):
            return
        began = 0.0

        def begin(_: Tensor) -> None:
            nonlocal began
            began = _now()

        def end(_: Tensor) -> None:
            self.seconds += _now() - began

        last.register_hook(begin)
        first.register_hook(end)

    def text(self) -> str:
        """The cost so far, for people."""
        share = self.seconds / max(1, self.passes)
        return (
            f"{self.parameters:,} parameters, {self.weights / MIB:.0f} MiB of weights, at most "
            f"{self.saved / MIB:.0f} MiB saved for the backward pass, {1000 * share:.0f} ms a step"
        )


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
