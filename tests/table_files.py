"""Small tables of lines for the tests: folders with a TSV, parquet and Arrow files with images in them."""

import io
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from htrcompress.data.lines import Dataset, Line


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


def texts(dataset: Dataset, split: str) -> list[str]:
    return [line.text for line in dataset.split(split)]


def write(root: Path, rows: str, *names: str) -> Path:
    """A folder with a `train.tsv` and images."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names or ("a.png",):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("L", (90, 30), 200).save(root / name)
    (root / "train.tsv").write_text(rows, encoding="utf-8")
    return root
