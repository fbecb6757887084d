"""A frozen language model that helps in training (`--llm NAME`). Only `training.objective` imports this package."""

from htrcompress.training.language_model.frozen_lm import FrozenLanguageModel
from htrcompress.training.language_model.loss import LanguageModelLoss

__all__ = ["FrozenLanguageModel", "LanguageModelLoss"]
