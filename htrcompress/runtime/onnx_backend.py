"""An exported `.onnx` model, decoder included, run by ONNX Runtime: no torch, a small start.

The file is checked against the card that it carries before the first line is read, so a foreign or damaged
one is refused in one sentence.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.runtime.backend import UNLIMITED, Open, Output
from htrcompress.runtime.onnx_session import first_line, open_session, stored_card
from htrcompress.utils.machine import cores, lines_at_once

OUTPUTS = {"labels": "tensor(int32)", "lengths": "tensor(int32)", "scores": "tensor(float)"}


class OnnxRuntimeBackend:
    """Runs an `.onnx` file that `htrcompress.export` wrote.

    Args:
        path: the model file.
        options: threads, one for each physical core by default; the device, one of `onnx_session.PROVIDERS`, `cuda`
            where it works, else `cpu` by default; and whether to give logits.

    Raises:
        HtrError: the device is not there, or the file is damaged, was not written by this package, or does not fit
            its card.
    """

    name = "ONNX Runtime"
    max_width = UNLIMITED

    def __init__(self, path: Path, options: Open = Open()):
        threads = options.threads
        if options.device == "mps":
            raise HtrError(f"{path} has no mps: use the .safetensors model there, or ONNX Runtime on the cpu")
        try:
            self._model, self._where = path.read_bytes(), str(path)
        except OSError as error:
            raise HtrError(f"cannot read {path}: {error.strerror or error}") from None
        self._session, self.device = open_session(self._model, self._where, options.device, threads)
        self._stream: OnnxRuntimeBackend | None = None
        self.num_streams = (threads or cores()) if self.device == "cpu" else 1
        self.max_batch = lines_at_once(threads) if self.device == "cpu" else UNLIMITED
        self.card = stored_card(self._session, str(path))
        _check(self._session, self.card, path)
        self._names = [*OUTPUTS, "logits"] if options.logits else list(OUTPUTS)
        if options.logits and all(output.name != "logits" for output in self._session.get_outputs()):
            raise HtrError(f"{path} gives no logits: export the model again")
        self.arithmetic = _arithmetic(path, self.device)

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> Output:
        """One batch; see `Backend.run`."""
        try:
            return Output(*self._session.run(self._names, {"pixels": pixels, "widths": widths}))
        except Exception as error:  # its exception classes have no common base
            lines, width = pixels.shape[0], pixels.shape[3]
            raise HtrError(
                f"ONNX Runtime failed on {lines} lines of width {width}; a smaller batch may pass: {first_line(error)}"
            ) from None

    def stream(self) -> "OnnxRuntimeBackend":
        """With a session of one thread, which several threads may run at once; opened when it is first asked for."""
        if self.num_streams > 1 and self._stream is None:
            self._stream = copy.copy(self)
            self._stream._session, _ = open_session(self._model, self._where, self.device, 1)
        return self._stream or self


def _check(session: Any, card: Card, path: Path) -> None:
    """Refuses a graph that does not take and give what the card promises."""
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    outputs = {value.name: (value.type, value.shape) for value in session.get_outputs()}
    if set(outputs) == {"logits", "frames"}:
        raise HtrError(f"{path} gives no labels: it was exported with --decode none")
    fits = set(inputs) == {"pixels", "widths"} and set(outputs) - {"logits"} == set(OUTPUTS)
    if fits:
        (pixel_type, shape), (width_type, width_shape) = inputs["pixels"], inputs["widths"]
        fits = (pixel_type, width_type) == ("tensor(uint8)", "tensor(int32)") and len(width_shape) == 1
        fits = fits and len(shape) == 4 and shape[1:3] == [1, card.height]
        # a fixed batch or width is an int here, a free one a name or None
        fits = fits and not any(isinstance(size, int) for size in (shape[0], shape[3], *width_shape))
        fits = fits and all(outputs[name][0] == kind for name, kind in OUTPUTS.items())
        fits = fits and [len(outputs[name][1]) for name in OUTPUTS] == [2, 1, 1]
    if not fits:
        raise HtrError(f"the graph in {path} does not fit its card: write it again with `python -m htrcompress.export`")


def precision_of(path: Path) -> str:
    """What an exported file holds, by its name: `FP16`, `INT8` or `FP32`."""
    return next((name for name in ("FP16", "INT8") if f".{name.lower()}." in path.name), "FP32")


def _arithmetic(path: Path, device: str) -> str:
    """What the file is computed in: ONNX Runtime's CPU provider casts an FP16 graph to FP32, and OpenVINO does too."""
    precision = precision_of(path)
    return "FP32" if precision == "FP16" and device in ("cpu", "openvino") else precision
