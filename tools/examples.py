"""Draws the lines of `examples/`: `python tools/examples.py`.

They are the project's own: sentences written for it, in the hands of `data/synthetic`, whose fonts are under the SIL
Open Font License, which leaves pictures of text free. Equal versions of the fonts and of Pillow give equal files.
"""

from pathlib import Path

from PIL import Image

from htrcompress.data.synthetic import Scan, render

FOLDER = Path(__file__).parent.parent / "examples"
LINES = {
    "roses.png": Scan("Dear Anna, the roses are out again.", "caveat", writer=0, seed=100),
    "boats.png": Scan("Three small boats lay on the sand.", "dancing-script", writer=0, seed=100),
    "maison.png": Scan("La maison est au bord de la mer.", "satisfy", writer=2, seed=102),
}
"""File to what is written, in which font, by which hand, on which paper."""


def draw(folder: Path = FOLDER) -> None:
    """Writes the images and `lines.tsv`, their texts."""
    rows = []
    for name, scan in LINES.items():
        Image.fromarray(render(scan)).save(folder / name, optimize=True)
        rows.append(f"{name}\t{scan.text}\n")
    (folder / "lines.tsv").write_text("".join(rows), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    draw()
