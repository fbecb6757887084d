"""Reads the three lines beside this script and compares them with what is written: `python examples/read.py [MODEL]`.

It needs `pip install "htrcompress[cpu]"` and nothing else; without a name it reads with the model inside the package.
"""

import sys
from pathlib import Path

import htrcompress

HERE = Path(__file__).parent


def main(*model: str) -> None:
    rows = [line.split("\t") for line in (HERE / "lines.tsv").read_text(encoding="utf-8").splitlines()]
    with htrcompress.load(*model) as recognizer:
        readings = recognizer.read([HERE / name for name, _ in rows])
    for (name, text), reading in zip(rows, readings, strict=True):
        print(f"{name}\n  written: {text}\n  read:    {reading.text}\n  mean log-probability: {reading.score:.2f}")
    error = htrcompress.cer([text for _, text in rows], [reading.text for reading in readings])
    print(f"character error rate on these {len(rows)} lines: {100 * error:.1f} %")


if __name__ == "__main__":
    main(*sys.argv[1:2])
