"""Other recognisers beside ours: their processes, what fails, and what counts as trained."""

import itertools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import peer_setup, peers
from benchmarks.page.axis import Axis
from benchmarks.page.svg import Plot, Point
from benchmarks.peer_rows import PeerCorpus, PeerRow, Peers
from benchmarks.peer_setup import PEERS, RUNNERS, Peer, Process, interpreter, set_up
from benchmarks.peers import PeersOptions, measure_peers
from benchmarks.results import save
from benchmarks.timing import Spread
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.runtime import load
from tools.plot import DrawOptions, draw
from tools.tables import render

FAKE = f"""
import sys
sys.path.insert(0, {str(RUNNERS)!r})
from protocol import Reader, serve

class Fake(Reader):
    def __init__(self, threads, options):
        if "fail" in options:
            raise ValueError("no such weights")
        self.options = options
        self.about = {{"version": "1", "arithmetic": "none", "parameters": 7, "bytes": 28}}

    def decoded(self, files):
        print("libraries print")
        return files

    def read(self, pictures, batch):
        if "score" in self.options and len(pictures) == 3:
            raise ValueError("too many")
        if "late" in self.options:
            raise ValueError("it broke")
        return ["ab" if batch == 1 and place == 0 else "cd" for place in range(len(pictures))]

serve(Fake)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runner, and peers of all fates that use it."""
    runner = tmp_path / "fake.py"
    runner.write_text(FAKE)
    known = {
        "good": Peer("good", str(runner), "zero-shot"),
        "random": Peer("random", str(runner), "speed", sources=("files",)),
        "fails": Peer("fails", str(runner), "zero-shot", options={"fail": 1}),
        "late": Peer("late", str(runner), "zero-shot", options={"late": 1}),
        "latest": Peer("latest", str(runner), "zero-shot", options={"score": 1}),
        "absent": Peer("absent", str(runner), "zero-shot", ("no-such-package-of-this-name",)),
        "kraken": Peer("kraken", str(runner), "speed"),
    }
    monkeypatch.setattr(peer_setup, "PEERS", known)
    monkeypatch.setattr(peers, "PEERS", known)
    return runner


@pytest.fixture
def data(tmp_path: Path, picture: Callable[..., NDArray[np.uint8]]) -> Path:
    folder = tmp_path / "lines"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(picture(60 + 30 * number, 40)).save(folder / f"{number}.png")
    (folder / "test.tsv").write_text("".join(f"{number}.png\tcd\n" for number in range(3)))
    return folder


def test_every_fate_has_a_row(fake: Path, data: Path, tmp_path: Path) -> None:
    options = PeersOptions(
        data=str(data),
        peers="good,random,fails,late,latest,absent,kraken",
        folder=tmp_path / "peers",
        kraken_weights=tmp_path / "weights",
        lines=2,
        rounds=2,
        batch=2,
        out=tmp_path / "peers.json",
    )
    found = measure_peers(options)
    assert isinstance(found, peers.Peers)
    (corpus,) = found.corpora
    good, random, fails, late, latest, absent, kraken = corpus.rows
    assert (corpus.name, corpus.split, corpus.lines, corpus.timed) == ("lines", "test", 3, 2)
    assert (good.cer, good.differing, good.parameters, good.reason) == (0, 1, 7, "")
    assert sorted(good.speeds) == ["files, batch 1", "files, batch 2", "memory, batch 1", "memory, batch 2"]
    assert random.cer is None and sorted(random.speeds) == ["files, batch 1", "files, batch 2"]
    assert "no such weights" in fails.reason and "it broke" in late.reason and "--setup absent" in absent.reason
    assert "too many" in latest.reason and not latest.speeds and latest.cer is None
    assert kraken.kind == "trained" and kraken.cer == 0
    tables = "\n".join(render(json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))))
    assert tables.count("**lines/test: ") == 3 and "no such weights" in tables


def test_our_models_come_first(tiny_onnx: Path, data: Path) -> None:
    found = measure_peers(PeersOptions(str(tiny_onnx), str(data), peers="", lines=3, rounds=1, batch=2))
    assert isinstance(found, peers.Peers)
    ((ours,),) = (corpus.rows for corpus in found.corpora)
    assert ours.ours and ours.name.endswith(" FP32") and ours.kind == "zero-shot" and ours.differing == 0
    assert ours.cer is not None and ours.bytes == tiny_onnx.stat().st_size and ours.parameters


