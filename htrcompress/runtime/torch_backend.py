"""The trained model itself, run by PyTorch: the reference that every exported form is compared with."""

from pathlib import Path

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
from htrcompress.models.serialization import load_model
from htrcompress.runtime.backend import UNLIMITED, Open, Output
from htrcompress.utils.machine import lines_at_once


def present() -> list[str]:
    """The devices that PyTorch finds here."""
    found = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    return found + ["mps"] * torch.backends.mps.is_available()


class TorchBackend:
    """Runs a `.safetensors` model in FP32, its standardized weights computed once.

    Args:
        path: the model file.
        options: threads, for which PyTorch has one setting for the whole process, which this changes; the device,
            `cpu`, `cuda` or `mps`; and whether to give logits.

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
        if threads is not None:
            torch.set_num_threads(threads)
        self.max_batch = lines_at_once(threads) if self.device == "cpu" else UNLIMITED
        self.logits = options.logits
        model, self.card = load_model(path)
        self.model = fuse(model).to(self.device)

    @torch.inference_mode()
    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> Output:
        """One batch; see `Backend.run`."""
        logits, frames = self.model(torch.tensor(pixels).to(self.device), torch.tensor(widths).to(self.device))
        labels, lengths, scores = greedy(logits, frames)
        shown = logits.cpu().numpy() if self.logits else None
        return Output(labels.cpu().numpy(), lengths.cpu().numpy(), scores.cpu().numpy(), shown)

    def stream(self) -> "TorchBackend":
        """Itself: PyTorch's threads are one setting for the whole process."""
        return self
