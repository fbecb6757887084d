"""An exported `.onnx` model, decoder included, run by ONNX Runtime: no torch, a small start.

The file is checked against the card that it carries before the first line is read, so a foreign or damaged
one is refused in one sentence.
"""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.runtime.onnx_session import first_line, open_session
from htrcompress.utils.machine import cores, lines_at_once

OUTPUTS = {"labels": "tensor(int32)", "lengths": "tensor(int32)", "scores": "tensor(float)"}


class OnnxRuntimeBackend:
    """Runs an `.onnx` file that `htrcompress.export` wrote.

    Args:
        path: the model file.
        threads: CPU threads; by default one for each physical core.
        device: one of `providers.PROVIDERS`; `cuda` where it works, else `cpu` by default.

    Raises:
        HtrError: the device is not there, or the file is damaged, was not written by this package, or does not fit
            its card.
    """

    name = "ONNX Runtime"

    def __init__(self, path: Path, threads: int | None = None, device: str | None = None):
        try:
            self._model, self._where = path.read_bytes(), str(path)
        except OSError as error:
            raise HtrError(f"cannot read {path}: {error.strerror or error}") from None
        self._session, self.device = open_session(self._model, self._where, device, threads)
        self._lane: OnnxRuntimeBackend | None = None
        self.lanes = (threads or cores()) if self.device == "cpu" else 1
        self.most = (lines_at_once(threads) if self.device == "cpu" else math.inf, math.inf)
        self.card = Card.of_graph(self._session.get_modelmeta().custom_metadata_map, str(path))
        _check(self._session, self.card, path)

    def run(
        self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """One batch; shapes as in `recognizer.Backend`."""
        try:
            return tuple(self._session.run(list(OUTPUTS), {"pixels": pixels, "widths": widths}))
        except Exception as error:  # its exception classes have no common base
            lines, width = pixels.shape[0], pixels.shape[3]
            raise HtrError(
                f"ONNX Runtime failed on {lines} lines of width {width}; a smaller batch may pass: {first_line(error)}"
            ) from None

    def lane(self) -> "OnnxRuntimeBackend":
        """With a session of one thread, which several threads may run at once; opened when it is first asked for."""
        if self.lanes > 1 and self._lane is None:
            self._lane = copy.copy(self)
            self._lane._session, _ = open_session(self._model, self._where, self.device, 1)
        return self._lane or self


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
