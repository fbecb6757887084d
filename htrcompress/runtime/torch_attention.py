"""The attention decoder that a trained model's file keeps, run by PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from htrcompress.errors import HtrError
from htrcompress.models.attention import AttentionDecoder
from htrcompress.models.serialization import load_with_decoder, require_decoder
from htrcompress.runtime.backend import Open
from htrcompress.runtime.forking import ProcessGuard


class TorchAttention:
    """An `AttentionModel` in FP32, on the device that the model itself is opened on.

    Raises:
        HtrError: the file keeps no attention decoder.
    """

    def __init__(self, path: Path, options: Open = Open()):
        self._opened_as, self._guard = (path.absolute(), options), ProcessGuard()
        self.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.decoder = require_decoder(load_with_decoder(path)[1], path).to(self.device)

    def begin(self, memory: NDArray[np.float32], frames: NDArray[np.integer]) -> "TorchSteps":
        """See `AttentionModel.begin`."""
        self._guard.renew(self._after_fork)
        where = torch.device(self.device)
        return TorchSteps(self.decoder, torch.tensor(memory, device=where), torch.tensor(frames, device=where))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._opened_as

    def _after_fork(self) -> None:
        if self.device != "cpu":  # on a CPU, the back end has set one thread
            raise HtrError(
                f"{self._opened_as[0]} was opened on {self.device} before a fork: load it in the new process"
            )


class TorchSteps:
    """`Steps` in PyTorch, which stay on the device."""

    def __init__(self, decoder: AttentionDecoder, memory: torch.Tensor, frames: torch.Tensor):
        self.decoder, self.memory, self.frames = decoder, memory, frames
        self.keys, self.values = decoder.start(len(memory), memory.device)

    @torch.inference_mode()
    def advance(self, labels: NDArray[np.int64], parents: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `Steps.advance`."""
        where = self.memory.device
        given = torch.tensor(labels, device=where), torch.tensor(parents, device=where)
        found, self.keys, self.values = self.decoder.step(self.memory, self.frames, *given, self.keys, self.values)
        return np.asarray(found.cpu().numpy(), np.float32)
