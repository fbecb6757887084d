"""The NVIDIA GPU that is here, as its driver tells: `python benchmarks/engines/gpu.py` prints the extra that fits it.

TensorRT-RTX and cuda-python come for CUDA 13, which asks for a driver from 580 on, and for CUDA 12.
"""

import re
import subprocess
from dataclasses import dataclass

from htrcompress.errors import HtrError, Unavailable

CUDA_13 = 580
"""The first driver of CUDA 13."""
ASKED = ("name", "driver_version", "compute_cap", "memory.total")


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: as its maker calls it.
        driver: version of the driver.
        capability: compute capability, such as `8.9`.
        memory: as the driver tells it.
    """

    name: str
    driver: str
    capability: str
    memory: str

    @property
    def extra(self) -> str:
        """The extra whose packages run on its driver."""
        return "rtx-run" if int(self.driver.split(".")[0]) >= CUDA_13 else "rtx-run-cu12"

    @property
    def slug(self) -> str:
        """Its name for files: `rtx-4090`."""
        words = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"rtx-{re.sub('nvidia-|geforce-|rtx-', '', words)}"


def find_gpu() -> Gpu:
    """The first GPU that the driver lists.

    Raises:
        Unavailable: there is no driver, or it finds no GPU.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        raise Unavailable("there is no NVIDIA GPU here: nvidia-smi does not run") from None
    rows = [[cell.strip() for cell in row.split(",")] for row in done.stdout.splitlines()]
    if done.returncode or not rows or len(rows[0]) != len(ASKED) or not rows[0][1][:1].isdigit():
        reason = (done.stderr.strip() or done.stdout.strip() or "no answer").splitlines()[0]
        raise Unavailable(f"there is no NVIDIA GPU here: nvidia-smi says {reason}")
    return Gpu(*rows[0])


if __name__ == "__main__":
    try:
        print(find_gpu().extra)
    except HtrError:
        print("rtx-run")  # the steps that need a GPU will say so
