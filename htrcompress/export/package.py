"""The folder that one model is exported to: written in a hidden folder inside, then moved into place file by file.

Besides what the targets write it holds `card.json` and `labels.txt` (label by label, one character a line after
`<blank>`). One process at a time writes into it, which a lock file ensures.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

LIBRARY = "libhtr_ctc.so"
"""The plugin, beside the engines that decode with it."""
LANGUAGE = "language.ngram"
"""The language model of a beam search."""
REPOSITORY = "model_repository"
"""Not `triton`: Python would take a folder of that name for the package that PyTorch imports."""
COMMON = ("verify.json", "card.json", "labels.txt")
LOCK, UNFINISHED = ".export.lock", ".export.tmp"


@dataclass(frozen=True)
class Package:
    """A folder that is being filled.

    Attributes:
        folder: where to write.
        withdrawn: patterns of files of an earlier export that must not stay, since this one refused to write them.
    """

    folder: Path
    withdrawn: list[str] = field(default_factory=list)


@contextlib.contextmanager
def replaced(target: Path, owned: Sequence[str]) -> Iterator[Package]:
    """A folder to write in, whose files move to `target` when the block ends without an error.

    Files of the same model that were exported earlier stay beside those that are written now; those of another model
    are removed, and so is what was verified.

    Args:
        target: the export folder.
        owned: patterns of the names of everything that targets write (`ExportTarget.files`).

    Raises:
        HtrError: another process is exporting into the folder, or the folder cannot be written or holds files of these
            names that no export wrote.
    """
    owned = (*owned, *COMMON)
    if target.exists() and not target.is_dir():
        raise HtrError(f"{target} is a file, and an export is a folder: name another with --out")
    _refuse_foreign(target, owned)
    with _locked(target):
        unfinished = target / UNFINISHED
        try:
            with _named(target):
                shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
                unfinished.mkdir()
            package = Package(unfinished)
            yield package
            with _named(target):
                _move(unfinished, target, owned, package.withdrawn)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Holds the folder against other processes; removes it in the end if it was made here and is empty."""
    new = not target.exists()
    lock = FileLock(target / LOCK)
    try:
        with _named(target):
            target.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except Timeout:
        raise HtrError(
            f"another process is exporting into {target}: wait for it, or name another folder with --out"
        ) from None
    try:
        yield
    finally:
        if new and [path.name for path in target.iterdir()] == [LOCK]:
            with contextlib.suppress(OSError):
                (target / LOCK).unlink()
                target.rmdir()
        lock.release()


def _refuse_foreign(target: Path, owned: Sequence[str]) -> None:
    if _model(target) is None:
        for foreign in (file for pattern in owned for file in target.glob(pattern)):
            raise HtrError(
                f"{target} holds {foreign.name}, which an export would replace, and is no export folder: name another "
                f"with --out"
            )


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Names the folder where the system refuses something in it."""
    try:
        yield
    except Timeout:  # an OSError too
        raise
    except OSError as error:
        raise HtrError(f"cannot write the export folder {target}: {error.strerror or error}") from None


def _move(made: Path, target: Path, owned: Sequence[str], withdrawn: Sequence[str]) -> None:
    """Moves the files into place, the card last: until then the card is that of the model that was there."""
    same = _model(made) == _model(target)
    gone = ("verify.json", *withdrawn) if same else owned
    for old in {file for pattern in gone for file in target.glob(pattern)} - {target / "card.json"}:
        _remove(old)
    served = made / REPOSITORY
    for old in target.glob(f"{REPOSITORY}/*") if served.is_dir() else ():
        if not (served / old.name).exists():  # the same model under an earlier name of its file
            _remove(old)
    for file in sorted(made.rglob("*"), key=lambda file: file.name == "card.json"):
        place = target / file.relative_to(made)
        if file.is_dir():
            place.mkdir(exist_ok=True)
        else:
            file.replace(place)


def _remove(old: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    else:
        old.unlink()


def _model(folder: Path) -> Card | None:
    """The card of the model that a folder is an export of, without what was verified since; None if there is none."""
    path = folder / "card.json"
    try:
        card = Card.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, HtrError):
        return None
    return _unverified(card)


def _unverified(card: Card) -> Card:
    """The card without the figures that `verify` adds, and without the attention decoder, which few files hold."""
    return replace(
        card.without_attention(), metrics={name: value for name, value in card.metrics.items() if name != "verified"}
    )


def check_package(folder: Path, card: Card) -> None:
    """Checks that an export folder belongs to a model.

    Raises:
        HtrError: the folder holds no exported file, or its card, its labels or what Triton serves are another model's.
    """
    if not any(folder.glob("*.onnx")) and not any(folder.glob("*.engine")):
        raise HtrError(f"{folder} holds no exported .onnx or .engine file: export the model again")
    if _model(folder) != _unverified(card):
        raise HtrError(f"{folder / 'card.json'} is not the card of the model beside it: export the model again")
    for file in (folder / "labels.txt", *folder.glob(f"{REPOSITORY}/*/labels.txt")):
        if not file.is_file() or file.read_bytes() != labels_text(card):
            raise HtrError(f"{file} does not hold the labels of the model: export it again")
    graph = folder / "model.onnx"
    for file in folder.glob(f"{REPOSITORY}/*/1/model.onnx"):
        if graph.is_file() and file.read_bytes() != graph.read_bytes():
            raise HtrError(f"{graph} and {file} must be the same and differ: export the model again")


def write_labels(folder: Path, card: Card) -> None:
    """Writes `card.json` and `labels.txt`."""
    write_atomic(folder / "card.json", f"{card.to_json()}\n".encode())
    write_atomic(folder / "labels.txt", labels_text(card))


def labels_text(card: Card) -> bytes:
    """The content of `labels.txt`."""
    return "".join(f"{c}\n" for c in ("<blank>", *card.charset)).encode()
