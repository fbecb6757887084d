"""A dataset prepared for training: encoded lines at one height, their charset, and the entries of the card."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from htrcompress import models
from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.config import TrainConfig
from htrcompress.data.characters import charset_of, unknown_characters
from htrcompress.data.lines import Dataset, JoinedLines
from htrcompress.data.prepare import EncodedLines, drop_too_narrow, encode_lines, encode_splits
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.images import open_unlabelled
from htrcompress.data.readers.open import open_dataset, saved_read
from htrcompress.data.splitting import Unit, with_validation
from htrcompress.models.base import LineRecognizer
from htrcompress.utils import machine

MAX_WIDTH = 4096
"""Width in pixels, at the height of the model, of the widest line that a model reads."""
PACKAGES = ("htrcompress", "torch", "numpy", "pillow", "kornia", "accelerate", "safetensors")


@dataclass(frozen=True)
class TrainingData:
    """Training and validation lines of a dataset.

    Attributes:
        read: how its texts were read.
        dataset: all its lines, other splits included.
        charset: the characters of the training split, or those of the model that is trained further or distilled.
        height: of the images, in pixels.
        train: the training lines, encoded.
        valid: the validation lines, encoded.
        left_out: training lines that CTC cannot emit.
        unreadable: training and validation lines whose images cannot be used.
        unknown: characters of train and valid outside the charset, with counts.
        held_back: what the validation lines were taken from the training lines by; None if the dataset has its own, or
            if there are none.
    """

    read: ReadConfig
    dataset: Dataset
    charset: Charset
    height: int
    train: EncodedLines
    valid: EncodedLines
    left_out: int
    unreadable: int
    unknown: dict[str, int]
    held_back: Unit | None = None

    def card(self, name: str, model: LineRecognizer, training: dict[str, Any]) -> Card:
        """The card of a model that will be trained on this data."""
        used = {split: self.dataset.splits[split] for split in ("train", "valid") if self.dataset.splits.get(split)}
        data = {
            "name": self.dataset.name,
            "format": self.dataset.format,
            "read": self.dataset.packing.read if self.dataset.packing else saved_read(self.read),
            "splits": {s: {"lines": len(ls), "hash": self.dataset.identity(s)} for s, ls in used.items()},
            "dropped": self.dataset.dropped,
            "changed": self.dataset.changed,
            "not_emittable": self.left_out,
            "unreadable": self.unreadable,
            "unknown_characters": self.unknown,
            **({"held_back": self.held_back} if self.held_back else {}),
        }
        return Card(
            name,
            models.architecture(model),
            self.charset.characters,
            self.height,
            models.STRIDE,
            MAX_WIDTH,
            data,
            training=training,
            versions=machine.versions(*PACKAGES),
            direction=self.charset.direction,
        )

    def summary(self) -> str:
        """A sentence for people."""
        notes = [f"left out: {count} {reason}" for reason, count in self.dataset.dropped.items()]
        notes += [f"{count} {what}" for what, count in self.dataset.changed.items()]
        notes += self.dataset.notes
        shared = {split: self.dataset.trained_on(split) for split in self.dataset.splits}
        notes += [f"{count} lines of {split} are training lines too" for split, count in shared.items() if count]
        notes += [f"{self.left_out} too narrow for their text"] if self.left_out else []
        notes += [f"{self.unreadable} with an image that cannot be used"] if self.unreadable else []
        reordered = self.charset.changed_order(chain(self.train.texts, self.valid.texts))
        notes += [f"{reordered} whose order of mixed directions cannot be recovered from the page"] if reordered else []
        unknown = " ".join(f"{character!r} ({count})" for character, count in self.unknown.items())
        notes += [f"outside the charset: {unknown}"] if unknown else []
        notes += [f"validation by {self.held_back}, taken from the training lines"] if self.held_back else []
        return (
            f"{self.dataset.name}: {len(self.train.texts)} training and {len(self.valid.texts)} validation lines, "
            f"{len(self.charset.characters)} characters" + (f" ({'; '.join(notes)})" if notes else "")
        )


def open_training_data(
    source: str,
    height: int,
    config: TrainConfig,
    read: ReadConfig,
    choose: Callable[[Charset], Charset] = lambda charset: charset,
    hold_back: bool = False,
) -> TrainingData:
    """Opens a dataset and reads its training and validation lines.

    Args:
        source: a folder, several with commas between, or `synthetic`.
        height: of the model's lines, in pixels.
        config: how many lines to use, and the largest share of them that CTC may be unable to emit.
        read: how to read texts where the format leaves a choice.
        choose: from the charset of the training lines to that of the model.
        hold_back: whether validation lines are taken from the training lines where the dataset has none; of few lines,
            none are taken (`splitting.with_validation`).

    Raises:
        HtrError: the dataset lacks a split, an image is unusable, or too many lines cannot be emitted.
    """
    dataset, held_back = open_dataset(source, read), None
    if hold_back:
        dataset, held_back = with_validation(dataset, config.seed)
    dataset = dataset.limited("train", config.lines, config.seed)
    train_lines = dataset.split("train")
    valid_lines = dataset.splits.get("valid", ()) if hold_back else dataset.split("valid")
    charset = choose(charset_of(train_lines))
    unknown = unknown_characters(JoinedLines([train_lines, valid_lines]), charset)
    encoded = encode_splits(
        {"train": train_lines, "valid": valid_lines}, charset, height, MAX_WIDTH, config.max_unreadable
    )
    train, valid = encoded["train"], encoded["valid"]
    unreadable = len(train_lines) + len(valid_lines) - len(train) - len(valid)
    train, left_out = drop_too_narrow(train, models.STRIDE, config.max_too_narrow)
    return TrainingData(read, dataset, charset, height, train, valid, left_out, unreadable, unknown, held_back)


def open_images(folder: Path, height: int, max_unreadable: float = 0.0) -> EncodedLines:
    """The images of a folder as lines without labels.

    Raises:
        HtrError: there are none, or a larger share than `max_unreadable` cannot be used.
    """
    return encode_lines(open_unlabelled(folder), Charset((" ",)), height, MAX_WIDTH, max_unreadable)
