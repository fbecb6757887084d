"""`export/cpp` and `export/plugin` built for the tests: once for all of them, and again only where a source changes.

For the back ends name the headers: `ONNXRUNTIME_ROOT` is a folder whose `include/` holds onnxruntime_c_api.h (an
unpacked release of ONNX Runtime; the library is taken from Python's `onnxruntime`), and `TENSORRT_ROOT` is one whose
`include/` holds NvInferRuntime.h (as in github.com/NVIDIA/TensorRT); that needs the CUDA toolkit too.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sharing import Shared

CPP = Path(__file__).parents[1] / "export" / "cpp"
SEARCH = Path(__file__).parents[1] / "htrcompress" / "decoding" / "cpp"
PLUGIN = Path(__file__).parents[1] / "export" / "plugin"
STB = next(filter(Path.is_file, (Path(f"/usr/{place}/stb_image.h") for place in ("include/stb", "include"))), None)
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all".split()
PARTS = """
alignment beam_decoder bidi charset confidence cores decoder engine_file file greedy_decoder image language
metadata ngram_file numbers sha256 spans unicode unicode_tables utf8 word_file words
""".split()

Parts = Callable[..., list[str]]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words, given = [str(part) for part in command], os.environ | environment
    return subprocess.run(words, capture_output=True, text=True, timeout=600, env=given)


def passes(*command: str | Path) -> str:
    done = run(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def sources(*folders: Path) -> list[Path | str]:
    """What a build of these folders depends on: their files, the compilers, and where headers are."""
    files: list[Path | str] = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    compilers = [run(path, "--version").stdout for name in ("g++", "cmake", "nvcc") if (path := shutil.which(name))]
    roots = [os.environ.get(name, "") for name in ("ONNXRUNTIME_ROOT", "TENSORRT_ROOT")]
    return [*files, *(str(path) for path in files), *compilers, *roots, str(STB)]


@pytest.fixture(scope="session")
def parts(shared: Shared) -> Parts:
    """`parts(kind, *jobs)`: the lines that test/parts.cc prints; compiled with sanitizers where g++ has them."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")

    def make(folder: Path) -> None:
        names = [CPP / "test/parts.cc", *(CPP / f"src/{name}.cc" for name in PARTS), SEARCH / "prefix_search.cc"]
        options = "-std=c++17 -O0 -ffp-contract=off -Wall -Wextra -Werror".split()
        options += [word for folder in (CPP / "include", CPP / "src", SEARCH) for word in ("-I", str(folder))]
        if run("g++", *options, *SANITIZERS, *names, "-o", folder / "parts").returncode != 0:
            passes("g++", *options, *names, "-o", folder / "parts")

    program = shared("parts", make, sources(CPP, SEARCH, Path(__file__))) / "parts"
    return lambda kind, *jobs: passes(program, kind, *(str(word) for job in jobs for word in job)).splitlines()


@pytest.fixture(scope="session")
def installed(shared: Shared) -> Path:
    """The library, built and installed by CMake, with the back ends whose headers are named in the environment."""
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("no cmake or no g++")

    def make(folder: Path) -> None:
        # Without optimisation it compiles fast
        passes("cmake", "-S", CPP, "-B", folder / "build", "-DCMAKE_BUILD_TYPE=None")
        passes("cmake", "--build", folder / "build", "-j2")
        passes("cmake", "--install", folder / "build", "--prefix", folder / "installed")

    return shared("cpp", make, sources(CPP, SEARCH, Path(__file__))) / "installed"


@pytest.fixture(scope="session")
def demo(installed: Path) -> Path:
    """The program `htr_read`."""
    if STB is None:
        pytest.skip("stb_image.h is not installed, so htr_read is not built: apt-get install libstb-dev")
    return installed / "bin" / "htr_read"


@pytest.fixture(scope="session")
def built(shared: Shared) -> Path:
    """What CMake builds of the plugin, for the oldest architecture; the plugin itself if TENSORRT_ROOT is set."""
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc: the CUDA kernel is not compiled")
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")

    def make(folder: Path) -> None:
        passes("cmake", "-S", PLUGIN, "-B", folder, "-DCMAKE_CUDA_ARCHITECTURES=75")
        passes("cmake", "--build", folder, "-j2")

    return shared("plugin", make, sources(PLUGIN, Path(__file__)))
