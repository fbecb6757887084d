"""The lines of `examples/`: they are what `tools/examples.py` draws, and the script beside them reads them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from htrcompress.image_files import load_grey
from tools import examples

ROOT = Path(__file__).parent.parent


def test_the_images_are_those_that_the_tool_draws(tmp_path: Path) -> None:
    examples.draw(tmp_path)
    assert (tmp_path / "lines.tsv").read_bytes() == (examples.FOLDER / "lines.tsv").read_bytes()
    for name in examples.LINES:
        drawn, kept = load_grey(tmp_path / name), load_grey(examples.FOLDER / name)
        assert drawn.shape == kept.shape
        assert np.abs(drawn.astype(int) - kept).mean() < 1  # another version of FreeType moves an edge


def test_the_script_reads_them() -> None:
    command = [sys.executable, "examples/read.py"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    for scan in examples.LINES.values():
        assert done.stdout.count(scan.text) == 2  # written and read
