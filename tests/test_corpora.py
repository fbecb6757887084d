"""Readers of well-known corpora, against small trees of our own with the quirks of the real ones."""

from pathlib import Path

import numpy as np
import pytest
from page_files import page_line, page_xml
from PIL import Image

from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers import iam as iam_reader
from htrcompress.data.readers.histdb import HistDbOptions
from htrcompress.data.readers.iam import IamOptions
from htrcompress.data.readers.open import open_dataset
from htrcompress.data.readers.rimes import RimesOptions
from htrcompress.errors import HtrError


def save(path: Path, width: int = 60, height: int = 32) -> Path:
    """An image whose columns count up, so that a cut shows where it is from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(np.arange(width, dtype=np.uint8), (height, 1))).save(path)
    return path


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


LINES = """#--- lines.txt ---#
a01-000u-00 ok 154 19 408 746 1663 91 A|MOVE|to|stop|Mr.|B B C|.
a01-000u-01 err 154 19 408 746 1663 91 any more Labour
a02-001-00 ok 1 1 1 1 1 1 gone|.
"""


@pytest.mark.parametrize("layout", ["lines/a01/a01-000u/{}.png", "lines/{}.png", "{}.png"])
def test_iam_lines(tmp_path: Path, layout: str) -> None:
    write(tmp_path / "ascii" / "lines.txt", LINES)
    for name in ("a01-000u-00", "a01-000u-01", "a02-001-00"):
        save(tmp_path / layout.format(name))
    dataset = open_dataset(str(tmp_path))
    assert dataset.format == "iam" and dataset.changed == {"lines whose segmentation failed, kept": 1}
    assert [line.text for line in dataset.split("all")] == ["A MOVE to stop Mr. B B C .", "any more Labour", "gone ."]
    assert {line.page for line in dataset.split("all")} == {"a01-000u", "a02-001"}


def test_a_row_of_a_table_goes_on_behind_signs_that_only_some_programs_end_lines_at(tmp_path: Path) -> None:
    write(tmp_path / "lines.txt", "a01-000u-00 ok 154 19 408 746 1663 91 A\u2028B\x85C|D\r\n")
    save(tmp_path / "a01-000u-00.png")
    [line] = open_dataset(str(tmp_path)).split("all")
    assert line.text == "A B C D"


def test_iam_lines_are_cut_from_forms_and_bad_rows_are_left_out(tmp_path: Path) -> None:
    rows = "a01-000u-00 ok 154 19 5 4 20 10 A|MOVE\na01-000u-01 ok 154 19 5 4 -1 10 x\na01-000u-02 odd\n"
    write(tmp_path / "lines.txt", rows)
    save(tmp_path / "forms" / "a01-000u.png")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.7))
    [line] = dataset.split("all")
    assert line.pixels().shape == (10, 20) and line.pixels()[0, 0] == 5
    assert dataset.dropped == {"missing images": 1, "rows that are not of lines.txt": 1}
    with pytest.raises(HtrError, match=r"lines\.txt, line 3"):
        open_dataset(str(tmp_path))


def test_iam_lists_of_lines_or_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "lines.txt", LINES)
    for name in ("a01-000u-00", "a01-000u-01"):  # the image of a02-001-00 is missing
        save(tmp_path / "lines" / f"{name}.png")
    write(tmp_path / "splits" / "tr.lst", "a01-000u-00\n")
    write(tmp_path / "splits" / "va1.ln", "a01-000u-01.png\n")
    write(tmp_path / "splits" / "te.lst", "a02-001\n")
    lenient = ReadConfig(max_broken=0.5)
    dataset = open_dataset(str(tmp_path), lenient)
    assert {name: len(lines) for name, lines in dataset.splits.items()} == {"train": 1, "valid": 1, "test": 0}
    with pytest.raises(HtrError, match=r"rwth.*6,482.*train 1"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=0.5, iam=IamOptions(split="rwth")))
    monkeypatch.setitem(iam_reader.SPLITS, "rwth", {"train": 1, "valid": 1, "test": 1})  # the missing image counts
    assert open_dataset(str(tmp_path), ReadConfig(max_broken=0.5, iam=IamOptions(split="rwth"))).split("train")
    write(tmp_path / "splits" / "te.lst", "a02-001\nb05-005\n")
    with pytest.raises(HtrError, match=r"b05-005"):
        open_dataset(str(tmp_path), lenient)
    with pytest.raises(HtrError, match=r"lists"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=0.5, iam=IamOptions(lists=tmp_path / "lines")))


FORM = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE form SYSTEM "http://www.iam.unibe.ch/~fki/iamdb/form-metadata.dtd">
<form id="a01-000u" writer-id="007"><handwritten-part>
<line id="a01-000u-00" segmentation="ok" text="said &amp;quot;gone.&amp;quot;">
<word id="a01-000u-00-00" text="said"><cmp x="5" y="4" width="10" height="8"/><cmp x="20" y="2" width="10" height="8"/>
</word></line>
<line id="a01-000u-01" segmentation="err" text="M &amp;amp; Co">
<word><cmp x="0" y="20" width="70" height="9"/></word></line>
<line id="a01-000u-02" text="no box"/>
</handwritten-part></form>"""


