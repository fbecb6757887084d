"""Parquet files, in folders and from the Hugging Face hub."""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import copied, parquet, png, row, texts

from htrcompress.data.readers import ReadConfig, parquet_file
from htrcompress.data.readers.columns import ColumnOptions
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError

SHARED = Path(__file__).parents[2] / "shared" / "data"


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
