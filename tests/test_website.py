"""The website that `make docs` builds: what it is made of, and what is refused."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from htrcompress import HtrError
from tools import api, pictures, website
from tools.website import ROOT, SiteOptions, build, gather
from tools.website_check import faults, table_faults


def test_all_pages_are_built_and_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="needs the extra `docs`")
    site = build(SiteOptions(tmp_path))
    assert site.path.is_file()
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} < {
        path.stem for path in site.path.parent.glob("*.html")
    }


def test_the_reference_is_that_of_the_code() -> None:
    pytest.importorskip("griffe", reason="needs the extra `docs`")
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "run `python tools/api.py`"


def test_the_pictures_are_those_of_the_code(tmp_path: Path) -> None:
    for drawn in pictures.draw(pictures.PictureOptions(out=tmp_path)).paths:
        ElementTree.parse(drawn)
        assert drawn.read_bytes() == (pictures.DOCS / drawn.name).read_bytes(), "run `python tools/pictures.py`"
    with pytest.raises(HtrError, match="--preset hybrid"):
        pictures.draw(pictures.PictureOptions("hybrid", tmp_path))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two pages, one of them outside `docs/`."""
    docs = tmp_path / "docs"
    docs.mkdir()
    settings = (ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8")
    listed = re.sub(r"^nav = .*?^\]", 'nav = ["index.md", "contributing.md"]', settings, flags=re.MULTILINE | re.DOTALL)
    (docs / "zensical.toml").write_text(listed, encoding="utf-8")
    (docs / "index.md").write_text("# One\n\n[two](../CONTRIBUTING.md#two), [code](../setup.py)\n", encoding="utf-8")
    (tmp_path / "setup.py").touch()
    (tmp_path / "CONTRIBUTING.md").write_text("# Two\n\n[one](docs/index.md)\n\n```\n[x](y)\n```\n", encoding="utf-8")
    monkeypatch.setattr(website, "ROOT", tmp_path)
    monkeypatch.setattr(website, "ELSEWHERE", {"CONTRIBUTING.md": "contributing.md"})
    return tmp_path


def test_links_follow_the_pages_into_the_site(project: Path, tmp_path: Path) -> None:
    assert gather(tmp_path / "out") == ["index.md", "contributing.md"]
    first, second = [(tmp_path / "out" / "docs" / name).read_text() for name in ("index.md", "contributing.md")]
    assert "[two](contributing.md#two), code" in first  # no page of the site, so no link
    assert "[one](index.md)" in second and "[x](y)" in second


@pytest.mark.parametrize("link", ["nowhere.md", "../CONTRIBUTING.md#three", "#four"])
def test_a_link_that_leads_nowhere_is_refused(project: Path, tmp_path: Path, link: str) -> None:
    pytest.importorskip("zensical", reason="needs the extra `docs`")
    with (project / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[x]({link})\n")
    with pytest.raises(HtrError, match=r"index\.md"):
        build(SiteOptions(tmp_path / "out"))


def test_a_page_that_nobody_would_find_is_refused(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="needs the extra `docs`")
    (project / "docs" / "lost.md").write_text("# Lost\n", encoding="utf-8")
    with pytest.raises(HtrError, match=r"lost\.md"):
        build(SiteOptions(tmp_path / "out"))


@pytest.mark.parametrize(
    "fault",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/x.css">',
        "<style>@import 'https://fonts.example/x.css';</style>",
        '<img src="lost.png">',
        '<a href="other.html#lost">x</a>',
        '<a href="#lost">x</a>',
    ],
)
def test_faults_of_built_pages_are_found(tmp_path: Path, fault: str) -> None:
    good = '<h1 id="a">A</h1><a href="#a">a</a><a href="https://example.org">b</a><a href="other.html#c">c</a>'
    (tmp_path / "index.html").write_text(good, encoding="utf-8")
    (tmp_path / "other.html").write_text('<h2 id="c">C</h2><a href="./index.html">x</a>', encoding="utf-8")
    assert faults(tmp_path) == []
    (tmp_path / "index.html").write_text(good + fault, encoding="utf-8")
    assert len(faults(tmp_path)) == 1


def test_styles_that_fetch_fonts_are_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text("a { background: url(data:x) } b { src: url('https://x.org/f') }", encoding="utf-8")
    assert len(faults(tmp_path)) == 1


TABLE = "# A\n\n| a | b |\n|---|---:|\n| `x \\| y` | 2 |\n"


@pytest.mark.parametrize(
    ("more", "line"), [("| 1 |", "6"), ("| 1 | 2 | 3 |", "6"), ("\n| 1 | 2 |", "7"), ("\nx\n\n| 1 |\n| 2 |", "9")]
)
def test_rows_without_their_cells_or_their_table_are_found(more: str, line: str) -> None:
    assert table_faults(TABLE) == table_faults(TABLE + "\n```\n| 1 |\n```\n") == []
    (fault,) = table_faults(TABLE + more + "\n")
    assert fault.startswith(f"line {line}:")


def test_a_broken_table_is_refused_with_its_page(project: Path, tmp_path: Path) -> None:
    (project / "CONTRIBUTING.md").write_text(TABLE + "| 1 |\n", encoding="utf-8")
    with pytest.raises(HtrError, match=r"CONTRIBUTING\.md, line 6"):
        gather(tmp_path / "out")
