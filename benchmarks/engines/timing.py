"""Times TensorRT engines step by step, and the decode kernel alone; `rtx.py` puts the figures together."""

import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.decoding import reference
from htrcompress.errors import HtrError, Unavailable
from htrcompress.runtime.backend import precision_of
from htrcompress.runtime.tensorrt_backend import DECODED
from htrcompress.runtime.tensorrt_engine import Engine

PLUGIN = Path(__file__).parents[2] / "export" / "plugin"
WARM_UP, ROUNDS = 10, 50
SHAPES = ((1, 256, 100), (32, 256, 100))
"""Lines, frames and classes that the kernel is timed on."""
TIMES = re.compile(r"FP32 ([\d.]+) us, FP16 ([\d.]+) us")


@dataclass(frozen=True)
class EngineTime:
    """What one batch costs an engine; times are medians in milliseconds.

    Attributes:
        engine: the file.
        decode: `graph` in standard operators, `plugin` in the CUDA kernel, `none` for logits that the host decodes.
        precision: of the file.
        batch, width: lines, and pixels with the padding.
        upload_ms, execute_ms, download_ms: the three steps.
        host_ms: decoding on the host, in NumPy; 0 where the engine decodes.
        execute_range: the fastest and the slowest execution.
        bytes_up, bytes_down: what travels to the GPU and back.
        decode_share: of the execution, by comparison with the engine without decode; None for that one.
    """

    engine: str
    decode: str
    precision: str
    batch: int
    width: int
    upload_ms: float
    execute_ms: float
    download_ms: float
    host_ms: float
    execute_range: tuple[float, float]
    bytes_up: int
    bytes_down: int
    decode_share: float | None = None

    @property
    def total_ms(self) -> float:
        """From pixels in the host's memory to labels there."""
        return self.upload_ms + self.execute_ms + self.download_ms + self.host_ms


@dataclass(frozen=True)
class KernelTime:
    """The decode kernel alone: microseconds of a launch, the median."""

    batch: int
    frames: int
    classes: int
    fp32_us: float
    fp16_us: float


def decode_of(path: Path) -> str:
    """How an exported file decodes, by its name."""
    return next((kind for kind in ("plugin", "none") if f".{kind}." in path.name), "graph")


def time_engine(path: Path, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> EngineTime:
    """Times one engine on one batch, uint8 (B, 1, H, W) and int32 (B,).

    Raises:
        HtrError: there is no usable GPU, or the engine cannot be loaded.
    """
    engine = Engine(path)
    names = DECODED if set(DECODED) <= set(engine.outputs) else engine.outputs
    up: list[float] = []
    run: list[float] = []
    down: list[float] = []
    host: list[float] = []
    sent = received = 0
    for _ in range(WARM_UP + ROUNDS):
        sent = _timed(up, lambda: engine.upload(pixels, widths))
        _timed(run, engine.execute)
        found = _timed(down, lambda: engine.download(names))
        received = sum(array.nbytes for array in found.values())
        if names is not DECODED:
            _timed(host, partial(reference.greedy, found["logits"], found["frames"]))
    return EngineTime(
        engine=path.name,
        decode=decode_of(path),
        precision=precision_of(path),
        batch=len(widths),
        width=pixels.shape[3],
        upload_ms=_median(up),
        execute_ms=_median(run),
        download_ms=_median(down),
        host_ms=_median(host),
        execute_range=(min(run[WARM_UP:]), max(run[WARM_UP:])),
        bytes_up=sent,
        bytes_down=received,
    )


def _median(times: list[float]) -> float:
    """Without the rounds that warm up; 0 where nothing was timed."""
    return statistics.median(times[WARM_UP:]) if times else 0.0


def _timed(times: list[float], work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    times.append(1000 * (time.perf_counter() - start))
    return result


def build_kernel(folder: Path, capability: str) -> Path:
    """Builds `export/plugin`, the plugin included where TENSORRT_ROOT is set; the folder with what was built.

    Raises:
        HtrError: a compiler is missing, or fails.
    """
    for tool in ("cmake", "nvcc"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed, which compiles the decode kernel: install the CUDA toolkit")
    architecture = capability.replace(".", "")
    _command("cmake", "-S", PLUGIN, "-B", folder, f"-DCMAKE_CUDA_ARCHITECTURES={architecture}")
    _command("cmake", "--build", folder)
    return folder


def time_kernel(folder: Path) -> list[KernelTime]:
    """Checks the kernel against a plain loop on this GPU and times it.

    Raises:
        HtrError: the kernel differs from the loop, or there is no GPU.
    """
    rows = []
    for shape in SHAPES:
        match = TIMES.search(_command(folder / "ctc_check", *shape))
        if match is None:
            raise HtrError("ctc_check gives no times: build export/plugin again")
        rows.append(KernelTime(*shape, float(match[1]), float(match[2])))
    return rows


def _command(*words: object) -> str:
    """What a command prints.

    Raises:
        HtrError: it fails; with its last words.
    """
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise HtrError(f"{words[0]} does not start: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
        raise HtrError(f"{Path(str(words[0])).name} failed: {last.removeprefix('error: ')}")
    return done.stdout
