"""The data that a model was trained on: found again by what its card says, with the validation lines that it had."""

import contextlib
from typing import Any

from htrcompress.card import Card
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.data.splitting import with_validation
from htrcompress.errors import HtrError


def default_data(card: Card, run: str | None = None) -> str:
    """The data that a model was trained on, as `--data` would name it.

    A folder of the name on the card must have the lines that the card has hashes of, since another folder may have the
    same name.

    Args:
        card: of the model.
        run: where the model's run found the data, if that is known; tried first.

    Raises:
        HtrError: the data is not here.
    """
    others = []
    for source in (run, card.data.get("name")):
        if isinstance(source, str) and source:
            with contextlib.suppress(HtrError, OSError):  # there is no such folder, or it holds no dataset
                if _holds_lines_of(card, source):
                    return source
                others.append(source)
    if others:
        raise HtrError(f"{others[0]} does not hold the lines that {card.name} was trained on: name them with --data")
    raise HtrError(f"the data that {card.name} was trained on is not here: name the data to read with --data")


def open_as_trained(source: str, card: Card) -> Dataset:
    """Opens a dataset with its texts read as they were in a model's training.

    Where the training held back validation lines of a dataset that has none, and this is that dataset, they are its
    validation lines again.

    Raises:
        HtrError: see `open_dataset`.
    """
    dataset = open_dataset(source, read_config(card))
    if card.data.get("held_back") and not dataset.splits.get("valid") and dataset.splits.get("train"):
        with contextlib.suppress(HtrError):  # it is another dataset, whose lines cannot be shared out
            held, _ = with_validation(dataset, card.training.get("seed", 0))
            if held.identity("valid") == _saved_splits(card).get("valid", {}).get("hash"):
                return held
    return dataset


def _holds_lines_of(card: Card, source: str) -> bool:
    """Whether a dataset has the lines that the card has hashes of; a training may have used some of its lines only.

    A card without hashes, which no training writes, cannot tell.
    """
    saved, dataset = _saved_splits(card), open_as_trained(source, card)
    same = {split for split in saved if dataset.identity(split) == saved[split].get("hash")}
    others = saved.keys() - same
    partly = others == {"train"} and len(dataset.splits.get("train", ())) != saved["train"].get("lines")
    return not others or (bool(same) and partly)


def _saved_splits(card: Card) -> dict[str, dict[str, Any]]:
    """What a card says about the splits of its data: `lines` and `hash` of each."""
    splits = card.data.get("splits")
    return {k: v for k, v in splits.items() if isinstance(v, dict)} if isinstance(splits, dict) else {}
