"""What is in a folder: which files are images, which are litter, and which names a dataset may use.

The one place for these rules; `transcribe`, `--unlabelled` and every reader follow them. An image may be a link to
anywhere, since nothing but its pixels is used. A file whose text is read (a table, a list, a transcription) must lie in
the dataset's folder, links followed, so that a dataset from elsewhere cannot bring other files of this machine into
texts; in the cache of the Hugging Face hub, where files are links to blobs, the folder is that of the repository.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from htrcompress.errors import HtrError
from htrcompress.image_files import SUFFIXES

LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
"""Lower-case names of files and folders that systems leave behind; names that begin with a dot count as well."""
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u2060\ufeff]+")


def is_litter(name: str) -> bool:
    """Whether an operating system left this file or folder, such as `._a.png`, `.DS_Store` or `Thumbs.db`."""
    return name.startswith((".", "~$")) or name.lower() in LITTER


def files_in(folder: Path, recursive: bool = True) -> Iterator[Path]:
    """The files in a folder, without litter and dead links; links are followed, each folder once.

    Args:
        folder: where to look.
        recursive: whether the folders in it are searched too.
    """
    seen = set()
    waiting = [Path(folder)]
    while waiting:
        root = waiting.pop()
        try:
            status = os.stat(root)
            with os.scandir(root) as listed:
                entries = [(entry.name, *_kind(entry)) for entry in listed]
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above it
            continue
        seen.add((status.st_dev, status.st_ino))
        yield from (root / name for name, _, is_file in entries if is_file and not is_litter(name))
        if recursive:
            inner = sorted((name for name, is_dir, _ in entries if is_dir and not is_litter(name)), reverse=True)
            waiting += [root / name for name in inner]


def files_at(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of some suffixes (in lower case) in a folder, sorted; or the file that the path is, if it has one."""
    files = files_in(path) if path.is_dir() else [path]
    return sorted(file for file in files if file.suffix.lower() in suffixes)


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether an entry is a folder and whether it is a file; of a link, what it leads to."""
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:  # a link to itself
        return False, False


def images_in(folder: Path, recursive: bool = True) -> list[Path]:
    """The images among `files_in`, by their suffix, sorted."""
    return sorted(path for path in files_in(folder, recursive) if path.suffix.lower() in SUFFIXES)


class ImageNames:
    """The images below a folder by the names that lists give them: without suffix, and with some of their folders.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._images: dict[str, list[Path]] = {}
        for file in images_in(root):
            self._images.setdefault(file.stem, []).append(file)

    def find(self, name: str) -> Path | None:
        """The image of a name such as `a01-000u-00` or `a01/a01-000u-00`; None if there is none, or several."""
        found = self._all(name)
        return found[0] if len(found) == 1 else None

    def fault(self, name: str, missing: str = "missing images") -> str:
        """Why there is no image of a name, as a reason of `Dataset.broken`: `missing`, or that several go by it."""
        return "images that share a name" if self._all(name) else missing

    def _all(self, name: str) -> list[Path]:
        folders, _, stem = name.rpartition("/")
        found = self._images.get(stem, [])
        if folders:
            found = [file for file in found if f"/{_folder(file, self.root)}".endswith(f"/{folders}")]
        return found


def _folder(file: Path, root: Path) -> str:
    return file.parent.relative_to(root).as_posix()


class Inside:
    """Refuses links that lead out of a dataset's folder, and what is no file, where text is to be read.

    Args:
        root: the folder that the user named, or a file, which may be a link itself.
    """

    def __init__(self, root: Path):
        self.named = root
        self.root = Path(os.path.realpath(root if root.is_dir() else root.parent))
        for folder in self.root.parents:
            if folder.name == "snapshots" and (folder.parent / "blobs").is_dir():  # of the hub: its files are links
                self.root = folder.parent
        self._folders: dict[Path, bool] = {}

    def check(self, file: Path) -> Path:
        """The file, if it lies in the folder once links are followed.

        Raises:
            HtrError: it does not, or is a pipe or a device, which may never end.
        """
        inside = self._folders.get(file.parent)
        if inside is None:
            inside = self._folders[file.parent] = Path(os.path.realpath(file.parent)).is_relative_to(self.root)
        if file == self.named:
            return file
        mode = _mode(file)
        if not inside or (stat.S_ISLNK(mode) and not Path(os.path.realpath(file)).is_relative_to(self.root)):
            raise HtrError(
                f"{file} is a link that leads out of the dataset's folder {self.root}: put a copy in its place"
            )
        if not (stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and file.is_file())):
            raise HtrError(f"{file} is not a file that can be read: put one in its place")
        return file


def _mode(file: Path) -> int:
    """What a file is, links not followed; 0 if it is not there."""
    try:
        return os.lstat(file).st_mode
    except OSError:
        return 0


class FolderIndex:
    """The files below a dataset's folder by name. Each folder is listed once, so that a million names take seconds."""

    def __init__(self, root: Path):
        self.root = root
        self._names: dict[str, frozenset[str]] = {}

    def find(self, name: str, where: str) -> Path | None:
        """The file of that name, which may be a link to anywhere; None if there is none.

        Args:
            name: relative to the root, folders with slashes.
            where: who names the file, for the error.

        Raises:
            HtrError: the name is absolute or leads out of the root through `..`.
        """
        if (".." in name or name[:1] in "/\\" or ":" in name) and _leads_out(name):
            raise HtrError(f"{where}: {name[:200]} leads out of the dataset's folder: give a path inside it without ..")
        folder, _, base = name.rpartition("/")
        names = self._names.get(folder)
        if names is None:
            names = self._names[folder] = self._list(folder)
        return self.root / name if base in names else None

    def _list(self, folder: str) -> frozenset[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return frozenset(entry.name for entry in entries if entry.is_file())
        except (OSError, ValueError):  # no such folder, too long a name, or a zero byte in it
            return frozenset()

    def near_miss(self, name: str) -> str:
        """What to add to the report of a missing file: a file whose name differs by what is hard to see, or nothing."""
        folder, found = self.root, ""
        for part in name.replace("\\", "/").split("/"):
            wanted = _folded(part)
            if wanted in ("", "."):
                continue
            try:
                same = [entry for entry in os.listdir(folder) if _folded(entry) == wanted]
            except OSError:
                return ""
            if not same:
                return ""
            folder, found = folder / min(same), f"{found}/{min(same)}".removeprefix("/")
        if not found or not folder.is_file():
            return ""
        return f" (there is {found!a}, which differs from {name!a} in {_difference(name, found)})"


def _leads_out(name: str) -> bool:
    return ".." in re.split(r"[\\/]", name) or os.path.isabs(name) or bool(os.path.splitdrive(name)[0])


def _folded(name: str) -> str:
    """The name without what people do not see."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFC", name)).casefold()


def _difference(name: str, found: str) -> str:
    if name.replace("\\", "/") == found:
        return "backslashes"
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", found):
        return "Unicode normal form"
    if _INVISIBLE.sub("", name) == _INVISIBLE.sub("", found):
        return "spaces or invisible characters"
    return "upper and lower case" if name.casefold() == found.casefold() else "several ways"
