"""A recogniser that was opened before a fork is read with in the child, and the child ends in the ordinary way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """if True:
    import os, pickle, signal, sys
    import numpy as np, htrcompress
    model, ending = sys.argv[1:]
    lines = [np.random.default_rng(i).integers(0, 256, (32, 200), dtype=np.uint8) for i in range(20)]
    recognizer = htrcompress.load(model, threads=2, device="cpu")
    expected = [reading.text for reading in recognizer.read(lines)]
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        if ending == "opened again":
            recognizer = htrcompress.load(model, threads=2, device="cpu")
        if ending == "copied":
            recognizer = pickle.loads(pickle.dumps(recognizer))
        if ending != "unused":
            assert [reading.text for reading in recognizer.read(lines)] == expected
        if ending == "deleted":
            del recognizer
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
    assert [reading.text for reading in recognizer.read(lines)] == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("model", "ending"),
    [
        *(("tiny_onnx", ending) for ending in ("unused", "kept", "deleted", "opened again")),
        *(("tiny_model", ending) for ending in ("kept", "opened again", "copied")),
    ],
)
def test_a_forked_child_reads_and_ends(request: pytest.FixtureRequest, model: str, ending: str) -> None:
    path: Path = request.getfixturevalue(model)
    command = [sys.executable, "-c", CODE, str(path), ending]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "7\n"), ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_gpu_that_was_opened_before_a_fork_is_refused(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    import htrcompress
    from htrcompress import HtrError

    recognizer = htrcompress.load(tiny_onnx, threads=1)
    recognizer.backend.device = "cuda"
    monkeypatch.setattr(os, "getpid", lambda: 0)
    for _ in range(2):
        with pytest.raises(HtrError, match="fork"):
            recognizer.read([np.zeros((32, 40), np.uint8)])
