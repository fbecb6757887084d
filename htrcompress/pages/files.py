"""Opens a page's file in whichever format it is, and fills it in."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from htrcompress.errors import HtrError
from htrcompress.pages import alto, page_xml
from htrcompress.pages.markup import MAX_BYTES, Markup, parse
from htrcompress.pages.page import Page, Reading

FORMATS: dict[str, ModuleType] = {page_xml.ROOT: page_xml, alto.ROOT: alto}
"""Outermost element to the module that reads it and fills it in."""


def load(path: Path) -> bytes:
    """A page file's bytes.

    Raises:
        HtrError: it cannot be read, or is larger than a page is.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise HtrError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return data


def read_page(path: Path) -> Page:
    """Reads a PAGE or ALTO file.

    Raises:
        HtrError: it cannot be read, is neither, or is larger than a page is.
    """
    markup = parse(load(path), str(path))
    return _format(markup, str(path)).read(markup, str(path))


def fill_page(
    data: bytes, readings: Mapping[str, Reading], only_empty: bool = False, source: str = "the page"
) -> bytes:
    """A PAGE or ALTO file with texts in its lines; all else stays as it was, byte for byte.

    Args:
        data: the file.
        readings: the texts, by the lines' ids as `read_page` gives them.
        only_empty: leave lines that have a text already as they are.
        source: what to call the file in an error.

    Raises:
        HtrError: it is neither, or has no line of such an id.
    """
    markup = parse(data, source)
    return markup.replaced(_format(markup, source).fill(markup, readings, only_empty, source))


def _format(markup: Markup, source: str) -> ModuleType:
    """The module for a file.

    Raises:
        HtrError: there is none.
    """
    try:
        return FORMATS[markup.root.name]
    except KeyError:
        raise HtrError(f"{source} is neither PAGE nor ALTO: its outermost element is {markup.root.name[:80]}") from None
