"""`export/cpp` and `export/plugin` built for the tests, once for all modules."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CPP = Path(__file__).parents[1] / "export" / "cpp"
PLUGIN = Path(__file__).parents[1] / "export" / "plugin"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all".split()
PARTS = ("image", "pgm", "json", "card", "document")

Parts = Callable[..., list[str]]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words, given = [str(part) for part in command], os.environ | environment
    return subprocess.run(words, capture_output=True, text=True, timeout=300, env=given)


def passes(*command: str | Path) -> str:
    done = run(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """`parts(kind, *jobs)`: the lines that test/parts.cpp prints; compiled with sanitizers where they are."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    program = tmp_path_factory.mktemp("parts") / "parts"
    sources = [CPP / "test/parts.cpp", *(CPP / f"src/{name}.cpp" for name in PARTS)]
    options = ["-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror", "-I", CPP / "include", "-I", CPP / "src"]
    if run("g++", *options, *SANITIZERS, *sources, "-o", program).returncode != 0:
        passes("g++", *options, *sources, "-o", program)
    return lambda kind, *jobs: passes(program, kind, *(str(word) for job in jobs for word in job)).splitlines()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built and installed by CMake, with the back ends whose headers are named in the environment."""
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("no cmake or no g++")
    folder = tmp_path_factory.mktemp("cpp")
    passes("cmake", "-S", CPP, "-B", folder / "build", "-DCMAKE_BUILD_TYPE=None")  # no optimisation: compiles fast
    passes("cmake", "--build", folder / "build", "-j1")
    passes("cmake", "--install", folder / "build", "--prefix", folder / "installed")
    return folder / "installed"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that CMake builds here, for the oldest architecture; with the plugin if TENSORRT_ROOT is set."""
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc: the CUDA kernel is not compiled")
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")
    folder = tmp_path_factory.mktemp("build")
    passes("cmake", "-S", PLUGIN, "-B", folder, "-DCMAKE_CUDA_ARCHITECTURES=75")
    passes("cmake", "--build", folder, "-j1")
    return folder
