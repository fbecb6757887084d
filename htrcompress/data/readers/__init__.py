"""Readers of dataset formats, one file each, and the table of them.

To add a format: write a file with a class that keeps the interface `base.Reader`, and put it into `READERS`. If it
has options, make its options dataclass a field of `ReadConfig`, under the reader's name.
"""

from dataclasses import dataclass, field
from typing import Literal

from htrcompress.data.readers.alto import AltoReader
from htrcompress.data.readers.base import Reader
from htrcompress.data.readers.bentham import BenthamOptions, BenthamReader
from htrcompress.data.readers.columns import ColumnOptions
from htrcompress.data.readers.cvl import CvlReader
from htrcompress.data.readers.histdb import HistDbOptions, HistDbReader
from htrcompress.data.readers.iam import IamOptions, IamReader
from htrcompress.data.readers.images import ImageFolderReader
from htrcompress.data.readers.kraken_arrow import KrakenArrowReader
from htrcompress.data.readers.manifest import ManifestReader
from htrcompress.data.readers.packed import PackedReader
from htrcompress.data.readers.page_texts import PageOptions
from htrcompress.data.readers.page_xml import PageXmlReader
from htrcompress.data.readers.parquet import ParquetReader
from htrcompress.data.readers.pylaia import PyLaiaReader
from htrcompress.data.readers.rimes import RimesOptions, RimesReader
from htrcompress.data.readers.synthetic import SyntheticReader
from htrcompress.data.readers.text_pairs import TextPairsReader
from htrcompress.data.readers.tsv import TsvReader
from htrcompress.errors import HtrError

READERS: list[Reader] = [
    SyntheticReader(),
    PackedReader(),
    TsvReader(),
    BenthamReader(),
    IamReader(),
    RimesReader(),
    CvlReader(),
    HistDbReader(),
    PyLaiaReader(),
    ImageFolderReader(),
    ParquetReader(),
    KrakenArrowReader(),
    ManifestReader(),
    TextPairsReader(),
    PageXmlReader(),
    AltoReader(),
]
"""In the order of trial: the first that recognises a folder opens it. Those that mix are tried after the
others, and only one of them may recognise it."""


@dataclass(frozen=True)
class ReadConfig:
    """How a dataset's transcriptions are read: a choice for all formats, and the options of each reader."""

    format: str | None = None
    """The format, by the name of its reader, where a folder holds more than one; found by looking if not given."""
    max_broken: float = 0.05
    """Largest share of lines that may be broken, such as one whose image is missing: they are left out and counted."""
    invisible: Literal["drop", "keep"] = "drop"
    """What becomes of invisible characters such as U+FEFF, U+200B and U+00AD; joiners (U+200C, U+200D) are kept."""
    plain: bool = False
    """Write typographic quotes, dashes, long s and raised letters plainly (`'`, `"`, `-`, `s`, `r`), so that corpora of
    different editors agree."""
    bentham: BenthamOptions = field(default_factory=BenthamOptions)
    """The format of the Bentham corpus."""
    iam: IamOptions = field(default_factory=IamOptions)
    """The IAM handwriting database."""
    rimes: RimesOptions = field(default_factory=RimesOptions)
    """The RIMES corpus."""
    histdb: HistDbOptions = field(default_factory=HistDbOptions)
    """The historical databases of IAM."""
    parquet: ColumnOptions = field(default_factory=ColumnOptions)
    """The columns of parquet files."""
    manifest: ColumnOptions = field(default_factory=ColumnOptions)
    """The columns of CSV and JSON Lines files."""
    page_xml: PageOptions = field(default_factory=PageOptions)
    """Pages in PAGE XML."""
    alto: PageOptions = field(default_factory=PageOptions)
    """Pages in ALTO."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_broken <= 1:
            raise HtrError(f"--read.max_broken is a share from 0 to 1, not {self.max_broken:g}")


__all__ = ["READERS", "ReadConfig", "Reader"]