def test_iam_forms_are_cut_into_lines(tmp_path: Path) -> None:
    write(tmp_path / "xml" / "a01-000u.xml", FORM, "iso-8859-1")
    save(tmp_path / "formsA-D" / "a01-000u.png")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    first, second = dataset.split("all")
    assert (first.text, second.text, first.group) == ('said "gone."', "M & Co", "007")
    assert first.pixels().shape == (10, 25) and first.pixels()[0, 0] == 5
    assert [line.image.size() for line in (first, second)] == [(25, 10), (60, 9)]  # type: ignore[union-attr]
    assert second.pixels().shape == (9, 60)  # what is beyond the page's edge is left out
    assert dataset.dropped == {"lines without a box": 1}
    with pytest.raises(HtrError, match=r"lines\.txt"):
        open_dataset(str(tmp_path), ReadConfig(iam=IamOptions(text="table")))
    bomb = FORM.replace('.dtd">', '.dtd" [<!ENTITY a "aaaa">]>').replace("&amp;amp;", "&a;")
    write(tmp_path / "xml" / "a01-000u.xml", bomb, "iso-8859-1")
    with pytest.raises(HtrError, match=r"a01-000u\.xml"):
        open_dataset(str(tmp_path))


def test_an_xml_file_that_cannot_be_read_is_no_form(tmp_path: Path) -> None:
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "a.xml").symlink_to("/proc/self/mem")
    with pytest.raises(HtrError, match="no reader"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("odd", ["1" * 400, "1e308", "nan", "-9" + "9" * 30])
def test_boxes_of_no_page_are_left_out(tmp_path: Path, odd: str) -> None:
    write(tmp_path / "xml" / "a01-000u.xml", FORM.replace('x="0"', f'x="{odd}"'), "iso-8859-1")
    save(tmp_path / "formsA-D" / "a01-000u.png")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.7))
    assert len(dataset.split("all")) == 1 and dataset.dropped == {"lines without a box": 2}
    [line] = dataset.split("all")
    assert line.pixels().size
    write(tmp_path / "lines.txt", f"a01-000u-00 ok 154 19 {odd} 4 20 10 A|MOVE\n")
    with pytest.raises(HtrError, match="a01-000u-00"):
        open_dataset(str(tmp_path))


RIMES = """<GEDI><SinglePage FileName="images_gray\\train-1.png"><Paragraph>
<Line Value="Monsieur &amp;amp; Madame,\\n" Top="2" Bottom="12" Left="-4" Right="30"/>
<Line Value="" Top="2" Bottom="12" Left="0" Right="30"/>
<Line Value="flat" Top="12" Bottom="12" Left="0" Right="30"/></Paragraph></SinglePage>
<SinglePage FileName="train-2.png"><Paragraph><Line Value="deux" Top="0" Bottom="9" Left="0" Right="9"/></Paragraph>
</SinglePage></GEDI>"""


