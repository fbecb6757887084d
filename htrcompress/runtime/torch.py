"""The trained model itself, run by PyTorch: the reference that every exported form is compared with."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError, missing_extra

try:
    import safetensors  # noqa: F401
    import torch
except ImportError as error:
    raise missing_extra(error.name or "torch", "train") from None

from htrcompress.artifact import load_model
from htrcompress.decode import greedy
from htrcompress.models.blocks import fold


class TorchBackend:
    """Runs a `.safetensors` model in FP32, its standardised weights computed once.

    Args:
        path: the model file.
        threads: CPU threads; PyTorch has one setting for the whole process, which this changes.
        device: `cpu`, `cuda`, or None for the better one that is there.
    """

    name = "PyTorch"

    def __init__(self, path: Path, threads: int | None = None, device: str | None = None):
        if device == "cuda" and not torch.cuda.is_available():
            raise HtrError("PyTorch finds no CUDA device here: use the cpu")
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if threads is not None:
            torch.set_num_threads(threads)
        model, self.card = load_model(path)
        self.model = fold(model).to(self.device)

    @torch.inference_mode()
    def run(
        self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """One batch; shapes as in `recognizer.Backend`."""
        logits, frames = self.model(torch.tensor(pixels).to(self.device), torch.tensor(widths).to(self.device))
        labels, lengths, scores = greedy(logits, frames)
        return labels.cpu().numpy(), lengths.cpu().numpy(), scores.cpu().numpy()
