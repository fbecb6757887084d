"""The machine that a command runs on: the cores that it may use and its description for result files."""

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def cores() -> int:
    """Processors that this process may use: those of its affinity, or fewer where a control group grants less time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(min(cpu_quota(), allowed))))


def cpu_quota(mounted: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Processors' worth of time that control groups (v1 and v2) grant this process; infinity without a limit.

    A container's limit may stand at any level above the process, so the smallest of all levels counts.
    """
    return min(map(_quota_of, _control_groups(mounted, membership)), default=math.inf)


def _control_groups(mounted: Path, membership: Path) -> Iterator[Path]:
    """The folders of the process's control groups for CPU time, and of the groups above these."""
    try:
        entries = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:  # not Linux
        return
    for _, controllers, path in (entry for entry in entries if len(entry) == 3):
        if controllers and "cpu" not in controllers.split(","):
            continue
        # v2 has no controllers here; it is mounted at the top, or beside v1 as `unified`
        tops = (mounted / controllers, mounted / "cpu") if controllers else (mounted, mounted / "unified")
        levels = [part for part in path.split("/") if part not in ("", "..")]
        for top in tops:
            yield from (top.joinpath(*levels[:depth]) for depth in range(len(levels), -1, -1))


def _quota_of(group: Path) -> float:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except (OSError, ValueError):  # no such group in this container's view, or `max`
        return math.inf


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
    from importlib.metadata import PackageNotFoundError, version  # not above: a reader of one line would wait for it

    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
