"""The moving average of the weights of a training: what is validated, and what becomes the model's file."""

import copy
from pathlib import Path

import torch
from torch import nn

from htrcompress.card import Card
from htrcompress.models.base import LineRecognizer
from htrcompress.models.serialization import save_model
from htrcompress.training.objective import Objective


class Average:
    """The average of an objective, and the weights that it began with where a share of them is kept.

    Args:
        objective: what is trained, before its first step.
        decay: of the average; smaller in the first steps, so that the random start is forgotten.
        keep: share of the first weights in the model that is validated and saved (Wortsman et al. 2022); 0 for none.

    Attributes:
        objective: the average, the parameters of the auxiliary losses included; a part of checkpoints.
    """

    def __init__(self, objective: Objective, decay: float, keep: float):
        self.objective: Objective = copy.deepcopy(objective).requires_grad_(False).eval()
        self.decay, self.keep = decay, keep
        self.initial = copy.deepcopy(objective.model) if keep else None

    def to(self, device: torch.device) -> None:
        """Moves all weights to a device."""
        self.objective.to(device)
        if self.initial is not None:
            self.initial.to(device)

    def update(self, objective: Objective, step: int) -> None:
        """Moves the average towards the weights behind a step, the first of which is step 0."""
        ema_update(self.objective, objective, min(self.decay, (1 + step) / (10 + step)))

    def model(self) -> LineRecognizer:
        """The averaged network, with the share of the first weights that is kept; not to be changed."""
        if self.initial is None:
            return self.objective.model
        mixed = copy.deepcopy(self.objective.model)
        ema_update(mixed, self.initial, 1 - self.keep)
        return mixed

    def write(self, path: Path, model: LineRecognizer, card: Card) -> None:
        """Writes what `model` gave to a file, and what the auxiliary losses keep to the folder beside it.

        Raises:
            HtrError: a weight is not a finite number, or a file cannot be written.
        """
        self.objective.save(path.with_suffix(""))
        save_model(path, model, card, self.objective.kept_decoder())


@torch.no_grad()
def ema_update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves averaged weights towards those of a model: average = decay · average + (1 - decay) · model."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