def test_rimes(tmp_path: Path) -> None:
    write(tmp_path / "training_2011.xml", RIMES)
    write(tmp_path / "eval_2011_annotated.xml", RIMES.replace("train-", "eval-"))
    for name in ("train-1", "train-2", "eval-1"):
        save(tmp_path / "images_gray" / f"{name}.png")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5, rimes=RimesOptions(valid=1)))
    assert {name: [line.text for line in lines] for name, lines in dataset.splits.items()} == {
        "train": ["Monsieur & Madame,"],
        "valid": ["deux"],
        "test": ["Monsieur & Madame,"],
    }
    assert dataset.changed == {"texts with line breaks, joined": 2, "texts that were escaped twice, decoded": 2}
    assert dataset.split("train")[0].pixels().shape == (10, 30)
    assert dataset.dropped["pages without an image"] == 1 and dataset.dropped["boxes without an area"] == 2
    write(tmp_path / "training_2011.xml", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>')
    with pytest.raises(HtrError, match="training_2011"):
        open_dataset(str(tmp_path))


CVL = """<?xml version="1.0" encoding="ISO-8859-1"?><PcGts><Page>
<AttrRegion attrType="3" fontType="2"><AttrRegion attrType="2" id="0001-1-0">
<AttrRegion attrType="1" text="für"/><AttrRegion attrType="1"/><AttrRegion attrType="1" text="alle"/>
</AttrRegion></AttrRegion></Page></PcGts>"""


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_cvl(tmp_path: Path, encoding: str) -> None:
    root = tmp_path / "cvl-database-1-1" / "trainset"
    write(root / "xml" / "0001-1_attributes.xml", CVL, encoding)
    for name in ("0001-1-0", "0001-1-1", "0001-1-2"):
        save(root / "lines" / "0001" / f"{name}.tif")
    for place, word in ((1, "Welt"), (0, "Die"), (10, "e-mail"), ("²", "no")):
        save(root / "words" / "0001" / f"0001-1-1-{place}-{word}.tif")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert [line.text for line in dataset.split("train")] == ["für alle", "Die Welt e-mail"]
    assert dataset.dropped == {"lines without a text": 1} and dataset.split("train")[0].page == "0001-1"


def test_the_historical_databases_of_iam(tmp_path: Path) -> None:
    rows = "270-01 O-r-d-e-r-s|f-o-r|s_GW|s_5-t-h-s_cm|s_15th|s_pt\n270-02 a|b\n270-03 s_what\n270-04 c\n"
    write(tmp_path / "ground_truth" / "transcription.txt", rows)
    for name in ("270-01", "270-02", "270-03", "270-04", "again/270-04"):
        save(tmp_path / "data" / "line_images_normalized" / f"{name}.png")
    write(tmp_path / "sets" / "cv1" / "train.txt", "270-01\n270-03\n")
    write(tmp_path / "sets" / "cv1" / "valid.txt", "270-02\n270-04\n")
    (tmp_path / "sets" / ".litter").mkdir()
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert dataset.split("train")[0].text == "Orders for G.W. 5th, 15th."
    assert dataset.split("valid")[0].page == "270"
    assert dataset.dropped == {"unknown tokens": 1, "images that share a name": 1}
    with pytest.raises(HtrError, match=r"cv9.*cv1"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=0.5, histdb=HistDbOptions("cv9")))


def test_saint_gall_lists_pages(tmp_path: Path) -> None:
    rows = (
        "csg562-003-01 R-u-i-n-a-pt|p-a-t-r-i-et Ruina|patri\ncsg562-003-02 a|b a|BREAK\ncsg562-004-01 c c\n"
        "csg562-004-02 lost x\n"
    )
    write(tmp_path / "ground_truth" / "transcription.txt", rows)
    for name in ("csg562-003-01", "csg562-003-02", "csg562-004-01"):
        for folder in ("line_images_normalized", "line_images"):
            save(tmp_path / "data" / folder / f"{name}.png")
    write(tmp_path / "sets" / "train.txt", "csg562-003\n")
    write(tmp_path / "sets" / "test.txt", "csg562-004\n")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    found = {split: [line.text for line in lines] for split, lines in dataset.splits.items()}
    assert found == {"train": ["Ruina. patri&", "a b"], "test": ["c"]} and list(found) == ["train", "test"]
    assert dataset.dropped == {"missing images": 1}
    write(tmp_path / "sets" / "test.txt", "csg562-009\n")
    with pytest.raises(HtrError, match=r"list of test .*csg562-009"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))


def test_lists_beside_pairs(tmp_path: Path) -> None:
    """The layout of HTR-VT: lines with a text each, and lists of image names."""
    for name in ("a", "b", "c"):
        save(tmp_path / "lines" / f"{name}.png")
        write(tmp_path / "lines" / f"{name}.txt", name)
    write(tmp_path / "train.ln", "a.png\n")
    write(tmp_path / "val.ln", "b.png\n")
    dataset = open_dataset(str(tmp_path))
    assert [line.text for line in dataset.split("train")] == ["a"] and dataset.dropped == {"in no list": 1}


def test_read_2016_in_its_own_layout(tmp_path: Path) -> None:
    folders = {
        "PublicData/Training": ("Images", "page/page"),
        "PublicData/Validation": ("Images", "page"),
        "Test-ICFHR-2016": (".", "page"),
    }
    for number, (folder, (images, pages)) in enumerate(folders.items()):
        save(tmp_path / folder / images / f"Seite{number}.JPG", 100, 80)
        write(tmp_path / folder / pages / f"Seite{number}.xml", page_xml(page_line("l", f"von{number} vnd¬")))
        write(tmp_path / folder / "page" / "doc.xml", "<trpDoc/>")
    dataset = open_dataset(str(tmp_path))
    assert dataset.format == "page_xml"
    found = {split: [line.text for line in lines] for split, lines in dataset.splits.items()}
    assert found == {"train": ["von0 vnd¬"], "valid": ["von1 vnd¬"], "test": ["von2 vnd¬"]}
    assert all(line.pixels().size for lines in dataset.splits.values() for line in lines)
