"""Readers of tables and pairs: parquet, kraken's Arrow, CSV, JSON Lines, PyLaia, and a text file beside each image."""

import io
import json
import pickle
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from htrcompress.data.lines import Line
from htrcompress.data.readers import ReadConfig, parquet_file
from htrcompress.data.readers.columns import ColumnOptions
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def png(value: int, size: tuple[int, int] = (60, 32)) -> bytes:
    """A plain image file's bytes."""
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "png")
    return file.getvalue()


def save(path: Path, value: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(value))
    return path


def parquet(path: Path, rows: list[dict], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def row(value: int, text: str | None, **more: object) -> dict:
    return {"image": {"bytes": png(value), "path": f"{value}.png"}, "text": text, **more}


def arrow(path: Path, lines: list[dict], flags: dict[str, list[bool]], metadata: dict[str, str]) -> Path:
    table = pa.table({"lines": lines, **flags}).replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def copied(line: Line) -> Line:
    """The line as another process gets it."""
    return pickle.loads(pickle.dumps(line))  # noqa: S301


def texts(dataset, split: str) -> list[str]:
    return [line.text for line in dataset.split(split)]


def test_parquet_as_the_hub_keeps_it(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [row(1, "one", hand="a"), row(2, "two", hand="b")])
    rows = [row(3, "three", hand="a"), row(4, None, hand="a")]
    parquet(tmp_path / "data" / "train-00001-of-00002.parquet", rows, row_group_size=1)
    parquet(tmp_path / "data" / "validation.parquet", [row(3, "three", hand="c")])
    parquet(tmp_path / "data" / "test" / "0000.parquet", [row(9, "nine", hand="c")])
    dataset = open_dataset(str(tmp_path), ReadConfig(max_broken=0.5))
    assert dataset.format == "parquet" and dataset.dropped == {"rows without a text": 1}
    assert texts(dataset, "train") == ["one", "two", "three"] and texts(dataset, "valid") == ["three"]
    [line] = dataset.split("test")
    assert line.id == "lines/9.png" and line.group == "c"
    assert [int(copied(x).pixels()[0, 0]) for x in dataset.split("train")] == [1, 2, 3]
    assert open_dataset(str(tmp_path / "data" / "validation.parquet")).split("valid")


def test_parquet_columns_are_found_or_named(tmp_path: Path) -> None:
    image = {"bytes": png(5), "path": None}
    path = parquet(tmp_path / "train.parquet", [{"Image": image, "ocr": "a", "transcription": "b", "who": "x"}])
    assert texts(open_dataset(str(path)), "train") == ["b"]
    options = ColumnOptions(text="ocr", group="who")
    [line] = open_dataset(str(path), ReadConfig(parquet=options)).split("train")
    assert (line.text, line.group) == ("a", "x")
    for options, named in ((ColumnOptions(text="nothing"), "nothing"), (ColumnOptions(image="who", text="ocr"), None)):
        with pytest.raises(HtrError, match=named or "max_broken"):  # a column of strings names files, which are missing
            open_dataset(str(path), ReadConfig(parquet=options))
    plain = parquet(tmp_path / "plain.parquet", [{"image": png(7), "text": "bytes alone"}])
    assert int(open_dataset(str(plain)).split("plain")[0].pixels()[0, 0]) == 7


@pytest.mark.parametrize("columns", [{"text": ["a"]}, {"image": [b"x"]}, {"image": [1], "text": ["a"]}, {}])
def test_a_parquet_without_the_columns_is_refused(tmp_path: Path, columns: dict) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    with pytest.raises(HtrError, match=r"train\.parquet.*--read"):
        open_dataset(str(tmp_path))


def test_two_parquet_sets_of_one_split_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "val.parquet", [row(1, "a")])
    parquet(tmp_path / "validation.parquet", [row(1, "a")])
    with pytest.raises(HtrError, match=r"val.*validation.*valid"):
        open_dataset(str(tmp_path))


def test_parquet_that_stores_a_value_for_many_rows_takes_no_memory_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pa.array([png(3) + bytes(1 << 20)]).dictionary_encode()
    images = pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int32), image.dictionary)
    text = "one text"
    table = pa.table({"image": images, "text": [text] * 20_000})
    pq.write_table(table, tmp_path / "train.parquet", store_schema=False)
    before = pa.total_allocated_bytes()
    lines = open_dataset(str(tmp_path)).split("train")
    assert len(lines) == 20_000 and int(lines[-1].pixels()[0, 0]) == 3
    assert pa.total_allocated_bytes() - before < 1 << 24
    monkeypatch.setattr(parquet_file, "MAX_TEXT_BYTES", 20_000 * len(text) - 1)
    with pytest.raises(HtrError, match=r"train\.parquet.*split"):
        open_dataset(str(tmp_path))
    monkeypatch.setattr(parquet_file, "FEW_ROWS", 10)
    pq.write_table(pa.table({"image": [png(3)] * 100_000, "text": ["a"] * 100_000}), tmp_path / "train.parquet")
    with pytest.raises(HtrError, match=r"train\.parquet.*100000"):
        open_dataset(str(tmp_path))


