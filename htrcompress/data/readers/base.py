"""`Reader`: opens one dataset format. A new reader is one file and one row in `READERS`."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from htrcompress.data.lines import Dataset


class Reader(Protocol):
    """One dataset format.

    A reader gives lines with their texts as the format has them. `open_dataset` does for every reader what they have
    in common: NFC and white space, invisible characters, control characters, and lines without text.

    Attributes:
        name: the format's, in tables and in options such as `--read.bentham.gap`.
        looks_for: what `recognises` looks for, for the error message where no reader recognises a folder.
        mixes: whether it goes by the suffix of files anywhere in a folder, so that other formats may be there as well.
            A folder that several such readers recognise is refused until `--read.format` names one.
        options: a frozen dataclass of the reader's own options, all with defaults, or None; the command line shows
            them once the dataclass is a field of `ReadConfig`.
    """

    name: str
    looks_for: str
    mixes: bool
    options: type | None

    def recognises(self, path: Path) -> bool:
        """Whether the folder or file is in this format; looks at names, and reads no more than it must."""

    def open(self, path: Path, options: Any) -> Dataset:
        """Opens a folder or file that it recognises.

        Args:
            path: the folder or file.
            options: an instance of `options`, or None.

        Returns:
            the lines of each split; `dropped` and `changed` count what the reader left out and changed, `broken` names
            the lines that it left out because something is wrong with them.

        Raises:
            HtrError: something in the folder is not as the format has it; the sentence names the file and line.
        """


@runtime_checkable
class SecondChoice(Protocol):
    """A reader that leaves a folder which it recognises to another, unless `--read.format` names it."""

    def gives_way(self, path: Path) -> bool:
        """Whether another reader has all that is in the folder."""
