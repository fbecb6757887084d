"""Readers of tables and pairs: kraken's Arrow, CSV, JSON Lines, PyLaia, and a text file beside each image."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_files import arrow, copied, parquet, png, row, save, texts

from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError


def test_kraken_arrow(tmp_path: Path) -> None:
    lines = [{"text": f"text {n}", "im": png(n), "language": ["fr"]} for n in range(4)]
    flags = {"train": [True, False, False, False], "validation": [False, True, False, False]}
    path = arrow(tmp_path / "set.arrow", lines, {**flags, "test": [False, False, True, False]}, {"lines": "{}"})
    dataset = open_dataset(str(path))
    assert {split: texts(dataset, split) for split in dataset.splits} == {
        "train": ["text 0"],
        "valid": ["text 1"],
        "test": ["text 2"],
        "all": ["text 3"],
    }
    assert int(copied(dataset.split("test")[0]).pixels()[0, 0]) == 2
    arrow(tmp_path / "other.arrow", [{"a": 1}], {}, {})
    with pytest.raises(HtrError, match=r"other\.arrow.*to_parquet"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("start", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize("text", ["a", ["a"]])
def test_arrow_that_unpacks_to_more_or_holds_other_types_is_refused(tmp_path: Path, start, text) -> None:
    table = pa.table({"lines": [{"text": text, "im": bytes(1000)}]})
    options = pa.ipc.IpcWriteOptions(compression="zstd" if text == "a" else None)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, start(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    with pytest.raises(HtrError, match=r"a\.arrow"):
        open_dataset(str(tmp_path))


def test_manifests_name_images_texts_and_splits(tmp_path: Path) -> None:
    for n in range(4):
        save(tmp_path / "images" / f"{n}.png", n)
    (tmp_path / "labels.csv").write_text(
        "\ufefffile_name;transcription;Split;writer\n"
        'images/0.png;"a; b";train;x\nimages/1.png;c;dev;y\nimages/9.png;d;test;y\nimages/1.png;c;dev;y\n',
        encoding="utf-8",
    )
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert texts(dataset, "train") == ["a; b"] and dataset.split("valid")[0].group == "y"
    assert dataset.dropped == {"missing images": 1, "images that are listed again": 1}
    with pytest.raises(HtrError, match=r"labels\.csv, line 4.*--read\.max_broken|--read\.max_broken.*labels\.csv"):
        open_dataset(str(tmp_path / "labels.csv"))
    (tmp_path / "stats.csv").write_text("epoch,loss\n1,2\n", encoding="utf-8")  # is no manifest
    assert open_dataset(str(tmp_path), ReadConfig(max_broken=0.5)).format == "manifest"


def test_half_of_a_character_is_refused_where_it_is_read(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "a.jsonl").write_text('{"image": "a.png", "text": "a\\ud800b"}\n', encoding="utf-8")
    with pytest.raises(HtrError, match=r"a\.png.*d800"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "a\x1bb", "x" * 300])
def test_a_split_whose_name_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text(f"file,text,split\na.png,one,{name}\n", encoding="utf-8")
    with pytest.raises(HtrError, match="split"):
        open_dataset(str(tmp_path))


def test_manifests_of_image_folders(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        save(tmp_path / split / "a.png")
        record = {"file_name": "a.png", "text": f"in {split}"}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(record) + "\n\n", encoding="utf-8")
    dataset = open_dataset(str(tmp_path))
    assert texts(dataset, "train") == ["in train"] and texts(dataset, "valid") == ["in validation"]
    for bad, named in (('{"file_name": "../../x.png", "text": "a"}', "leads out"), ("[1]", "line 1"), ("{", "line 1")):
        (tmp_path / "train" / "metadata.jsonl").write_text(bad, encoding="utf-8")
        with pytest.raises(HtrError, match=named):
            open_dataset(str(tmp_path / "train" / "metadata.jsonl"))


def test_a_text_beside_each_image(tmp_path: Path) -> None:
    for name in ("train/a.nrm.png", "train/a.bin.nrm.png", "train/b.png", "b.c.d.png", "alone.png", "page.jpg"):
        save(tmp_path / name)
    for name, text in (("train/a.gt.txt", "one\n"), ("train/b.txt", "two\nthree\n"), ("b.c.d.gt.txt", "four")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "page.txt").write_text("the text of a page", encoding="utf-8")
    (tmp_path / "page.xml").touch()
    (tmp_path / "none.gt.txt").write_text("no image", encoding="utf-8")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert texts(dataset, "train") == ["one", "two three"] and texts(dataset, "all") == ["four"]
    assert dataset.split("train")[0].id == "train/a.nrm.png"
    assert dataset.dropped == {
        "other renditions of a line's image": 1,
        "images without a text": 2,
        "texts without an image": 1,
    }
    assert dataset.changed == {"texts of several rows, joined": 1}


def test_lines_without_text_are_left_out(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", ""), ("c", " \n")):
        save(tmp_path / "pairs" / f"{name}.png")
        (tmp_path / "pairs" / f"{name}.gt.txt").write_text(text, encoding="utf-8")
    parquet(tmp_path / "train.parquet", [row(1, "one"), row(2, "")])
    for source, split in ((tmp_path / "pairs", "all"), (tmp_path / "train.parquet", "train")):
        dataset = open_dataset(str(source))
        assert texts(dataset, split) == ["one"] and set(dataset.dropped) == {"empty transcription"}


def test_manifests_find_images_by_their_names(tmp_path: Path) -> None:
    for name in ("one/a.png", "two/b.jpg", "two/c.png", "three/c.png"):
        save(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text("id,label\na,x\nb.png,y\ntwo/c,z\n", encoding="utf-8")
    dataset = open_dataset(str(tmp_path))
    assert texts(dataset, "all") == ["x", "y", "z"]
    (tmp_path / "labels.csv").write_text("id,label\na,x\nc,y\n", encoding="utf-8")
    with pytest.raises(HtrError, match=r"share a name.*line 3"):
        open_dataset(str(tmp_path), ReadConfig(max_broken=0.1))
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert texts(dataset, "all") == ["x"] and dataset.dropped == {"images that share a name": 1}


def test_a_long_text_beside_an_image_is_no_line(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("x" * (10 if name == "a" else 1 << 17), encoding="utf-8")
    with pytest.raises(HtrError, match=r"b\.txt"):
        open_dataset(str(tmp_path))
    assert open_dataset(str(tmp_path), ReadConfig(max_broken=0.5)).dropped == {"unreadable texts": 1}


def test_the_layout_of_pylaia(tmp_path: Path) -> None:
    save(tmp_path / "imgs" / "m" / "a-1.jpg")
    save(tmp_path / "imgs" / "b.png")
    symbols = ["<ctc>", "<space>", "A", "b", "."]
    (tmp_path / "syms.txt").write_text("".join(f"{s} {n}\n" for n, s in enumerate(symbols)), encoding="utf-8")
    (tmp_path / "train.txt").write_text("# lines\n\nm/a-1 A b <space> b .\nb b\nb\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("b A ß\nb A\nc A\n", encoding="utf-8")
    (tmp_path / "train_ids.txt").write_text("m/a-1\n", encoding="utf-8")
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert texts(dataset, "train") == ["Ab b.", "b"] and texts(dataset, "valid") == ["A"]
    assert dataset.dropped == {"empty transcription": 1, "symbols that syms.txt lacks": 1, "missing images": 1}
    (tmp_path / "dev.txt").write_text("b A\n", encoding="utf-8")
    with pytest.raises(HtrError, match=r"valid.*val\.txt"):
        open_dataset(str(tmp_path))


def bytes_of(kind: str, folder: Path) -> tuple[Path, bytes]:
    """A good file of a kind, to be damaged."""
    if kind == "parquet":
        path = parquet(folder / "train.parquet", [row(n, f"text {n}") for n in range(8)])
    elif kind == "arrow":
        path = arrow(folder / "a.arrow", [{"text": "a", "im": png(n)} for n in range(8)], {}, {"lines": "{}"})
    else:
        path = folder / f"train.{kind}"
        path.write_text('{"file_name": "a.png", "text": "b"}\n' if kind == "jsonl" else "file,text\na.png,b\n")
    return path, path.read_bytes()


@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl", "csv"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_tables_are_refused_in_a_sentence(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    save(tmp_path / "a.png")
    path, good = bytes_of(kind, tmp_path)
    assert open_dataset(str(path)).splits
    damaged = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 255)), max_size=8)):
        if place < len(damaged):
            damaged[place] = value
    path.write_bytes(damaged)
    try:
        for lines in open_dataset(str(path), ReadConfig(max_broken=1)).splits.values():
            for line in lines:
                assert line.pixels().dtype == np.uint8
    except HtrError:
        pass
