"""Checks the pages of a website: rows of tables have their cells, addresses lead somewhere, no other host is asked.

Tables are checked in the Markdown, where a row that lost a `|` still has a line number; the rest in the built pages.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"src", "srcset", "poster", "data", "action"}
"""Attributes whose address a browser fetches by itself; `href` is one too, except in a link that somebody follows."""
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")

FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
BAR = re.compile(r"(?<!\\)\|")
RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")


def table_faults(text: str) -> list[str]:
    """What is wrong with the tables of a Markdown page: rows that stand in no table, or have too few or many cells."""
    lines = FENCED.sub(lambda fence: "\n" * fence[0].count("\n"), text).splitlines()
    found, cells = [], 0
    for number, line in enumerate(lines, 1):
        if not line.startswith("|"):
            cells = 0  # the table has ended
            continue
        here = len(BAR.findall(line.strip())) - 1
        if not cells:
            cells = here
            if number == len(lines) or not RULE.fullmatch(lines[number]):
                found.append(f"line {number}: a row stands outside a table")
        elif here != cells:
            found.append(f"line {number}: a row of {here} cells in a table of {cells}")
    return found


class _Page(HTMLParser):
    """Collects the anchors and the addresses of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.followed: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)
        self.fetched += IN_STYLES.findall(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")
            elif name == "href" and tag in ("a", "area"):
                self.followed.append(value or "")
            elif name == "href" or name in FETCHED:
                self.fetched.append(value or "")


def faults(site: Path) -> list[str]:
    """What is wrong with the pages in a folder, a sentence each."""
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        found += [f"{name} fetches {url} from another host" for url in page.fetched if urlsplit(url).netloc]
        for url in {*page.followed, *page.fetched}:
            if not _leads_somewhere(url, path, site.resolve(), pages):
                found.append(f"{name} names {url}, which is not there")
    for style in sorted(site.rglob("*.css")):
        for url in IN_STYLES.findall(style.read_text(encoding="utf-8")):
            found.append(f"{style.relative_to(site).as_posix()} fetches {url} from another host")
    return found


def _leads_somewhere(url: str, page: Path, site: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return True
    there = site / parts.path.lstrip("/") if parts.path.startswith("/") else page.parent / unquote(parts.path)
    there = (there if parts.path else page).resolve()
    there = there / "index.html" if there.is_dir() else there
    if there not in pages:
        return there.is_file()
    return parts.fragment in ("", "__top", *pages[there].anchors)
