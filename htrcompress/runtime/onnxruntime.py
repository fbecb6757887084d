"""An exported `.onnx` model, decoder included, run by ONNX Runtime: no torch, a small start.

The file is checked against the card that it carries before the first line is read, so a foreign or damaged
one is refused in one sentence.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import CARD_KEY, Card
from htrcompress.errors import HtrError

try:
    import onnxruntime
except ImportError:
    raise HtrError(
        "onnxruntime is not installed: run `pip install 'htrcompress[cpu]'`, or on a machine with an NVIDIA GPU "
        "`pip install 'htrcompress[gpu]'`; never both, since they share one module"
    ) from None

OUTPUTS = {"labels": "tensor(int32)", "lengths": "tensor(int32)", "scores": "tensor(float)"}
ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """Runs an `.onnx` file that `htrcompress.export` wrote.

    Args:
        path: the model file.
        threads: CPU threads; by default one for each physical core.
        device: `cpu`, `cuda`, or None for the better one that is there.

    Raises:
        HtrError: the file is damaged, was not written by this package, or does not fit its card.
    """

    name = "ONNX Runtime"

    def __init__(self, path: Path, threads: int | None = None, device: str | None = None):
        self._session = _open(path, threads, device)
        self.device = "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"
        if device == "cuda" and self.device == "cpu":
            raise HtrError(
                "ONNX Runtime finds no CUDA device here: use the cpu, or install htrcompress[gpu] in place of [cpu]"
            )
        self.card = Card.from_json(self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY), str(path))
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
                f"ONNX Runtime failed on {lines} lines of width {width}; a smaller batch may pass: {_first_line(error)}"
            ) from None


def _open(path: Path, threads: int | None, device: str | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = ERRORS_ONLY
    providers = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its exception classes have no common base
        raise HtrError(f"{path} is damaged or not an ONNX model: {_first_line(error)}") from None


def _check(session: Any, card: Card, path: Path) -> None:
    """Refuses a graph that does not take and give what the card promises."""
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    outputs = {value.name: (value.type, value.shape) for value in session.get_outputs()}
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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
