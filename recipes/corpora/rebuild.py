"""Rebuilds a corpus that our figures were measured on from a clone of its public repository.

    git clone https://github.com/banq-dcn/Copiste-d-un-jour && git -C Copiste-d-un-jour checkout a3636d2
    python recipes/corpora/rebuild.py copiste_fr --clone Copiste-d-un-jour --out data/copiste_fr

`corpora.yaml` says where each corpus is from and how its lines were chosen; the lists beside it say which page is in
which split. The result is a packed dataset for `--data`; `compare.py` holds it against another copy of the corpus.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from htrcompress.cli import run_command
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.packing import pack
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset, saved_read
from htrcompress.data.readers.page_folder import CutLine
from htrcompress.data.readers.page_texts import PageOptions
from htrcompress.data.sizes import measure
from htrcompress.data.splitting import lists_in
from htrcompress.errors import HtrError

HERE = Path(__file__).parent
KNOWN = frozenset(
    " !\"%&'()*+,-./0123456789:;=?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz«°»ÈÉÊÔàáâãäçèéêëîïñóôõöùûüÿŒœ"
)
"""The characters of these corpora; lines with others, such as abbreviation signs, are left out."""
STEEPEST = 35.0
"""Degrees by which a line may rise or fall."""
NARROWEST, WIDEST = 0.35, 3.2
"""Width for each character that a line may have, in medians of its corpus."""


@dataclass(frozen=True)
class Corpus:
    """An entry of corpora.yaml.

    Attributes:
        repository, commit, licence: where it is from, and what may be done with it.
        format: the reader.
        height: of the packed images in pixels.
        marks: signs whose lines are left out, with spaces between.
        plain: whether typographic signs are written plainly (`--read.plain`), and lines with unusual characters are
            left out.
        shortest: characters of the shortest text.
        repeats: how many lines may have the same text; any number if None.
    """

    repository: str
    commit: str
    licence: str
    format: str
    height: int = 64
    marks: str = "< > { } ^ ⟦ ⟧ [ ] XXX"
    plain: bool = False
    shortest: int = 1
    repeats: int | None = None


@dataclass(frozen=True)
class BuildOptions:
    """Builds a corpus from a clone of its repository."""

    name: str
    """A corpus of corpora.yaml."""
    clone: Path
    """The clone, at the commit that corpora.yaml names."""
    out: Path
    """The folder of the packed dataset."""


@dataclass(frozen=True)
class Built:
    """What was built: lines of each split, and why others were left out."""

    folder: Path
    splits: dict[str, int]
    dropped: dict[str, int]

    def __rich__(self) -> str:
        kept = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        left = "".join(f"\nleft out: {count} {reason}" for reason, count in self.dropped.items())
        return f"{self.folder}: {kept} lines{left}"


def corpora() -> dict[str, Corpus]:
    """The corpora of corpora.yaml."""
    entries = yaml.safe_load((HERE / "corpora.yaml").read_text(encoding="utf-8"))
    return {name: Corpus(**entry) for name, entry in entries.items()}


def build(options: BuildOptions) -> Built:
    """Builds a corpus.

    Raises:
        HtrError: there is no such corpus, or the clone is not what corpora.yaml says.
    """
    known = corpora()
    if options.name not in known:
        raise HtrError(f"no corpus is called {options.name}: choose {', '.join(known)}")
    corpus = known[options.name]
    pages = PageOptions(marks="drop", mark=corpus.marks)
    read = replace(ReadConfig(format=corpus.format, max_broken=1, plain=corpus.plain), **{corpus.format: pages})
    dataset = open_dataset(str(options.clone), read)
    chosen = choose(dataset, options.name, corpus)
    pack(
        chosen,
        options.out,
        corpus.height,
        saved_read(read),
        {"by": "lists", "lists": options.name},
        max_unreadable=0.05,
    )
    return Built(options.out, {name: len(lines) for name, lines in chosen.splits.items()}, dict(chosen.dropped))


def choose(dataset: Dataset, name: str, corpus: Corpus) -> Dataset:
    """The lines of a clone that are in the corpus, in its splits.

    Raises:
        HtrError: none of the pages in the lists is in the clone.
    """
    where = {page: split for split, names in lists_in(HERE / name).items() for page in names}
    dropped: Counter[str] = Counter(dataset.dropped)
    texts: Counter[str] = Counter()
    kept: list[Line] = []
    for lines in dataset.splits.values():
        for line in lines:
            split = next((where[key] for key in page_keys(line.page) if key in where), None)
            reason = "on other pages" if split is None else _unfit(line, corpus, texts)
            if reason:
                dropped[reason] += 1
            else:
                assert split is not None
                texts[line.text] += 1
                kept.append(replace(line, split=split))
    if not kept:
        raise HtrError(f"the clone holds no page of {name}: it must be {corpus.repository} at {corpus.commit}")
    kept, odd = _of_usual_width(kept)
    dropped["much wider or narrower than their text"] += odd
    splits = {split: [line for line in kept if line.split == split] for split in dict.fromkeys(where.values())}
    return replace(dataset, name=name, splits=splits, dropped=dict(+dropped), broken={})


def page_keys(page: str) -> tuple[str, str]:
    """What the lists may call a page: its file's name, or its path with _ for / and unusual signs."""
    path = page.removesuffix(".chocomufin")
    return path.rpartition("/")[2], re.sub(r"[^\w.-]+", "_", path, flags=re.ASCII)


def _unfit(line: Line, corpus: Corpus, texts: Counter[str]) -> str | None:
    """Why a line is not in the corpus; None if it is."""
    if corpus.plain and not KNOWN.issuperset(line.text):
        return "with unusual characters"
    if len(line.text) < corpus.shortest:
        return "too short"
    if corpus.repeats is not None and texts[line.text] >= corpus.repeats:
        return "repeated too often"
    if isinstance(line.image, CutLine) and abs(slope(line.image)) > STEEPEST:
        return "too steep"
    return None


def slope(cut: CutLine) -> float:
    """By how many degrees a line's baseline falls; 0 if it has none."""
    points = np.array(cut.sheet.line(cut.place).baseline)
    if len(points) < 2:
        return 0.0
    (x, y), (x2, y2) = points[0], points[-1]
    return math.degrees(math.atan2(y2 - y, x2 - x))


def _of_usual_width(lines: Sequence[Line]) -> tuple[list[Line], int]:
    """The lines whose width fits their text, and how many do not."""
    widths = measure(lines, decode=False).at(64)
    each = widths / np.maximum([len(line.text) for line in lines], 1)
    median = float(np.median(each[widths > 0])) if (widths > 0).any() else 1.0
    usual = (widths == 0) | ((each >= NARROWEST * median) & (each <= WIDEST * median))
    return [line for line, fits in zip(lines, usual, strict=True) if fits], int((~usual).sum())


if __name__ == "__main__":
    run_command(build, positional="name")
