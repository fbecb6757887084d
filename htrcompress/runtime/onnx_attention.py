"""The step of an attention decoder as an exported graph, run by ONNX Runtime.

memory float32 (lines, frames, M), frames int64 (lines,), labels and parents int64 (lines, K),
keys and values float32 (layers, lines, K', heads, U, width)
    -> log_probabilities float32 (lines, K, C), and next_keys and next_values with K texts of U + 1 characters
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.errors import HtrError, first_line
from htrcompress.runtime.backend import Open
from htrcompress.runtime.forking import ProcessGuard
from htrcompress.runtime.onnx_session import open_session, stored_card

INPUTS = ("memory", "frames", "labels", "parents", "keys", "values")
OUTPUTS = ("log_probabilities", "next_keys", "next_values")


class OnnxAttention:
    """An `AttentionModel` in ONNX Runtime, on one CPU thread for each caller.

    Args:
        step: the graph's file.
        card: of the model that gives the memory.
        options: the device.

    Raises:
        HtrError: the graph is missing, damaged, or not of the same model.
    """

    def __init__(self, step: Path, card: Card, options: Open = Open()):
        if not step.is_file():
            raise HtrError(f"there is no {step}, the attention decoder's step: write it with `export --attention`")
        self._opened_as, self._guard = (step.absolute(), card, options), ProcessGuard()
        self._model, self._where = step.read_bytes(), str(step)
        self._session, self.device = open_session(self._model, self._where, options.device, 1)
        self.card = card
        if _identity(stored_card(self._session, self._where)) != _identity(card):
            raise HtrError(f"{step} is of another model than the file beside it: write both with `export --attention`")
        names = tuple(value.name for value in self._session.get_inputs())
        given = tuple(value.name for value in self._session.get_outputs())
        if names != INPUTS or given != OUTPUTS or not self.card.attention:
            raise HtrError(f"{step} is not the step of an attention decoder: write it with `export --attention`")

    def begin(self, memory: NDArray[np.float32], frames: NDArray[np.integer]) -> "OnnxSteps":
        """See `AttentionModel.begin`."""
        self._guard.renew(self._reopen)
        sizes = self.card.attention
        shape = sizes["layers"], len(memory), 1, sizes["heads"], 0, sizes["dim"] // sizes["heads"]
        return OnnxSteps(self._session, self._where, memory, np.asarray(frames, np.int64), shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._opened_as

    def _reopen(self) -> None:
        """Opens the session again, in a process that inherited it through a fork."""
        if self.device != "cpu":
            raise HtrError(f"{self._where} was opened on {self.device} before a fork: load it in the new process")
        self._session, _ = open_session(self._model, self._where, self.device, 1)


def _identity(card: Card) -> tuple[object, ...]:
    """What tells the model of one training from others; its figures and its calibration may change later."""
    return card.digest(), card.attention, card.data, card.training


class OnnxSteps:
    """`Steps` in ONNX Runtime."""

    def __init__(
        self,
        session: Any,
        where: str,
        memory: NDArray[np.float32],
        frames: NDArray[np.int64],
        shape: tuple[int, ...],
    ):
        self._session, self._where = session, where
        self._memory, self._frames = np.ascontiguousarray(memory, np.float32), frames
        self._keys = self._values = np.zeros(shape, np.float32)

    def advance(self, labels: NDArray[np.int64], parents: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `Steps.advance`.

        Raises:
            HtrError: ONNX Runtime fails.
        """
        given = (self._memory, self._frames, labels, parents, self._keys, self._values)
        try:
            found = self._session.run(list(OUTPUTS), dict(zip(INPUTS, given, strict=True)))
        except Exception as error:  # its exception classes have no common base
            raise HtrError(f"ONNX Runtime failed in {self._where}: {first_line(error)}") from None
        log_probabilities, self._keys, self._values = found
        return np.asarray(log_probabilities, np.float32)
