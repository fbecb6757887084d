"""The data command: what it counts, how it splits, and the page of lines."""

import io
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from rich.console import Console

from htrcompress.cli import run_command
from htrcompress.data import gallery, splitting
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.sizes import measure
from htrcompress.errors import HtrError


def folder(root: Path, rows: dict[str, list[tuple[str, str]]], size: tuple[int, int] = (160, 32)) -> Path:
    root.mkdir(exist_ok=True)
    for split, lines in rows.items():
        (root / f"{split}.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in lines), encoding="utf-8")
        for name, _ in lines:
            Image.new("L", size, 200).save(root / name)
    return root


def shown(result: object) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(result)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_what_is_counted(tmp_path: Path) -> None:
    texts = {
        "train": [("a.png", "abba"), ("b.png", "x" * 30), ("c.png", "same [text]")],
        "valid": [("d.png", "same [text]"), ("e.png", "é")],
        "test": [("./a.png", "ab")],
    }
    result = look(DataOptions(str(folder(tmp_path, texts)), height=64))
    train, valid, test = (result.splits[name] for name in ("train", "valid", "test"))
    assert (train.lines, train.characters, train.not_emittable, train.examples) == (3, 45, 0, [])
    assert train.widths == [320] * 5 and train.heights == [32] * 5
    assert valid.unknown == {"é": 1} and test.trained_on == 1
    assert [(s.first, s.second, s.what, s.values, s.lines) for s in result.shared] == [("train", "valid", "text", 1, 1)]
    assert result.counts["x"] == 31 and result.charset == "".join(sorted(set("abbaxsame [text]")))
    tight = look(DataOptions(str(tmp_path), height=16))
    assert tight.splits["train"].not_emittable == 1 and tight.splits["train"].examples == ["b.png"]
    page = shown(tight)
    assert "same [text]" in page and "b.png" in page and "é\u00a0(1)" in page  # a bracket in a text is no markup


def test_pages_and_groups_in_two_splits_are_told(tmp_path: Path) -> None:
    rows = [
        {"file_name": f"{i}.png", "text": f"text {i}", "split": split, "writer": writer, "page": page}
        for i, (split, writer, page) in enumerate(
            [("train", "w1", "p1"), ("train", "w2", "p2"), ("test", "w1", "p2"), ("test", "w3", "p2")]
        )
    ]
    for i in range(len(rows)):
        Image.new("L", (90, 30), 200).save(tmp_path / f"{i}.png")
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = look(DataOptions(str(tmp_path)))
    assert [(s.what, s.values, s.lines, s.examples) for s in result.shared] == [
        ("page", 1, 2, ["p2"]),
        ("group", 1, 1, ["w1"]),
    ]
    assert result.splits["train"].pages == 2 and result.splits["test"].groups == 2


def test_sizes_are_those_of_decoded_images(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in ("a.png", "b.jpg", "c.tif", "d.webp"):
        Image.new("L", (90, 30), 200).save(tmp_path / name, exif=exif)
    (tmp_path / "e.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])  # its header is whole
    (tmp_path / "f.png").write_bytes(b"no image")
    lines = [Line(p.name, "", "train", p) for p in sorted(tmp_path.iterdir())]
    lines.append(Line("drawn", "", "train", lambda: np.zeros((7, 5), np.uint8)))
    lines.append(Line("again", "", "train", tmp_path / "f.png"))
    headers, decoded = measure(lines, decode=False), measure(lines, decode=True)
    assert list(zip(headers.widths, headers.heights, strict=True)) == [(30, 90)] * 5 + [(0, 0)] * 3
    assert list(zip(decoded.widths, decoded.heights, strict=True)) == [(30, 90)] * 4 + [(0, 0)] * 2 + [(5, 7), (0, 0)]
    assert len(headers.errors) == 1 and "f.png" in headers.errors[0]
    assert len(decoded.errors) == 2 and "e.png" in decoded.errors[0]
    assert headers.at(60).tolist() == [20] * 5 + [0] * 3


def unsplit(pages: int = 20, split: str = "all") -> Dataset:
    sizes = random.Random(0)
    lines = [
        Line(f"p{page}-{i}", "a", split, Path(f"p{page}-{i}.png"), f"hand{page % 5}", f"p{page}")
        for page in range(pages)
        for i in range(sizes.randint(5, 40))
    ]
    return Dataset("letters", "made", {split: lines})


@pytest.mark.parametrize("unit", splitting.UNITS)
def test_splits_keep_units_together(unit: splitting.Unit) -> None:
    dataset = unsplit()
    [lines] = dataset.splits.values()
    made = splitting.drawn(dataset, unit, splitting.Shares(0.2, 0.2, seed=1))
    assert list(made.splits) == ["train", "valid", "test"] and sum(map(len, made.splits.values())) == len(lines)
    units = {name: {splitting._unit(line, unit, "") for line in some} for name, some in made.splits.items()}
    assert not units["train"] & units["test"] and not units["valid"] & units["test"] | units["train"] & units["valid"]
    assert all(line.split == name for name, some in made.splits.items() for line in some)
    for name in ("valid", "test"):
        assert 0.1 < len(made.splits[name]) / len(lines) < 0.3
    back = Dataset("letters", "made", {"all": lines[::-1]})
    again = splitting.drawn(back, unit, splitting.Shares(0.2, 0.2, seed=1))
    assert {line.id for line in again.split("test")} == {line.id for line in made.split("test")}
    other = splitting.drawn(dataset, unit, splitting.Shares(0.2, 0.2, seed=2))
    assert {line.id for line in other.split("test")} != {line.id for line in made.split("test")} or unit == "group"


def test_validation_lines_are_drawn_from_training_lines() -> None:
    dataset = unsplit(split="train")
    test = [Line("t", "a", "test", Path("t.png"), page="t")]
    whole = Dataset("letters", "made", {"train": dataset.splits["train"], "test": test})
    made = splitting.drawn(whole, "page", splitting.Shares())
    assert list(made.splits) == ["train", "valid", "test"] and made.splits["test"] == test
    assert len(made.split("train")) + len(made.split("valid")) == len(dataset.split("train"))


def test_splits_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    dataset = unsplit()
    made = splitting.drawn(dataset, "page", splitting.Shares())
    with pytest.raises(HtrError, match=r"--split page.*split already"):
        splitting.drawn(made, "page", splitting.Shares())
    with pytest.raises(HtrError, match="2 pages"):
        splitting.drawn(unsplit(pages=2), "page", splitting.Shares())
    bare = Dataset("letters", "made", {"all": [Line(str(i), "a", "all", Path("a")) for i in range(9)]})
    with pytest.raises(HtrError, match=r"--split page: 0 of letters.*group or line"):
        splitting.drawn(bare, "page", splitting.Shares())
    with pytest.raises(HtrError, match="nowhere"):
        splitting.lists_in(tmp_path / "nowhere")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(HtrError, match=r"--split .*page, group, line"):
            look(DataOptions(split=str(folder)))
    for option, match in (
        ({"valid": 0.0}, "--valid"),
        ({"test": 1.0}, "--test"),
        ({"height": -1}, "--height"),
        ({"processes": 2}, "--processes.*--write"),
        ({"max_unreadable": 0.1}, "--max_unreadable.*--write"),
    ):
        with pytest.raises(HtrError, match=match):
            DataOptions(**option)  # type: ignore[arg-type]


def test_what_was_split_is_written_and_given_back(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    source = folder(tmp_path / "letters", {"train": [(f"{i}.png", f"text {i}") for i in range(40)]})
    result = look(DataOptions(str(source), split="line", valid=0.2, write=tmp_path / "packed", height=32))
    assert [split.lines for split in result.splits.values()] == [28, 8, 4]
    packed = open_dataset(str(tmp_path / "packed"))
    assert json.loads((tmp_path / "packed" / "packed.json").read_text())["splitting"]["by"] == "line"
    again = look(DataOptions(str(source), split=str(tmp_path / "packed")))
    assert {name: split.hash for name, split in again.splits.items()} == {n: packed.identity(n) for n in packed.splits}


FORM = """<?xml version="1.0"?><form id="{id}" width="400" height="300" writer-id="{writer}"><handwritten-part>
<line id="{id}-00" segmentation="ok" text="one &amp;amp; two"><word><cmp x="10" y="20" width="300" height="40"/></word>
</line><line id="{id}-01" segmentation="err" text="three"><word><cmp x="10" y="100" width="200" height="40"/></word>
</line></handwritten-part></form>"""


def test_forms_of_iam_are_cut_split_and_packed(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("forms", "xml", "lists"):
        (tmp_path / name).mkdir()
    for split, form in (("trainset", "a01-000u"), ("validationset1", "a01-003"), ("testset", "b02-001")):
        Image.new("L", (400, 300), 220).save(tmp_path / "forms" / f"{form}.png")
        (tmp_path / "xml" / f"{form}.xml").write_text(FORM.format(id=form, writer="000"), encoding="utf-8")
        (tmp_path / "lists" / f"{split}.txt").write_text(f"{form}-00\n{form}-01\n", encoding="utf-8")
    forms, xml, lists, out = (tmp_path / name for name in ("forms", "xml", "lists", "packed"))
    result = look(DataOptions(str(forms), xml=xml, split=str(lists), write=out))
    assert [(name, split.lines) for name, split in result.splits.items()] == [("train", 2), ("valid", 2), ("test", 2)]
    line = open_dataset(str(out)).split("train")[0]
    assert (line.text, line.group, line.page, line.pixels().shape[0]) == ("one & two", "000", "a01-000u", 64)
    assert result.name == "forms" and result.shared[0].what == "group"
    with pytest.raises(HtrError, match="nowhere"):
        look(DataOptions(str(tmp_path / "nowhere"), xml=xml))


def test_the_gallery_is_one_file_that_holds_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [(f"{i}.png", f"text <b>{i}</b> & more") for i in range(30)] + [("odd.png", "x"), ("bad.png", "bad")]
    source = folder(tmp_path / "letters", {"train": texts, "test": [("t.png", "Grüße")]})
    (source / "bad.png").write_bytes(b"no image")
    out = tmp_path / "gallery.html"
    with pytest.raises(SystemExit):
        run_command(look, "path", [str(source), "--gallery", str(out), "--show", "5", "--json"])
    assert json.loads(capsys.readouterr().out)["gallery"] == out.as_posix()
    page = out.read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page and "<b>" not in page and "Grüße" in page and 'name="viewport"' in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page) and "<script" not in page and "url(" not in page
    assert page.count("<figure>") == 5 + 1 + 3 * 5
    assert page.index("Suspicious") and "odd.png" in page[page.rindex('id="s2"') : page.rindex('id="s3"')]
    look(DataOptions(str(source), gallery=out, show=5))
    assert out.read_text(encoding="utf-8") == page


def test_a_gallery_of_no_lines_is_written(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("")
    look(DataOptions(str(tmp_path), gallery=tmp_path / "gallery.html"))
    assert "0 train" in (tmp_path / "gallery.html").read_text(encoding="utf-8")


def test_the_gallery_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "LARGEST", 4000)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 200), np.uint8)
    lines = [Line(str(i), "long " * 1000, "train", lambda: pixels) for i in range(9)]
    lines.append(Line("broken", "a", "train", lambda: 1 / 0))  # type: ignore[arg-type,return-value]
    page = gallery.page(Dataset("a", "b", {"train": lines}), [gallery.Shown("all", "", [(ln, "") for ln in lines])])
    assert len(page) < 12_000 and "left out for their size" in page and "ZeroDivisionError" in page
