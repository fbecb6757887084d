"""Folders of lines and packed datasets of them, for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import open_dataset

TEXTS = ("aabb", "Straße née", "x", "ﬃ 𝒳 ok", "a b c d")


def folder(root: Path, count: int = 23, texts: tuple[str, ...] = TEXTS) -> Path:
    """A TSV folder with lines of many sizes; the last training image stands in `test` as well."""
    root.mkdir()
    rows: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + 5 * (i % 5), 40 + 31 * i % 400), np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
        rows["train" if i < count - 6 else "valid" if i < count - 3 else "test"].append(
            f"{i}.png\t{texts[i % len(texts)]}"
        )
    rows["test"].append(f"./{count - 7}.png\tagain")
    for name, lines in rows.items():
        (root / f"{name}.tsv").write_text("\n".join(lines), encoding="utf-8")
    return root


def packed(source: Path, out: Path, **options: object) -> Dataset:
    look(DataOptions(str(source), write=out, **options))  # type: ignore[arg-type]
    return open_dataset(str(out))


def damaged(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)
