"""Groups of training options, one frozen dataclass for each; the docstring under a field is its `--help`.

This module does not import torch, so that training commands show their help and refuse contradictions without it.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from htrcompress.errors import HtrError

EPOCHS = 60
TINY_EPOCHS = {"tiny-teacher": 4.5, "tiny-student": 2, "tiny-hybrid": 4.5}
"""Passes over the training lines where the user gives no length; tiny presets train for minutes."""
CharsetPolicy = Literal["keep", "union", "replace"]
"""How the characters of a trained model are reconciled with those of new training lines."""
LONGEST_WARMUP = 0.1
"""Largest share of a run that the warm-up takes, so that a short run reaches its peak learning rate."""
FLOOR = 0.01
"""The learning rate ends at this share of its peak."""
LARGEST_SEED = 1_000_000_000
"""A seed is multiplied with the numbers of step and process, and random generators take 64 bits."""


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained."""

    steps: int | None = None
    """Optimiser steps; instead of --train.epochs."""
    epochs: float | None = None
    """Passes over the training lines; instead of --train.steps. 60, or a few for a tiny preset, if neither is given;
    with --init, the number of lines decides this and what else is open here."""
    lines: int | None = None
    """Use only so many training lines, drawn by the seed; all if not given."""
    batch: int = 0
    """Lines a step, over all processes; 0 is 8, or 32 for a tiny preset."""
    lr: float = 0.0
    """Peak learning rate of AdamW; 0 is 0.0015, or 0.003 for a tiny preset."""
    warmup: int = 200
    """Steps over which the learning rate rises, at most a tenth of the run; then it falls along a cosine."""
    weight_decay: float = 0.02
    """Weight decay of the matrices."""
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.998
    """Decay of the moving average of the weights; the average is validated and saved."""
    keep: float | None = None
    """With --init, the share of the weights before training in the model that is validated and saved, so that it
    forgets less (Wortsman et al. 2022); if not given, 0.25 where the number of lines decides the steps, else 0."""
    valid_every: int | None = None
    """Steps between validations; a tenth of the run if not given."""
    patience: int | None = None
    """Stop after so many validations in a row without a better CER; never if not given."""
    save_minutes: float = 10.0
    """Minutes between checkpoints; one is written at every validation as well."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto is bf16 where the machine has it."""
    max_too_narrow: float = 0.02
    """Largest share of lines that are too narrow for CTC to emit their text; they are left out of training."""
    max_unreadable: float = 0.0
    """Largest share of lines whose images may be missing or damaged; they are left out."""
    seed: int = 0
    """Decides initial weights, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise HtrError("give --train.steps or --train.epochs, not both")
        _require_numbers("train", self)
        for name in ("steps", "epochs", "lines", "clip", "valid_every", "patience", "save_minutes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise HtrError(f"--train.{name} must be positive, not {value}")
        for name in ("batch", "lr", "warmup", "weight_decay"):
            if getattr(self, name) < 0:
                raise HtrError(f"--train.{name} must not be negative, and is {getattr(self, name)}")
        if not 0 <= (self.keep or 0) < 1:
            raise HtrError(f"--train.keep must be from 0 to below 1, not {self.keep}")
        if not 0 <= self.ema < 1:
            raise HtrError(f"--train.ema must be from 0 to below 1, not {self.ema}")
        if abs(self.seed) > LARGEST_SEED:
            raise HtrError(f"--train.seed must be at most {LARGEST_SEED:,}, not {self.seed}")

    def check_init(self, init: object) -> None:
        """Raises HtrError if a share of the initial weights is to be kept and these are random."""
        if self.keep and not init:
            raise HtrError("--train.keep keeps a share of the weights of --init: give --init as well")

    def total_steps(self, batches: int) -> int:
        """Optimiser steps of a run whose epoch has so many batches."""
        return self.steps or max(1, round((self.epochs or 1) * batches))

    def for_preset(self, preset: str | None) -> "TrainConfig":
        """The config with what the user left open set to what suits a preset; None for sizes of no preset."""
        epochs = self.epochs or (None if self.steps else TINY_EPOCHS.get(preset or "", EPOCHS))
        batch, lr = (32, 3e-3) if preset in TINY_EPOCHS else (8, 1.5e-3)
        return replace(self, epochs=epochs, batch=self.batch or batch, lr=self.lr or lr)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step of a run of so many steps."""
        warmup = min(self.warmup, LONGEST_WARMUP * steps)
        rise = min(1.0, (step + 1) / max(1, warmup))
        return self.lr * rise * max(FLOOR, 0.5 * (1 + math.cos(math.pi * step / steps)))


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly the training lines are varied; 0 switches a part off."""

    slant: float = 0.25
    """Largest shear, in pixels sideways a pixel up."""
    stretch: float = 0.15
    """Largest change of a line's width, as a share."""
    size: float = 0.12
    """Largest change of the writing's height, as a share."""
    shift: float = 0.06
    """Largest move up or down, as a share of the height."""
    drift: float = 0.02
    """Largest slope of the baseline, in pixels up a pixel along."""
    elastic: float = 0.03
    """Strength of the smooth random field, as a share of the height."""
    stroke: float = 0.25
    """Probability that a line's strokes are thickened or thinned."""
    ink: float = 0.35
    """Largest change of contrast and gamma, as a share."""
    noise: float = 0.03
    """Largest standard deviation of the noise, as a share of white."""
    stripes: int = 2
    """Largest number of stripes of a line that are blanked."""
    crop: float = 0
    """How much looser the crop of a line may become, as a share of its height, with paper or with strokes above and
    below, and a quarter as much tighter; for models that read other people's crops."""
    coarse: float = 0
    """Probability that a line loses half its resolution."""
    bitonal: float = 0
    """Probability that a line becomes black and white, as microfilm and fax are."""

    def __post_init__(self) -> None:
        _require_numbers("augment", self)
        if any(value < 0 for value in vars(self).values()):
            raise HtrError("the options --augment.* must not be negative")
        if max(self.stretch, self.size, self.ink) >= 1 or max(self.stroke, self.coarse, self.bitonal, self.crop) > 1:
            raise HtrError(
                "--augment.stretch, .size and .ink must be below 1, and .stroke, .crop, .coarse and .bitonal at most 1"
            )


