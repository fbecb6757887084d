"""Exported `.onnx` models, run by ONNX Runtime: no torch, a small start.

A file is checked against the card that it carries before the first line is read, so a foreign or damaged one is
refused in one sentence.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.decoding import reference
from htrcompress.errors import HtrError, first_line
from htrcompress.runtime.backend import LINES_PER_THREAD, UNLIMITED, NoLogits, Open, Output, precision_of
from htrcompress.runtime.forking import ProcessGuard
from htrcompress.runtime.onnx_session import open_session, stored_card
from htrcompress.utils.machine import cores

DECODED = {"labels": "tensor(int32)", "lengths": "tensor(int32)", "scores": "tensor(float)"}
"""What a graph with its decoder inside gives; `logits` and `memory` may stand beside."""
RAW = ("logits", "frames")
"""What a graph without a decoder gives."""


class OnnxRuntimeBackend:
    """Runs an `.onnx` file that `htrcompress.export` wrote.

    A graph without a decoder (`--decode none`) is decoded here, by the reference.

    Args:
        path: the model file.
        options: threads, one for each core that the process may use by default; the device, one of
            `onnx_session.PROVIDERS`, `cuda` where it works, else `cpu`, by default; and whether to give logits.

    Raises:
        NoLogits: logits are asked for, and the graph has no such output.
        HtrError: the device is not there, or the file is damaged, was not written by this package, or does not fit
            its card.
    """

    name = "ONNX Runtime"
    max_width = UNLIMITED

    def __init__(self, path: Path, options: Open = Open()):
        if options.device == "mps":
            raise HtrError(f"{path} has no mps: use the .safetensors model there, or ONNX Runtime on the cpu")
        try:
            self._model, self._where = path.read_bytes(), str(path)
        except OSError as error:
            raise HtrError(f"cannot read {path}: {error.strerror or error}") from None
        self._opened_as = path.absolute(), options
        self._threads = options.threads or cores()
        self._session, self.device = open_session(self._model, self._where, options.device, self._threads)
        self._guard = ProcessGuard()
        self._stream: OnnxRuntimeBackend | None = None
        on_cpu = self.device == "cpu"
        self.num_streams = self._threads if on_cpu else 1
        self.max_batch = LINES_PER_THREAD * self._threads if on_cpu else UNLIMITED
        self.card = stored_card(self._session, self._where)
        self._outputs = _check(self._session, self.card, self._where)
        self._decoded = set(DECODED) <= self._outputs
        self._logits = options.logits
        self._memory = options.memory
        if options.memory and "memory" not in self._outputs:
            raise HtrError(
                f"{path} gives nothing to an attention decoder: write model.attention.onnx with `export --attention`"
            )
        self._names(options.logits)
        self.arithmetic = _arithmetic(path, self.device)

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32], logits: bool | None = None) -> Output:
        """One batch; see `Backend.run`."""
        self._guard.renew(self._reopen)
        shown = self._logits if logits is None else logits
        names = self._names(shown)
        try:
            found = self._session.run(names, {"pixels": pixels, "widths": widths})
        except Exception as error:  # its exception classes have no common base
            lines, width = pixels.shape[0], pixels.shape[3]
            raise HtrError(
                f"ONNX Runtime failed on {lines} lines of width {width}; a smaller batch may pass: {first_line(error)}"
            ) from None
        if self._decoded:
            return Output(**dict(zip(names, found, strict=True)))
        raw, frames = found
        return Output(*reference.greedy(raw, frames), raw if shown else None)

    def _names(self, logits: bool) -> list[str]:
        """The outputs to compute.

        Raises:
            NoLogits: the graph has no such output.
        """
        if logits and "logits" not in self._outputs:
            raise NoLogits(f"{self._where} gives no logits: export the model again")
        return [*DECODED, *["logits"] * logits, *["memory"] * self._memory] if self._decoded else list(RAW)

    def stream(self) -> "OnnxRuntimeBackend":
        """With a session of one thread, which several threads may call at once; opened when it is first asked for."""
        if self.num_streams == 1:
            return self
        if self._stream is None:
            stream = copy.copy(self)
            stream._threads, stream.num_streams, stream.max_batch = 1, 1, LINES_PER_THREAD
            stream._session, _ = open_session(self._model, self._where, self.device, 1)
            stream._guard = ProcessGuard()
            self._stream = stream
        return self._stream

    def close(self) -> None:
        """See `Backend.close`."""
        self._session = self._stream = None

    def __copy__(self) -> "OnnxRuntimeBackend":
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._opened_as

    def _reopen(self) -> None:
        """Opens the session again, in a process that inherited it through a fork."""
        if self.device != "cpu":
            raise HtrError(f"{self._where} was opened on {self.device} before a fork: load it in the new process")
        self._session, _ = open_session(self._model, self._where, self.device, self._threads)


def _check(session: Any, card: Card, where: str) -> set[str]:
    """The names of a graph's outputs.

    Raises:
        HtrError: it does not take and give what its card promises.
    """
    try:
        inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
        outputs = {value.name: (value.type, value.shape) for value in session.get_outputs()}
    except UnicodeDecodeError:
        raise HtrError(f"{where} is damaged: the names in its graph are not UTF-8 text") from None
    fits = set(inputs) == {"pixels", "widths"} and (
        set(outputs) == set(RAW) or set(outputs) - {"logits", "memory"} == set(DECODED)
    )
    if fits:
        (pixel_type, shape), (width_type, width_shape) = inputs["pixels"], inputs["widths"]
        fits = (pixel_type, width_type) == ("tensor(uint8)", "tensor(int32)") and len(width_shape) == 1
        fits = fits and len(shape) == 4 and shape[1:3] == [1, card.height]
        # a fixed batch or width is an int here, a free one a name or None
        fits = fits and not any(isinstance(size, int) for size in (shape[0], shape[3], *width_shape))
    if fits and "labels" in outputs:
        fits = all(outputs[name][0] == kind for name, kind in DECODED.items())
        fits = fits and [len(outputs[name][1]) for name in DECODED] == [2, 1, 1]
    for name in {"logits", "memory"} & outputs.keys():
        fits = fits and outputs[name][0] == "tensor(float)" and len(outputs[name][1]) == 3
    if not fits:
        raise HtrError(f"the graph in {where} does not fit its card: export it again with `htrcompress export`")
    return set(outputs)


def _arithmetic(path: Path, device: str) -> str:
    """What the file is computed in: ONNX Runtime's CPU provider casts an FP16 graph to FP32, and OpenVINO does too."""
    precision = precision_of(path)
    return "FP32" if precision == "FP16" and device in ("cpu", "openvino") else precision
