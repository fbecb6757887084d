"""The machine that a command runs on: its description for result files, and its memory allocator."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8000000000",
    "MALLOC_TRIM_THRESHOLD_": "16000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc gives large buffers back to the system at every free; the page faults can double a training step."""

LINES_A_THREAD = 8
"""Of text, at once on a CPU."""


def tune_allocator() -> None:
    """Starts the running command anew with glibc told to keep its buffers; does nothing where that is set.

    glibc reads these variables when a process starts, so they cannot be set from within.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in ALLOCATOR):
        return
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **ALLOCATOR})


def allocator() -> str:
    """`tuned` or `default`, for tables of timings."""
    return "tuned" if ALLOCATOR.items() <= os.environ.items() else "default"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lines_at_once(threads: int | None) -> int:
    """Lines that so many CPU threads, or all, read fastest together: of more, a layer's result leaves the caches."""
    return LINES_A_THREAD * (threads or cores())


def rank() -> int:
    """This process's number among those that `accelerate launch` or `torchrun` started together; 0 if alone."""
    return int(os.environ.get("RANK", 0)) if together() else 0


def together() -> bool:
    """Whether several processes train together."""
    return os.environ.get("WORLD_SIZE", "").isdecimal() and int(os.environ["WORLD_SIZE"]) > 1


def processor() -> str:
    """The processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the named packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