def test_parquet_whose_texts_are_lists_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", [{"image": png(1), "text": ["a", "b"]}])
    with pytest.raises(HtrError, match=r"train\.parquet.*text"):
        open_dataset(str(tmp_path))


def test_groups_of_rows_are_kept_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "test"):
        parquet(tmp_path / f"{name}.parquet", [row(n, f"{n}") for n in range(6)], row_group_size=2)
    dataset = open_dataset(str(tmp_path))
    monkeypatch.setattr(parquet_file, "KEPT_BYTES", 3 * len(png(1)))
    parquet_file._kept.clear()
    for number in (0, 5, 3, 0, 1, 4):
        for split in ("train", "test"):
            assert int(dataset.split(split)[number].pixels()[0, 0]) == number
            assert len(parquet_file._kept) == 1


def test_each_column_of_images_has_its_own(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", [{"image": png(1), "clean": png(2), "text": "a"}])
    for column, value in (("image", 1), ("clean", 2)):
        dataset = open_dataset(str(tmp_path), ReadConfig(parquet=ColumnOptions(image=column)))
        assert int(dataset.split("train")[0].pixels()[0, 0]) == value


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict]:
    """A hub of one dataset, which is in the cache once it was fetched; what was asked of it."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked: dict = {"files": ["README.md", "load.py", "data/train.parquet", "a[1].png"]}

    def list_repo_files(name: str, *, repo_type: str, revision: str | None) -> list[str]:
        if asked.get("down"):
            raise ConnectionError("no route")
        assert (name, repo_type) == ("owner/name", "dataset")
        return asked["files"]

    def snapshot_download(name: str, **options: object) -> str:
        asked.update(options)
        if options["local_files_only"] and not asked.get("fetched"):
            raise FileNotFoundError("nothing in the cache\nand more")
        folder = tmp_path / "datasets--owner--name" / "snapshots" / "0f"
        parquet(folder.parent.parent / "blobs" / "1", [row(1, "one")])
        (folder / "data").mkdir(parents=True, exist_ok=True)
        if not asked.get("fetched"):
            (folder / "data" / "train.parquet").symlink_to("../../../blobs/1")
        asked["fetched"] = True
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", list_repo_files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    yield asked


def test_a_dataset_of_the_hub_by_name(hub: dict) -> None:
    hub["down"] = True
    with pytest.raises(HtrError, match=r"hf://owner/name.*no route$"):
        open_dataset("hf://owner/name")
    hub["down"] = False
    dataset = open_dataset("hf://owner/name@v1")
    assert dataset.name == "name" and texts(dataset, "train") == ["one"]
    assert int(dataset.split("train")[0].pixels()[0, 0]) == 1
    assert hub["revision"] == "v1" and hub["allow_patterns"] == ["*.[pP][aA][rR][qQ][uU][eE][tT]"]
    hub["down"] = True  # what was fetched is used
    assert open_dataset("hf://owner/name").split("train") and hub["local_files_only"]
    for bad in ("hf://name", "hf://owner/na me", "hf://owner/name/../x"):
        with pytest.raises(HtrError, match="hf://owner/name@revision"):
            open_dataset(bad)


def test_a_dataset_of_the_hub_without_parquet(hub: dict) -> None:
    hub["files"] = ["load.py", "weights.pkl", "train/a[1].PNG", "train/metadata.csv"]
    open_dataset("hf://owner/name")
    assert [file for file in hub["files"] if any(fnmatch(file, pattern) for pattern in hub["allow_patterns"])] == [
        "train/a[1].PNG",
        "train/metadata.csv",
    ]


def test_the_hub_form_and_the_folder_of_a_corpus_have_the_same_lines(tmp_path: Path) -> None:
    if not (SHARED / "hands_fr").is_dir():
        pytest.skip("the corpora are not here")
    dataset = open_dataset(str(SHARED / "hands_fr" / "test_unseen_hands-00000-of-00001.parquet"))
    lines = dataset.split("test_unseen_hands")
    rows = "".join(f"{line.id}\t{line.text}\n" for line in lines)
    (tmp_path / "test_unseen_hands.tsv").write_text(rows, encoding="utf-8")
    for line in lines:
        (tmp_path / line.id).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / line.id).touch()
    assert open_dataset(str(tmp_path)).identity("test_unseen_hands") == dataset.identity("test_unseen_hands")


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
    (tmp_path / "labels.csv").write_text("id,label\nc,x\n", encoding="utf-8")
    with pytest.raises(HtrError, match=r"c may be .*three/c\.png or .*two/c\.png"):
        open_dataset(str(tmp_path))


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