def test_every_corpus_is_read_and_random_weights_are_timed_once(
    fake: Path, data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    for file in data.iterdir():
        name = "test_unseen_hands.tsv" if file.name == "test.tsv" else file.name
        (other / name).write_bytes(file.read_bytes())
    twin = tmp_path / "twin.onnx"
    twin.write_bytes(tiny_onnx.read_bytes())
    options = PeersOptions(
        f"{tiny_onnx},{twin}", f"{data},{other}", peers="good,random", lines=1, scored=2, rounds=1, batch=2
    )
    found = measure_peers(options)
    assert isinstance(found, peers.Peers)
    assert [(corpus.name, corpus.split) for corpus in found.corpora] == [
        ("lines", "test"),
        ("others", "test_unseen_hands"),
    ]
    first, second = found.corpora
    assert [row.name for row in first.rows[2:]] == ["good", "random"] and [row.name for row in second.rows[2:]] == [
        "good"
    ]
    assert "twin.onnx" in first.rows[1].name and first.lines == 2 and first.rows[1].difference is not None
    with pytest.raises(HtrError, match=r"--language.*--data"):
        measure_peers(replace(options, language="eng,fra,deu"))
    with pytest.raises(HtrError, match=r"--kraken_weights.*--data"):
        measure_peers(replace(options, kraken_weights=twin))


@pytest.mark.parametrize(("name", "known"), [("lines", True), ("en+lines", True), ("en+others", False)])
def test_a_mix_that_names_the_corpus_was_trained_on_it(name: str, known: bool, data: Path, tiny_onnx: Path) -> None:
    (data / "train.tsv").write_text("0.png\tab\n")
    dataset = open_dataset(str(data))
    train = {"hash": dataset.identity("train") if name == "lines" else "of the mix"}
    card = replace(load(tiny_onnx, 1).card, data={"name": name, "splits": {"train": train}})
    assert peers._was_trained_on(card, dataset) is known


def test_lines_are_written_beside_their_texts(data: Path, tmp_path: Path) -> None:
    (data / "train.tsv").write_text("0.png\tab é\n")
    found = measure_peers(PeersOptions(data=str(data), pairs=tmp_path / "pairs"))
    assert isinstance(found, peers.Pairs) and found.lines == {"train": 1}
    assert (tmp_path / "pairs/train/000000.gt.txt").read_text(encoding="utf-8") == "ab é"
    assert Image.open(tmp_path / "pairs/train/000000.png").mode == "L"
    (data / "train.tsv").unlink()
    with pytest.raises(HtrError, match="no lines in train"):
        measure_peers(PeersOptions(data=str(data), pairs=tmp_path / "pairs"))


def test_an_installation_that_fails_leaves_its_reason(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert set_up("absent", tmp_path).startswith("its installation failed")
    with pytest.raises(HtrError, match="its installation failed"):
        interpreter("absent", tmp_path)


def test_a_program_that_the_system_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_setup.shutil, "which", lambda name: None)
    assert "tesseract" in set_up("tesseract", tmp_path)
    with pytest.raises(HtrError, match="tesseract"):
        interpreter("tesseract", tmp_path)


@pytest.mark.parametrize("network", ["pylaia", "retsinas"])
def test_published_networks_have_their_sizes(network: str, data: Path) -> None:
    files = [data / "0.png", data / "2.png"]
    process = Process(Path(sys.executable), "published.py", files, 1, {"network": network})
    seconds, texts = process.read("memory", 2)
    assert len(process.read("files", 2, files[:1])[1]) == 1
    process.close()
    published = {"pylaia": 4.79e6, "retsinas": 7.36e6}  # with about 80 characters
    assert process.about["parameters"] == pytest.approx(published[network], rel=0.01)
    assert len(texts) == 2 and seconds > 0


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(HtrError, match="--peers"):
        PeersOptions(peers="laia")
    with pytest.raises(HtrError, match="--batch"):
        PeersOptions(batch=0)
    with pytest.raises(HtrError, match="--data"):
        measure_peers(PeersOptions())
    assert all((RUNNERS / peer.runner).is_file() for peer in PEERS.values())


def test_a_drawing_stands_alone(tmp_path: Path) -> None:
    speeds = {"files, batch 32": Spread(100, 90, 110)}
    rows = [
        PeerRow("student INT8", "trained", ours=True, cer=0.1, interval=(0.09, 0.11), speeds=speeds),
        PeerRow("PP-<v6>", "zero-shot", cer=0.5, interval=(0.4, 0.6), speeds=speeds),
        PeerRow("random", "speed", speeds=speeds),
    ]
    corpora = [PeerCorpus(name, "test", "0", 9, 9, rows) for name in ("en", "fr")]
    result = Peers("c", corpora, {"threads": 2, "rounds": 3, "batch": 32}, {})
    save(result, tmp_path / "peers.json")
    drawn = draw(DrawOptions(tmp_path / "peers.json", tmp_path / "plot.svg"))
    assert drawn.points == 4
    root = ElementTree.fromstring((tmp_path / "plot.svg").read_text(encoding="utf-8"))
    words = "".join(root.itertext())
    assert root.tag.endswith("svg") and "PP-<v6>" in words and "en/test" in words and "fr/test" in words
    empty = [replace(corpus, rows=rows[2:]) for corpus in corpora]
    save(replace(result, corpora=empty), tmp_path / "none.json")
    with pytest.raises(HtrError, match=r"none\.json"):
        draw(DrawOptions(tmp_path / "none.json", tmp_path / "plot.svg"))


def test_words_beside_points_do_not_cover_each_other() -> None:
    points = [Point(1, 1 + place / 1000, "", label=f"label {place}") for place in range(3)]
    svg = Plot(Axis("x", 0, 2), Axis("y", 0, 10), "", points).svg()
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)">label', svg))
    assert len(heights) == 3 and all(b - a >= 11.9 for a, b in itertools.pairwise(heights))


def test_an_environment_of_other_versions_is_not_used(fake: Path, tmp_path: Path) -> None:
    place = tmp_path / "absent"
    place.mkdir()
    (place / "ready").write_text("no-such-package-of-this-name")
    assert interpreter("absent", tmp_path).is_relative_to(place)
    (place / "ready").write_text("another==1")
    with pytest.raises(HtrError, match="--setup absent"):
        interpreter("absent", tmp_path)
