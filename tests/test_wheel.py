"""The wheel: built, unpacked and read with, so that what ships inside the package is really there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from htrcompress.catalogue.index import INDEX, PACKAGED

ROOT = Path(__file__).parent.parent
MOST_BYTES = 4 << 20


@pytest.mark.slow
def test_the_wheel_reads_without_the_repository(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= MOST_BYTES
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        packed.extractall(tmp_path / "site")
    assert {f"htrcompress/catalogue/files/{path.name}" for path in PACKAGED.iterdir()} <= names
    assert f"htrcompress/catalogue/files/{INDEX}" in names and "htrcompress/web/page/index.html" in names
    assert not [name for name in names if "node_modules" in name or name.startswith(("tests/", "models/"))]
    done = subprocess.run(
        [sys.executable, "-m", "htrcompress.transcribe", str(ROOT / "examples" / "roses.png")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\tDear Anna, the roses are out again.\n")
