"""Reads ALTO with page images: what eScriptorium, kraken and libraries export.

    letters/0001.jpg   letters/0001.xml      or each in a folder of its own

What is in the files is in `pages/alto.py`; how a folder is read in `page_folder.py`. An ALTO file with a PAGE file of
the same name describes the same page, so that only the PAGE file is read unless `--read.format alto` says otherwise.
"""

from pathlib import Path

from htrcompress.data.readers.page_folder import PageFolderReader, kind_of, xml_files
from htrcompress.pages import alto, page_xml


class AltoReader(PageFolderReader):
    """Opens folders of ALTO files."""

    name = "alto"
    looks_for = "*.xml in ALTO format"
    root = alto.ROOT

    def gives_way(self, path: Path) -> bool:
        """See `SecondChoice`: every ALTO file stands beside a PAGE file of the same name."""
        kinds = {file: kind_of(file) for file in xml_files(path)}
        pages = {file.stem.casefold() for file, kind in kinds.items() if kind == page_xml.ROOT}
        return all(file.stem.casefold() in pages for file, kind in kinds.items() if kind == self.root)
