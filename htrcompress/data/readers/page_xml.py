"""Reads PAGE XML with page images: what Transkribus, eScriptorium and OCR-D's tools export.

    letters/0001.jpg   letters/page/0001.xml      or the XML beside the image, or both in folders of their own

What is in the files is in `pages/page_xml.py`; how a folder is read in `page_folder.py`.
"""

from htrcompress.data.readers.page_folder import PageFolderReader
from htrcompress.pages import page_xml


class PageXmlReader(PageFolderReader):
    """Opens folders of PAGE files."""

    name = "page_xml"
    looks_for = "*.xml in PAGE format"
    root = page_xml.ROOT
