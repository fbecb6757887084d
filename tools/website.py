"""Builds the pages of `docs/` into a website that needs no network: `make docs`, or `python tools/website.py`.

zensical makes the HTML, arranged by `docs/zensical.toml`, and takes every warning for an error. Around it, pages that
stand elsewhere in the repository get their place in the site, and what was built is read again: each address in it must
be there, and none may be fetched from another host. It needs `pip install "htrcompress[docs]"`.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from tools.website_check import faults, table_faults

ROOT = Path(__file__).parent.parent
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "export/README.md": "outside-python.md",
    "models/README.md": "shipped-models.md",
}
"""Pages outside `docs/`, and their names in the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class SiteOptions:
    """Builds the pages of `docs/` into a website."""

    out: Path = Path("build/docs")
    """A folder of its own: the pages are gathered in it, and `site/` in it is the website."""


@dataclass(frozen=True)
class Site:
    """A website that was built.

    Attributes:
        path: its first page.
        pages: how many it has.
    """

    path: Path
    pages: int

    def __rich__(self) -> str:
        return f"{self.pages} pages: {self.path}"


def build(options: SiteOptions) -> Site:
    """Gathers the pages, builds them and checks the result.

    Raises:
        HtrError: zensical is not installed, a table is broken, a link leads nowhere, a page is not in the navigation,
            or a built page would fetch something from another host.
    """
    if find_spec("zensical") is None:
        raise HtrError('building the pages needs zensical: pip install "htrcompress[docs]"')
    names = gather(options.out)
    listed = (options.out / "zensical.toml").read_text(encoding="utf-8")
    missing = [name for name in names if f'"{name}"' not in listed]
    if missing:
        raise HtrError(f"not in the navigation of docs/zensical.toml: {', '.join(missing)}")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=options.out, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr + done.stdout).partition("Traceback")[0].strip()
        raise HtrError(f"zensical refuses the pages:\n{said}")
    site = options.out / "site"
    wrong = faults(site)
    if wrong:
        raise HtrError("the built pages have faults:\n" + "\n".join(wrong))
    return Site(site / "index.html", len(names))


def gather(out: Path) -> list[str]:
    """Copies all pages, their pictures and the settings into a folder; returns the names of the pages.

    Raises:
        HtrError: rows of a table lack cells, or stand outside a table.
    """
    pages = {path: path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    pages |= {ROOT / path: name for path, name in ELSEWHERE.items()}
    shutil.rmtree(out / "docs", ignore_errors=True)
    (out / "docs").mkdir(parents=True)
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    wrong = [
        f"{path.relative_to(ROOT).as_posix()}, {fault}" for path, text in texts.items() for fault in table_faults(text)
    ]
    if wrong:
        raise HtrError("\n".join(["tables are broken:", *wrong]))
    for path, name in pages.items():
        text = _relinked(texts[path], path, pages)
        (out / "docs" / name).write_text(text, encoding="utf-8", newline="\n")
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, out / "docs")
    shutil.copy(ROOT / "docs" / "zensical.toml", out)
    return list(pages.values())


def _relinked(text: str, page: Path, pages: dict[Path, str]) -> str:
    """The text of a page with its links as they are in the site; code is left alone."""

    def target(found: re.Match[str]) -> str:
        sign, label, link = found.groups()
        path, mark, anchor = link.partition("#")
        if not path or "://" in link:
            return found[0]
        there = (page.parent / path).resolve()
        if there == ROOT / "README.md":
            return f"[{label}](index.md)"
        if there in pages:
            return f"{sign}[{label}]({pages[there]}{mark}{anchor})"
        is_source = not sign and there.exists()  # a file of the repository that is no page of the site
        return label if is_source else found[0]

    place, parts = 0, []
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(target, text[place : fence.start()]), fence[0]]
        place = fence.end()
    return "".join([*parts, LINK.sub(target, text[place:])])


if __name__ == "__main__":
    run_command(build)
