"""TensorRT engines that `htrcompress export --trt` built, as a back end."""

import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.runtime.backend import NoLogits, Open, Output, precision_of
from htrcompress.runtime.tensorrt_engine import Engine

DECODED = ("labels", "lengths", "scores")
"""Outputs of an engine with its decoder inside; `logits` may stand beside."""
RAW = ("logits", "frames")
"""Outputs of an engine without a decoder."""


class TensorRtBackend:
    """Reads lines with an `.engine` file; one that gives logits alone is decoded here, by the reference.

    Raises:
        NoLogits: logits are asked for, and the engine has no such output.
        HtrError: see `Engine`; or engines do not run on the device.
    """

    device = "cuda"
    num_streams = 1

    def __init__(self, path: Path, options: Open = Open()):
        if options.device not in (None, "cuda", "tensorrt", "tensorrt-rtx"):
            raise HtrError(
                f"{path} is a TensorRT engine, which runs on a GPU: use the .onnx model on the {options.device}"
            )
        self._opened_as = path.absolute(), options
        self._lock, self._process = Lock(), os.getpid()
        self._engine = Engine(path)
        self.card, self.name = self._engine.card, self._engine.name
        self.max_batch, self.max_width = self._engine.max_batch, self._engine.max_width
        self.arithmetic = precision_of(path)
        self._decoded, self._logits = set(DECODED) <= set(self._engine.outputs), options.logits
        try:
            self._names(options.logits)
        except NoLogits:
            self.close()
            raise

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32], logits: bool | None = None) -> Output:
        """One batch; see `Backend.run`."""
        if self._process != os.getpid():
            raise HtrError(f"{self._opened_as[0]} was opened before a fork, which CUDA does not survive: load it here")
        shown = self._logits if logits is None else logits
        names = self._names(shown)
        with self._lock:  # the context and its buffers hold one batch
            self._engine.upload(pixels, widths)
            self._engine.execute()
            found = self._engine.download(names)
        if self._decoded:
            return Output(**found)
        raw = found["logits"]
        return Output(*reference.greedy(raw, found["frames"]), raw if shown else None)

    def _names(self, logits: bool) -> tuple[str, ...]:
        """The outputs to fetch.

        Raises:
            NoLogits: the engine lacks one of them.
        """
        names = DECODED + ("logits",) * logits if self._decoded else RAW
        if missing := set(names) - set(self._engine.outputs):
            raise NoLogits(f"{self._opened_as[0]} gives no {', '.join(sorted(missing))}: export the model again")
        return names

    def stream(self) -> "TensorRtBackend":
        """Itself: a batch has the whole GPU."""
        return self

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            self._engine.close()

    def inspect(self) -> dict[str, int]:
        """How many layers give `FP16`, `FP32` or `INT8`; see `Engine.inspect`."""
        return self._engine.inspect()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._opened_as

    def __del__(self) -> None:
        if hasattr(self, "_engine") and self._process == os.getpid():
            self.close()
