"""Pages of real corpora, where these are beside the project: their texts, their crops, and how crops read."""

import csv
import shutil
from pathlib import Path

import pytest

from htrcompress import cer, load
from htrcompress.data.lines import Line
from htrcompress.data.readers.open import open_dataset
from htrcompress.image_files import load_grey
from htrcompress.pages.files import read_page

MODELS = Path(__file__).parent.parent / "models"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def needs(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs the corpus {name} in ../shared/data")
    return SHARED / name


def test_page_and_alto_of_one_page_agree(tmp_path: Path) -> None:
    root = needs("bronod_pages") / "pages"
    page, other = (read_page(root / kind / "0002.xml") for kind in ("page", "alto"))
    assert [line.text for line in page.lines] == [line.text for line in other.lines] and len(page.lines) == 2
    for kind in ("page", "alto"):
        (tmp_path / kind).mkdir()
        shutil.copy(root / kind / "0002.xml", tmp_path / kind / "0002.xml")
        (tmp_path / kind / "0002.jpg").symlink_to(root / "0002.jpg")
    one, two = (open_dataset(str(tmp_path / kind)).splits["all"] for kind in ("page", "alto"))
    for a, b in zip(one, two, strict=True):
        assert a.id == b.id and (a.pixels() == b.pixels()).all()


def corpus_lines(name: str) -> list[tuple[Line, Path, str]]:
    """The test lines of a corpus that are on its pages: as read from these, the image in the corpus, and the text."""
    root = needs(name)
    meta = (root / "meta.tsv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(meta, delimiter="\t", quoting=csv.QUOTE_NONE)
    files = {(Path(row["source_xml"]).stem, row["line_id"]): row["file"] for row in rows if row["split"] == "test"}
    texts = dict(row.split("\t") for row in (root / "test.tsv").read_text(encoding="utf-8").splitlines())
    found = {tuple(line.id.split("#")): line for line in open_dataset(str(root / "pages")).splits["all"]}
    pages = {page for page, _ in found}
    return [(found[key], root / file, texts[file]) for key, file in files.items() if key[0] in pages]


@pytest.mark.parametrize("name", ["hooker_en", "copiste_fr"])
def test_texts_of_pages_are_those_of_the_corpus(name: str) -> None:
    lines = corpus_lines(name)
    assert len(lines) > 50 and [line.text for line, _, _ in lines] == [text for _, _, text in lines]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hooker_en", "copiste_fr"])
def test_lines_of_pages_read_like_those_of_the_corpus(name: str) -> None:
    lines = corpus_lines(name)
    model = load(str(MODELS / f"{name}.safetensors"))
    texts = [text for _, _, text in lines]
    ours = cer(texts, [reading.text for reading in model.read([line.pixels() for line, _, _ in lines])])
    theirs = cer(texts, [reading.text for reading in model.read([load_grey(image) for _, image, _ in lines])])
    assert ours < theirs + 0.003
