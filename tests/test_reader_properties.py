"""Whatever a text file of a dataset holds, a reader gives lines or says in a sentence what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_corpora import CVL, FORM, LINES, RIMES

from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError

TREES: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "tsv": ("train.tsv", {"train.tsv": "a.png\tone\nb/c.png\ttwo\n"}, ["a.png", "b/c.png"]),
    "pairs": ("a.gt.txt", {"a.gt.txt": "one\n", "b.gt.txt": "two\n"}, ["a.png", "b.png"]),
    "lists": ("val.ln", {"a.txt": "one", "b.txt": "two", "train.ln": "a.png", "val.ln": "b.png"}, ["a.png", "b.png"]),
    "pylaia": ("train.txt", {"train.txt": "a o n e\n", "syms.txt": "<ctc> 0\no 1\nn 2\ne 3\n"}, ["a.png"]),
    "symbols": ("syms.txt", {"train.txt": "a o n e\n", "syms.txt": "<ctc> 0\no 1\nn 2\ne 3\n"}, ["a.png"]),
    "iam": ("lines.txt", {"lines.txt": LINES}, ["a01-000u.png", "lines/a02-001-00.png"]),
    "form": ("xml/a01-000u.xml", {"xml/a01-000u.xml": FORM}, ["a01-000u.png"]),
    "rimes": ("training_2011.xml", {"training_2011.xml": RIMES}, ["train-1.png", "train-2.png"]),
    "cvl": ("trainset/xml/0001-1.xml", {"trainset/xml/0001-1.xml": CVL}, ["trainset/lines/0001/0001-1-0.png"]),
    "histdb": (
        "ground_truth/transcription.txt",
        {"ground_truth/transcription.txt": "1-01 O-n|s_5-s_cm"},
        ["data/1-01.png"],
    ),
    "bentham": (
        "Partitions/TrainLines.lst",
        {"Partitions/TrainLines.lst": "a\n", "Transcriptions/a.txt": "one <gap/> &amp;"},
        ["Images/Lines/a.png"],
    ),
}
"""By kind: the file that is damaged, the text files, the images."""


def tree(root: Path, kind: str) -> tuple[Path, bytes]:
    """Writes a dataset, and gives the file to damage with what it holds."""
    damaged, texts, images = TREES[kind]
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (90, 60), 200).save(root / name)
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root / damaged, (root / damaged).read_bytes()


@pytest.mark.parametrize("kind", TREES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_text_is_refused_in_a_sentence(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path, good = tree(tmp_path, kind)
    lenient = ReadConfig(max_broken=1)
    assert sum(map(len, open_dataset(str(tmp_path), lenient).splits.values()))
    pieces = st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [b"../", b"\t", b"\n", b"\0", b"\xff\xfe", b"|", b"&", b"<!DOCTYPE a [", b"-1", b"9" * 40, good]
        ),
    )
    start, end = (data.draw(st.integers(0, len(good))) for _ in range(2))
    path.write_bytes(good[:start] + b"".join(data.draw(st.lists(pieces, max_size=4))) + good[end:])
    try:
        for lines in open_dataset(str(tmp_path), lenient).splits.values():
            for line in lines:
                assert line.pixels().dtype == np.uint8
    except HtrError as error:
        assert "failed on" not in str(error)  # the sentence is the reader's own
