"""The trained model itself, run by PyTorch: the reference that every exported form is compared with."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError, Unavailable, missing_extra

try:
    import safetensors  # noqa: F401
    import torch
except ImportError as error:
    raise missing_extra(error.name or "torch", "train") from None

from htrcompress.decoding.greedy import greedy
from htrcompress.models.base import fuse
from htrcompress.models.serialization import load_with_decoder, require_decoder
from htrcompress.models.threads import set_threads
from htrcompress.runtime.backend import LINES_PER_THREAD, UNLIMITED, Open, Output
from htrcompress.runtime.forking import ProcessGuard
from htrcompress.utils.machine import cores

logger = logging.getLogger(__name__)


def present() -> list[str]:
    """The devices that PyTorch finds here."""
    found = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    return found + ["mps"] * torch.backends.mps.is_available()


class TorchBackend:
    """Runs a `.safetensors` model in FP32, its standardized weights computed once.

    Args:
        path: the model file.
        options: threads, for which PyTorch has one setting for the whole process, which this changes; the device,
            `cpu`, `cuda` or `mps`; and whether to give logits and memory.

    Raises:
        HtrError: the device is not there, or the file cannot be used.
    """

    name = "PyTorch"
    arithmetic = "FP32"
    max_width = UNLIMITED
    num_streams = 1

    def __init__(self, path: Path, options: Open = Open()):
        threads, device = options.threads, options.device
        if device not in (None, "cpu", "cuda", "mps"):
            raise HtrError(f"{path} is run by PyTorch, which has no {device}: export it and name the .onnx file")
        self.device = device or ("cuda" if "cuda" in present() else "cpu")
        if self.device not in present():
            raise Unavailable(
                f"PyTorch finds no {device} here, only {', '.join(present())}: choose one of these, or install a "
                f"PyTorch for {device} in the place of the one of htrcompress[train]"
            )
        if self.device == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # FP32 is FP32; this too is one setting for the whole process
        set_threads(threads or min(torch.get_num_threads(), cores()))
        self.max_batch = LINES_PER_THREAD * torch.get_num_threads() if self.device == "cpu" else UNLIMITED
        self._opened_as, self._logits, self._guard = (path.absolute(), options), options.logits, ProcessGuard()
        model, decoder, self.card = load_with_decoder(path)
        fuse(model)
        self.model = model.to(self.device)
        self._memory = require_decoder(decoder, path).to(self.device).memory if options.memory else None

    @torch.inference_mode()
    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32], logits: bool | None = None) -> Output:
        """One batch; see `Backend.run`."""
        self._guard.renew(self._after_fork)
        encoding = self.model.encode(torch.tensor(pixels).to(self.device), torch.tensor(widths).to(self.device))
        features, frames = encoding.layers[-1], encoding.frames
        raw = self.model.classify(features)
        labels, lengths, scores = (value.cpu().numpy() for value in greedy(raw, frames))
        shown = raw.float().cpu().numpy() if (self._logits if logits is None else logits) else None
        memory = self._memory(features, frames).cpu().numpy() if self._memory else None
        return Output(labels, lengths, scores, shown, memory)

    def stream(self) -> "TorchBackend":
        """Itself: PyTorch's threads are one setting for the whole process."""
        return self

    def close(self) -> None:
        """See `Backend.close`."""
        self.__dict__.pop("model", None)
        self._memory = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._opened_as

    def _after_fork(self) -> None:
        """Refuses a GPU's model, and says that a process that inherited the model has one thread (`models.threads`)."""
        path, _ = self._opened_as
        if self.device != "cpu":
            raise HtrError(f"{path} was opened on {self.device} before a fork: load it in the new process")
        logger.warning(
            "%s was opened before a fork and is run by one thread here: start processes with `spawn` for more", path
        )