@dataclass(frozen=True)
class DistillConfig:
    """What the student learns from the teacher, next to CTC."""

    weight: float = 1.0
    """λ, the weight of the divergence from the teacher's frames; 0 switches it off."""
    temperature: float = 2.0
    """Softens both distributions; the divergence is multiplied by its square."""
    frames: Literal["spikes", "all"] = "spikes"
    """Which frames count: those around the teacher's characters, or all, most of which are blank."""
    blanks: int = 2
    """Blank frames kept on both sides of a spike; only with --distill.frames spikes."""
    features: float = 0.0
    """Weight of matching the teacher's last features through a learnt projection; 0 switches it off."""

    def __post_init__(self) -> None:
        _require_numbers("distill", self)
        if self.weight < 0 or self.features < 0:
            raise HtrError("--distill.weight and --distill.features must not be negative")
        if self.temperature <= 0:
            raise HtrError("--distill.temperature must be positive")
        if self.blanks < 0:
            raise HtrError("--distill.blanks must not be negative")


@dataclass(frozen=True)
class AttentionConfig:
    """The attention decoder that --aux.attention trains."""

    layers: int = 2
    """Transformer layers."""
    dim: int = 128
    """Their width."""
    heads: int = 4
    """Attention heads; must divide the width."""
    dropout: float = 0.1
    """Dropout in the decoder."""
    smoothing: float = 0.1
    """Label smoothing: the share of the target that is spread over all labels."""
    keep: bool = False
    """Keep the decoder in the model's file, for --decoder attention and joint; otherwise only training has it."""

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= 64:
            raise HtrError(f"--aux.decoder.layers must be from 1 to 64, not {self.layers}")
        if self.heads < 1 or not 2 <= self.dim <= 4096 or self.dim % 2 or self.dim % self.heads:
            raise HtrError(
                f"--aux.decoder.dim must be even, at most 4096 and a multiple of --aux.decoder.heads: {self.dim} and "
                f"{self.heads} are not"
            )
        for name in ("dropout", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise HtrError(f"--aux.decoder.{name} must be from 0 to below 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class AuxConfig:
    """Losses beside CTC at the output, in training only."""

    shortcut: float = 0.1
    """Weight of CTC at the shortcut that a hybrid has around its recurrence."""
    intermediate: float = 0.0
    """Weight of CTC after intermediate layers, such as 0.3; 0 switches it off."""
    layers: tuple[int, ...] = ()
    """The layers, such as [1], also for --llm; 0 is the input of the sequence part; its middle if empty."""
    attention: float = 0.0
    """Weight of a Transformer decoder's loss over the last layer, such as 0.5, where CTC's is 1; 0 switches it off."""
    decoder: AttentionConfig = AttentionConfig()
    """that decoder"""

    def __post_init__(self) -> None:
        _require_numbers("aux", self)
        if self.decoder != AttentionConfig() and not self.attention:
            raise HtrError("--aux.decoder.* does nothing without --aux.attention: give it a weight, such as 0.5")
        for name in ("shortcut", "intermediate", "attention"):
            if getattr(self, name) < 0:
                raise HtrError(f"--aux.{name} must not be negative, and is {getattr(self, name)}")
        if len(set(self.layers)) < len(self.layers):
            raise HtrError(f"--aux.layers names a layer twice: {list(self.layers)}")


@dataclass(frozen=True)
class LlmConfig:
    """How the frozen language model that --llm names is used in training."""

    weight: float = 0.3
    """α, the weight of the language model's loss."""
    ratio: float = 0.25
    """Share of every batch that the language model reads; at least one line."""
    queries: int = 64
    """Tokens that the connector makes of a line."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the language model; auto is that of --train.precision."""
    four_bit: bool = False
    """Keep its weights in 4 bits (NF4); needs a CUDA GPU and bitsandbytes."""
    lora: int = 0
    """Rank of LoRA adapters that are trained inside the language model; 0 leaves all of it frozen."""

    def __post_init__(self) -> None:
        _require_numbers("lm", self)
        if self.weight <= 0:
            raise HtrError(f"--lm.weight must be positive, not {self.weight}; leave --llm out to train without one")
        if not 0 < self.ratio <= 1:
            raise HtrError(f"--lm.ratio must be above 0 and at most 1, not {self.ratio}")
        if self.queries < 1:
            raise HtrError(f"--lm.queries must be at least 1, not {self.queries}")
        if self.lora < 0:
            raise HtrError(f"--lm.lora must not be negative, and is {self.lora}")


def check_llm(llm: str | None, lm: LlmConfig, aux: AuxConfig) -> None:
    """Raises HtrError if --llm is no name, or if --lm.* or --aux.layers have no effect."""
    if llm is not None and llm.strip().lower() in ("", "null", "none"):
        raise HtrError(f"--llm {llm!r} names no language model: name one, or leave it out")
    changed = [name for name, value in vars(lm).items() if value != getattr(LlmConfig, name)]
    if llm is None and changed:
        raise HtrError(f"--lm.{changed[0]} does nothing without a language model: name one with --llm")
    if llm is None and aux.layers and not aux.intermediate:
        raise HtrError("--aux.layers does nothing without --aux.intermediate or --llm: add one of them")


def _require_numbers(group: str, options: object) -> None:
    """Raises HtrError if a number among the options is infinite or NaN, which comparisons let pass."""
    for name, value in vars(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise HtrError(f"--{group}.{name} must be a finite number, not {value}")
