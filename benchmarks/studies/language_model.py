"""Whether a language model's loss looks at the picture: `python benchmarks/studies/language_model.py RUN`.

A connector that ignored the picture could still lower the loss, by telling the language model what sort of text comes.
So the text of every line of a split is held fixed, and its negative log-likelihood is taken behind the tokens of its
own picture, of another line's, of blank paper of the same width, and behind none. Differences are paired, a line each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.results import command_line, save
from htrcompress import metrics, runs
from htrcompress.cli import run_command
from htrcompress.data.loading import load_lines
from htrcompress.errors import HtrError
from htrcompress.image import PAPER, pad
from htrcompress.models.base import LineRecognizer
from htrcompress.models.serialization import load_model
from htrcompress.training.language_model.loss import FILE, LanguageModelLoss, load_language_model_loss
from htrcompress.utils import machine

BATCH = 8
Images = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class LanguageResult:
    """How probable a language model finds the texts of a split.

    Attributes:
        command: how this was measured.
        model: the recogniser's file.
        llm: the language model, and the layers of the recogniser that it looks at.
        data: dataset, split, its hash, lines and tokens.
        nats: mean negative log-likelihood a token behind each kind of prefix: own, other, blank, none.
        rises: nats of the others minus those of `own`, with the 95 % interval over lines.
        machine: the processor.
    """

    command: str
    model: str
    llm: dict[str, Any]
    data: dict[str, Any]
    nats: dict[str, float]
    rises: dict[str, tuple[float, float, float]]
    machine: str
    kind: str = "language_model"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table("prefix", "nats a token", "more than own", "95 %", title=f"{self.model} on {self.data['split']}")
        for name, value in self.nats.items():
            rise, low, high = self.rises.get(name, (0.0, 0.0, 0.0))
            shown = (f"{rise:+.4f}", f"{low:+.4f} to {high:+.4f}") if name in self.rises else ("", "")
            table.add_row(name, f"{value:.4f}", *shown)
        return table


@dataclass(frozen=True)
class LanguageStudyOptions:
    """Holds the texts of a split fixed and changes what stands before them."""

    run: Path | None = None
    """A run that was trained with --llm, or the model's file in it; the newest if not given."""
    llm: str | None = None
    """Where its language model lies, if not where it did."""
    data: str | None = None
    """The dataset; what the model was trained on if not given."""
    split: str = "valid"
    """The split."""
    lines: int | None = None
    """The most lines to read; all if not given."""
    out: Path | None = None
    """A JSON file for the result."""


def measure_language(options: LanguageStudyOptions) -> LanguageResult:
    """Holds the texts of a split fixed and changes what stands before them.

    Raises:
        HtrError: the run has no connector, its language model cannot be had, or the split has fewer than two texts.
    """
    file = runs.model(options.run)
    model, card = load_model(file)
    loss = load_language_model_loss(file.with_suffix("") / FILE, card.characters(), options.llm)
    dataset = runs.open_data(options.data, file, card)
    found = [line for line in dataset.split(options.split) if line.text][: options.lines]
    texts = [line.text for line in found]
    if len(set(texts)) < 2:
        raise HtrError(
            f"{dataset.name}/{options.split} has fewer than two different texts to exchange: choose another split"
        )
    images = load_lines(found, card.height, card.max_width, machine.cores())
    partners = exchanged([image.shape[1] for image in images], texts)
    blank = [np.full_like(image, PAPER) for image in images]
    kinds: dict[str, Images | None] = {
        "own": images,
        "other": [images[i] for i in partners],
        "blank": blank,
        "none": None,
    }
    likelihoods = {name: negative_log_likelihood(model, loss, some, texts) for name, some in kinds.items()}
    tokens = likelihoods["own"][1]
    nats = {name: float(losses.sum() / tokens.sum()) for name, (losses, _) in likelihoods.items()}
    rises = {}
    for name in ("other", "blank", "none"):
        more = likelihoods[name][0] - likelihoods["own"][0]
        rises[name] = (float(more.sum() / tokens.sum()), *metrics.bootstrap(more, tokens))
    result = LanguageResult(
        command_line(),
        file.name,
        {
            "name": Path(loss.language_model.name).name,
            "layers": list(loss.layers),
            "steps": card.training.get("steps"),
        },
        {
            "name": dataset.name,
            "split": options.split,
            "hash": dataset.identity(options.split),
            "lines": len(texts),
            "tokens": int(tokens.sum()),
        },
        nats,
        rises,
        machine.processor(),
    )
    save(result, options.out)
    return result


def exchanged(widths: Sequence[int], texts: Sequence[str]) -> list[int]:
    """For every line the next wider one (the widest is followed by the narrowest) that has another text."""
    order = sorted(range(len(widths)), key=widths.__getitem__)
    partners = [0] * len(order)
    for place, line in enumerate(order):
        following = (order[(place + step) % len(order)] for step in range(1, len(order)))
        partners[line] = next(other for other in following if texts[other] != texts[line])
    return partners


@torch.inference_mode()
def negative_log_likelihood(
    model: LineRecognizer, loss: LanguageModelLoss, images: Images | None, texts: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Negative log-likelihood in nats of every text behind its image, averaged over layers, and its tokens."""
    losses, tokens = [], []
    for at in range(0, len(texts), BATCH):
        some, prefix, several = texts[at : at + BATCH], None, 1
        if images is not None:
            pixels, widths = pad(images[at : at + BATCH])
            encoding = model.encode(torch.from_numpy(pixels), torch.from_numpy(widths))
            prefix = loss.prefixes(encoding, torch.arange(len(some)))
            several = len(loss.layers)
        found, counts = loss.language_model.negative_log_likelihood(prefix, list(some) * several)
        losses.append(found.view(several, -1).mean(0).double().numpy())
        tokens.append(counts[: len(some)].numpy())
    return np.concatenate(losses), np.concatenate(tokens)


if __name__ == "__main__":
    run_command(measure_language, positional="run")
