"""All that a stopped training needs to go on, in one file, and whether a run is the one that was stopped."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from htrcompress.card import Card
from htrcompress.config import AugmentConfig, TrainConfig
from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import HtrError, enough_memory, out_of_memory
from htrcompress.training.logging import State
from htrcompress.utils.io import write_atomic


def identity(
    config: TrainConfig,
    augmentation: AugmentConfig | None,
    card: Card,
    train: EncodedLines,
    valid: EncodedLines,
    **more: Any,
) -> dict[str, Any]:
    """What must be equal for a run to be the same run. Where its lines and its language model lie is no part of it."""
    found: dict[str, Any] = json.loads(card.to_json())
    for where in ("path", "name"):
        del found["data"][where]
    for where in ("llm", "unlabelled"):
        found["training"].get(where, {}).pop("name", None)
    images = {"train": train.fingerprint(), "valid": valid.fingerprint()}
    options = {"train": asdict(config), "augment": asdict(augmentation) if augmentation else None}
    return {**options, "card": found, "images": images, **more}


class Checkpoint:
    """All that a stopped run needs to go on, in one file that is replaced whole. One run at a time holds it.

    Args:
        folder: the training folder of one model.
        identity: of the run, from `identity`.
        writes: whether this process writes; of several that train together, one does.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], writes: bool = True):
        self.writes = writes
        self.path = folder / "checkpoint.pt"
        self.identity = json.loads(json.dumps(identity))
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

    def save(self, state: State, **parts: Any) -> None:
        """Writes the counters and the `state_dict` of every part."""
        if not self.writes:
            return
        buffer = io.BytesIO()
        tensors = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"identity": self.identity, "state": asdict(state), **tensors}, buffer)
        write_atomic(self.path, buffer.getvalue())

    def restore(self, **parts: Any) -> State:
        """Loads the parts in place, if there is a checkpoint, and returns the counters.

        Raises:
            HtrError: the checkpoint cannot be read, is damaged, or is of a run with other options, data or networks.
        """
        if not self.path.is_file():
            return State()
        with enough_memory(lambda: f"out of memory for the checkpoint {self.path}: resume where more is free"):
            saved = self._read(*parts)
            differences = _differences(saved["identity"], self.identity)
            if differences:
                raise HtrError(f"{self.path} is of another run: {'; '.join(differences)}")
            try:
                for name, part in parts.items():
                    part.load_state_dict(saved[name])
            except (RuntimeError, ValueError) as error:
                if out_of_memory(error):
                    raise
                raise HtrError(f"{self.path} is of another network or another language model than this one") from None
            return State(**{**saved["state"], "curve": [tuple(row) for row in saved["state"]["curve"]]})

    def _read(self, *parts: str) -> dict[str, Any]:
        """What the file holds, with these parts; only one that cannot be unpacked counts as damaged."""
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise HtrError(f"cannot read the checkpoint {self.path}: {error.strerror or error}") from None
        except Exception as error:  # pickle.UnpicklingError, EOFError, RuntimeError from a broken archive, and others
            if out_of_memory(error):
                raise
            told = (str(error) or type(error).__name__).splitlines()[0]
            raise HtrError(f"the checkpoint {self.path} is damaged ({told}): remove it to start anew") from None
        if not (isinstance(saved, dict) and {"identity", "state", *parts} <= saved.keys()):
            raise HtrError(f"the checkpoint {self.path} is none of ours: remove it to start anew")
        return saved


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Where two nested dictionaries differ, as `a.b was 1 and is 2`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [d for k in keys for d in _differences(before.get(k), now.get(k), f"{where}.{k}".strip("."))]
    return [] if before == now else [f"{where} was {_short(before)} and is {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
