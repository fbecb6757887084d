"""Checkpoints: everything that a stopped training needs to continue, in one file, and whether it is the same run."""

import io
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout

from htrcompress.card import Card
from htrcompress.config import AugmentConfig, TrainConfig
from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import HtrError, enough_memory, first_line, out_of_memory
from htrcompress.training.logging import TrainState
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """What a checkpoint can hold: a network, an optimiser, a gradient scaler."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


def run_fingerprint(
    config: TrainConfig,
    augmentation: AugmentConfig | None,
    card: Card,
    train: EncodedLines,
    valid: EncodedLines,
    losses: dict[str, Any],
) -> dict[str, Any]:
    """What must be equal for two runs to be the same one.

    Names of the data and of the language model are left out, since the same ones may have moved, and so are the
    versions of libraries, which `Checkpoint` only warns about.
    """
    found: dict[str, Any] = json.loads(card.to_json())
    del found["versions"]
    for where in ("name", "path"):
        found["data"].pop(where, None)
    for where in ("llm", "unlabelled"):
        found["training"].get(where, {}).pop("name", None)
    images = {"train": train.fingerprint(), "valid": valid.fingerprint()}
    options = {"train": asdict(config), "augment": asdict(augmentation) if augmentation else None}
    return {**options, "card": found, "images": images, "losses": losses}


class Checkpoint:
    """The file `checkpoint.pt` of a training, which is replaced whole. Only one run at a time can hold it.

    Args:
        folder: the training folder of one model.
        fingerprint: of the run, from `run_fingerprint`.
        versions: of the libraries that the run uses; a resumed run warns about differences.
        writes: whether this process writes; of several that train together, one does.
    """

    def __init__(
        self, folder: Path, fingerprint: dict[str, Any], versions: dict[str, str] | None = None, writes: bool = True
    ):
        self.writes = writes
        self.path = folder / "checkpoint.pt"
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.versions = versions or {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HtrError(f"cannot make the folder {folder}: {error.strerror}") from None
        self.lock = FileLock(folder / ".lock")

    def __enter__(self) -> "Checkpoint":
        try:
            if self.writes:
                self.lock.acquire(timeout=0)
        except Timeout:
            raise HtrError(
                f"another run is training in {self.path.parent}: wait for it or use another folder"
            ) from None
        except OSError as error:
            raise HtrError(f"cannot write in the folder {self.path.parent}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def save(self, state: TrainState, **parts: Stateful) -> None:
        """Writes the counters and the `state_dict` of every part."""
        if not self.writes:
            return
        buffer = io.BytesIO()
        tensors = {name: part.state_dict() for name, part in parts.items()}
        about = {"fingerprint": self.fingerprint, "versions": self.versions, "state": asdict(state)}
        torch.save({**about, **tensors}, buffer)
        write_atomic(self.path, buffer.getvalue())

    def restore(self, **parts: Stateful) -> TrainState:
        """Loads the parts in place, if there is a checkpoint, and returns the counters.

        Raises:
            HtrError: the checkpoint cannot be read, is damaged, or is of a run with other options, data or networks.
        """
        if not self.path.is_file():
            return TrainState()
        with enough_memory(lambda: f"out of memory for the checkpoint {self.path}: resume where more is free"):
            saved = self._read(*parts)
            differences = _differences(saved["fingerprint"], self.fingerprint)
            if differences:
                raise HtrError(f"{self.path} is of another run: {'; '.join(differences)}")
            for difference in _differences(saved["versions"], self.versions):
                logger.warning("%s: %s, so the resumed run may differ in its last digits", self.path, difference)
            try:
                for name, part in parts.items():
                    part.load_state_dict(saved[name])
            except (RuntimeError, ValueError) as error:
                if out_of_memory(error):
                    raise
                raise HtrError(f"{self.path} is of another network or another language model than this one") from None
            return TrainState(**{**saved["state"], "curve": [tuple(row) for row in saved["state"]["curve"]]})

    def _read(self, *parts: str) -> dict[str, Any]:
        """The content of the file; only a file that cannot be unpacked counts as damaged."""
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise HtrError(f"cannot read the checkpoint {self.path}: {error.strerror or error}") from None
        except Exception as error:  # pickle.UnpicklingError, EOFError, RuntimeError from a broken archive, and others
            if out_of_memory(error):
                raise
            reason = first_line(error)
            raise HtrError(f"the checkpoint {self.path} is damaged ({reason}): remove it to start again") from None
        if not (isinstance(saved, dict) and {"fingerprint", "versions", "state", *parts} <= saved.keys()):
            raise HtrError(f"{self.path} is not a checkpoint of this version: remove it to start again")
        return saved


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Where two nested dictionaries differ, as `a.b was 1 and is 2`.

    An option that came after the checkpoint is no difference where it is off.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | {key for key, value in now.items() if value})
        return [d for k in keys for d in _differences(before.get(k), now.get(k), f"{where}.{k}".strip("."))]
    return [] if before == now else [f"{where} was {_short(before)} and is {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
