"""The batch of every step: a function of (seed, step) alone, shared out among the processes."""

import torch

from htrcompress.config import AugmentConfig
from htrcompress.data.augment import augment
from htrcompress.data.batching import Batch, epoch_order
from htrcompress.data.prepare import EncodedLines
from htrcompress.training.losses import StepLines
from htrcompress.training.step import process_seed, step_seed


class TrainingBatches:
    """Batches of near-equal width in an order that changes every epoch, augmented.

    Args:
        lines: the training lines.
        size: lines in a batch, over all processes.
        seed: decides order and augmentation.
        augmentation: how to vary the lines; None leaves them as they are.
        stride: pixels for each frame, so that augmentation makes no line too narrow for its text.
        rank: number of this process.
        processes: how many there are.
    """

    def __init__(
        self,
        lines: EncodedLines,
        size: int,
        seed: int,
        augmentation: AugmentConfig | None,
        stride: int,
        rank: int,
        processes: int,
    ):
        self.lines, self.size, self.seed = lines, size, seed
        self.augmentation, self.stride = augmentation, stride
        self.rank, self.processes = rank, processes
        self.needed = torch.from_numpy(lines.frames_needed)
        self.epoch, self.order = 0, epoch_order(lines.widths, size, seed, 0)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def indices(self, step: int) -> list[int]:
        """The lines of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, epoch_order(self.lines.widths, self.size, self.seed, epoch)
        return self.order[place]

    def names(self, step: int) -> list[str]:
        """The names of the lines of a step."""
        return [self.lines.names[i] for i in self.indices(step)]

    def own_seed(self, step: int) -> int:
        """Seed of a step in this process."""
        return process_seed(step_seed(self.seed, step), self.rank, self.processes)

    def batch(self, step: int, device: torch.device) -> tuple[Batch, StepLines]:
        """This process's lines of a step, on a device. A process without a line of its own gets the first one."""
        indices = self.indices(step)
        rows = range(len(indices))[self.rank :: self.processes] or range(1)
        mine = [indices[row] for row in rows]
        about = StepLines(step_seed(self.seed, step), [bool(self.lines.labels[i]) for i in indices], rows)
        batch = self.lines.batch(mine).to(device)
        if self.augmentation is None:
            return batch, about
        return augment(batch, self.augmentation, self.needed[mine].to(device), self.stride, self.own_seed(step)), about
