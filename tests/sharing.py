"""What is expensive to make and the same for every test: made once, whichever of pytest's processes needs it first.

`make test` runs the tests in several processes (pytest-xdist). Session fixtures exist once in each of them, so a
fixture that trains, traces or compiles calls `shared(name, make)`: the first process that asks runs `make(folder)`, and
the others wait for it and use the same folder. Whoever uses a shared folder copies what it changes.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from filelock import FileLock

PACKAGE = Path(__file__).parent.parent / "htrcompress"
CACHE = Path(__file__).parent.parent / "build" / "tests"
"""Where results outlive a test run: git ignores this folder, and `rm -r build` is always safe."""


class Shared(Protocol):
    """The fixture `shared`."""

    def __call__(self, name: str, make: Callable[[Path], object], sources: Iterable[Path | str] = ()) -> Path:
        """Returns the folder that `make(folder)` filled.

        Args:
            name: a name for the folder that nothing else uses.
            make: fills the empty folder that it is given; runs once for all processes.
            sources: files, and words such as compiler options, that the result depends on. If any are given, the result
                is kept for later test runs until one of them changes.
        """


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """`shared(name, make)`: the folder that `make(folder)` filled, made once for all of pytest's processes."""
    root = _session_folder(tmp_path_factory)

    def folder_of(name: str, make: Callable[[Path], object], sources: Iterable[Path | str] = ()) -> Path:
        sources = list(sources)
        folder = CACHE / f"{name}-{_digest(sources)}" if sources else root / name
        done = folder.with_name(f"{folder.name}.done")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not done.exists():
                for old in folder.parent.glob(f"{name}-{'[0-9a-f]' * 16}*") if sources else [folder]:
                    shutil.rmtree(old, ignore_errors=True)
                    if old.suffix == ".done":
                        old.unlink()
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return folder_of


def trace_sources() -> list[Path | str]:
    """What a trace depends on besides the call of `torch.onnx.export`: our code that it runs, and who traces."""
    rooms = [path for room in ("models", "decoding", "export") for path in sorted((PACKAGE / room).rglob("*.py"))]
    return [*rooms, *(f"{name} {version(name)}" for name in ("torch", "onnxscript", "onnx-ir", "onnx"))]


def share_traces(folder: Path) -> None:
    """Makes `torch.onnx.export` return the graph of an equal earlier call, be it from an earlier test run.

    A trace takes about ten seconds and depends on the network's code, configuration and weights and on the call's
    arguments; the first call with each still traces.
    """
    import torch

    if hasattr(torch.onnx.export, "untraced"):
        return
    original = torch.onnx.export
    folder.mkdir(exist_ok=True)

    def export(module: Any, arguments: Any = (), *rest: Any, **options: Any) -> Any:
        import onnx

        if rest or options.get("f") is not None:
            return original(module, arguments, *rest, **options)
        file = folder / f"{_fingerprint(module, arguments, options)}.onnx"
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                program = original(module, arguments, **options)
                onnx.save(program.model_proto, file)
                return program
        return SimpleNamespace(model_proto=onnx.load(file))

    export.untraced = original  # type: ignore[attr-defined]
    torch.onnx.export = export  # type: ignore[assignment]


def _session_folder(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder that all processes of this test run have in common."""
    base = factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def _digest(sources: Iterable[Path | str]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes() if isinstance(source, Path) else source.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _fingerprint(module: Any, arguments: Any, options: dict[str, Any]) -> str:
    """A name for what a call of `torch.onnx.export` computes."""
    digest = hashlib.sha256(repr((module, arguments, sorted(options.items()))).encode())
    for name, part in module.named_modules():
        plain = {k: v for k, v in vars(part).items() if not k.startswith("_") and "object at 0x" not in repr(v)}
        code = [value.__code__.co_code for value in vars(type(part)).values() if hasattr(value, "__code__")]
        digest.update(repr((name, type(part), sorted(plain.items()), code)).encode())
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(repr((name, value.dtype, tuple(value.shape))).encode() + value.detach().numpy().tobytes())
    return digest.hexdigest()[:32]
