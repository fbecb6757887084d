"""Peak memory of reading with one artefact, in a process of its own.

    memory.py MODEL PICTURES.npz BATCH THREADS DEVICE DECODER OPTIONS

The interpreter and the runtime's libraries are part of it, since whoever deploys the model pays for them too.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from htrcompress.decoding.beam import BeamOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.decoding.registry import GREEDY, DecoderOptions
from htrcompress.errors import HtrError
from htrcompress.runtime import load

MIB = 1 << 20


def peak_of(
    model: Path,
    pictures: Path,
    batch: int,
    threads: int,
    device: str = "cpu",
    decoder: str = GREEDY,
    options: DecoderOptions = DecoderOptions(),
) -> float | None:
    """Peak resident memory in MiB of a new process that reads the pictures; None where the system does not tell.

    Args:
        model: a model file.
        pictures: an `.npz` of uint8 grey arrays.
        batch: lines in a batch.
        threads: CPU threads.
        device: where it computes; memory on a GPU is not counted.
        decoder, options: what makes text of the network's output; the options are for others than greedy.

    Raises:
        HtrError: the process failed.
    """
    command = [sys.executable, __file__, str(model), str(pictures), str(batch), str(threads), device]
    command += [decoder, json.dumps(asdict(options if decoder != GREEDY else DecoderOptions()), default=str)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        reason = (child.stderr.strip().splitlines() or [f"status {child.returncode}"])[-1]
        raise HtrError(f"the process that measures the memory of {model} failed: {reason}")
    return float(child.stdout) if child.stdout.strip() else None


def peak() -> float | None:
    """Peak resident memory of this process so far, in MiB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # not ru_maxrss: on Linux that one includes the parent's peak, across exec
        kib = next(row.split()[1] for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(kib) * 1024 / MIB
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB  # bytes on macOS


def main(model: str, pictures: str, batch: str, threads: str, device: str, decoder: str, options: str) -> None:
    """Reads the pictures and prints the peak."""
    with np.load(pictures) as archive:
        greys = [archive[name] for name in archive.files]
    how = json.loads(options)
    files = {name: Path(how["lm"][name]) for name in ("file", "words") if how["lm"][name]}
    lm, beam = LanguageOptions(**{**how["lm"], **files}), BeamOptions(**how["beam"])
    load(model, int(threads), device, decoder, lm, beam).read(greys, int(batch))
    reached = peak()
    print("" if reached is None else reached)


if __name__ == "__main__":
    main(*sys.argv[1:])
