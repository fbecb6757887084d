"""From what the user types for a model, or a language model, to its file.

    copiste_fr                          a model inside the package
    FOLDER/NAME                         one of a folder that has an index, `models.json`
    https://host/folder/NAME            the same at a web address
    hf://owner/repository[@revision]/NAME    the same in a repository of the Hugging Face Hub
    https://host/model.onnx             a single file, on the Hub too; no index is needed

`#sha256=...` behind any of them names exactly those bytes. An address without one is pinned when it is first fetched
(`download.py`); what is in the cache is read without the network.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from htrcompress.catalogue.download import cached, checked, fetch, keep, pinned, sha256_of
from htrcompress.catalogue.index import (
    FILE_NAME,
    INDEX,
    MOST_INDEX_BYTES,
    PACKAGED,
    E,
    Entry,
    Shelved,
    chosen,
    read_folder,
    read_index,
)
from htrcompress.errors import HtrError

HUB = "https://huggingface.co"
REMOTE = ("https://", "http://", "hf://")
"""How addresses begin; those with http are refused."""
CLONED = Path("models")
"""Where a clone of the project has the models that are too large for the package."""
_HUB_NAME = re.compile(r"hf://([\w.-]+)/([\w.-]+?)(?:@([\w.-]+))?(?:/(.*))?")
_CHECKSUM = re.compile(r"#sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class Reference:
    """What the user typed, taken apart.

    Attributes:
        address: all but the checksum.
        folder: the address or path of the catalogue that the model is in; None for the package's own.
        name: the model's name there, or its file's.
        sha256: the checksum that was given, if any.
    """

    address: str
    folder: str | None
    name: str
    sha256: str | None

    @property
    def is_remote(self) -> bool:
        """Whether the model is fetched."""
        return self.folder is not None and self.folder.startswith(REMOTE)


def parse(text: str) -> Reference:
    """Takes apart what names a model.

    Raises:
        HtrError: the checksum is malformed, or the address names no model or no plain file name.
    """
    address, mark, rest = text.partition("#")
    found = _CHECKSUM.fullmatch(mark + rest)
    if mark and not found:
        raise HtrError(f"{text}: a checksum is written #sha256= and 64 hexadecimal digits")
    folder, slash, name = address.rpartition("/")
    remote = address.startswith(REMOTE)
    if not name or (remote and folder.count("/") < (3 if address.startswith("hf:") else 2)):
        raise HtrError(f"{address} names no model: write its name, or its file's, behind the address and a slash")
    if remote and not FILE_NAME.fullmatch(name):  # it becomes a file's name in the cache
        raise HtrError(f"{address} ends in what no model's file is called: letters, digits and . _ + - make its name")
    return Reference(address, folder if slash else None, name, found[1].lower() if found else None)


def find(text: str, kind: type[Shelved] = Entry) -> Path:
    """The file of the model that the user names; fetches it where it is named by an address and not in the cache.

    Args:
        text: its name or address.
        kind: `LanguageEntry` for language models.

    Raises:
        HtrError: there is no such model, a checksum is wrong, or it cannot be fetched.
    """
    reference = parse(text)
    if reference.is_remote:
        return _remote(reference, kind)
    folder = PACKAGED if reference.folder is None else Path(reference.folder or "/")
    if reference.folder is not None and not (folder / INDEX).is_file():
        raise HtrError(f"no {kind.WHAT} at {reference.address}, and {folder} has no index of models ({INDEX})")
    where, entries = "in the package" if reference.folder is None else f"in {folder}", read_folder(folder, kind)
    if reference.folder is None and reference.name not in entries and (beside := _in_clone(reference.name, kind)):
        raise HtrError(f"{reference.name} is not inside the package: in a clone of the project it is called {beside}")
    entry = chosen(entries, reference.name, where, kind)
    return checked(folder / entry.file, _agreed(reference, entry))


def _in_clone(name: str, kind: type[Shelved]) -> str | None:
    """What a model in the folder `models/` of a clone is called, where the command runs in one and has it."""
    with contextlib.suppress(HtrError):
        if name in read_folder(CLONED, kind):
            return f"{CLONED}/{name}"
    file = CLONED / f"{name}.safetensors"
    return file.as_posix() if kind is Entry and file.is_file() else None


def _remote(reference: Reference, kind: type[Shelved]) -> Path:
    wanted = reference.sha256 or pinned(reference.address)
    if wanted and (path := cached(wanted)):
        return path
    folder, file = folder_url(str(reference.folder)), reference.name
    if not file.endswith(kind.SUFFIXES):
        entry = chosen(read_source(str(reference.folder), kind), file, f"at {reference.folder}", kind)
        wanted, file = _agreed(reference, entry, wanted), entry.file
    data = fetch(f"{folder}/{file}")
    if wanted and sha256_of(data) != wanted:
        raise _other(reference, sha256_of(data), wanted)
    return keep(data, file, reference.address)


def _agreed(reference: Reference, entry: Shelved, wanted: str | None = None) -> str:
    """The checksum that index, user and pin agree on."""
    wanted = wanted or reference.sha256
    if wanted not in (None, entry.sha256):
        raise _other(reference, entry.sha256, str(wanted))
    return entry.sha256


def _other(reference: Reference, found: str, wanted: str) -> HtrError:
    """The error where an address stands for other bytes than the user named, or than it was pinned to."""
    return HtrError(
        f"{reference.address} is not the file that was meant: its SHA-256 is {found}, not {wanted}; if it is to be "
        f"taken, write #sha256={found} behind it"
    )


def read_source(source: str, kind: type[E]) -> dict[str, E]:
    """The entries of a catalogue in a folder, at an https address or in a Hub repository; see `index.read_index`.

    Raises:
        HtrError: it has no index, or cannot be fetched.
    """
    if not source.startswith(REMOTE):
        return read_folder(Path(source), kind)
    address = f"{folder_url(source)}/{INDEX}"
    return read_index(fetch(address, MOST_INDEX_BYTES), address, kind)


def folder_url(source: str) -> str:
    """The https address of a catalogue's folder.

    Raises:
        HtrError: it names no Hub repository as it should.
    """
    if not source.startswith("hf://"):
        return source.rstrip("/")
    found = _HUB_NAME.fullmatch(source.rstrip("/"))
    if not found:
        raise HtrError(f"{source} names no Hub repository: write hf://owner/repository, or with @revision behind it")
    owner, repository, revision, inner = found.groups()
    return "/".join([HUB, owner, repository, "resolve", revision or "main", *([inner] if inner else [])])


def locate(model: str | os.PathLike[str], kind: type[Shelved] = Entry) -> Path:
    """A model's file: the path itself where a file is there or it ends like one, else what the name stands for.

    Raises:
        HtrError: see `find`.
    """
    text = os.fspath(model)
    if text.startswith(REMOTE):
        return find(text, kind)
    path = Path(text)
    return path if os.path.isfile(text) or path.suffix[1:].isalpha() else find(path.as_posix(), kind)
