"""PyTorch's threads: one setting for the whole process, and one thread in a process that was forked from this one.

OpenMP's threads do not survive a fork, but it believes that they do and would wait for them for ever, in a model that
the child inherits and in one that it opens or trains itself. With a single thread it waits for none.
"""

import os

import torch

_forked = False


def set_threads(count: int) -> None:
    """Sets PyTorch's threads; always one in a forked process."""
    torch.set_num_threads(1 if _forked else count)


def _in_child() -> None:
    global _forked
    _forked = True
    set_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
