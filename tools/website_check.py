"""Reads a built website: every address in it leads somewhere, and nothing is fetched from another host."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"src", "srcset", "poster", "data", "action"}
"""Attributes whose address a browser fetches by itself; `href` is one too, except in a link that somebody follows."""
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


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
