"""Packing: builds that stop, go on, repair what is there, or cannot begin."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_sets import damaged, folder, packed
from PIL import Image
from safetensors.torch import load_file
from trainings import SHORT, interrupt_after, log

from htrcompress.data import packing, shards
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.lines import Dataset, Line
from htrcompress.data.packed_files import MANIFEST, PLAN
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.train import TrainOptions, train
from htrcompress.training.data import open_images

pytest.importorskip("pyarrow", reason="packing needs pyarrow (the extra [parquet])")


def test_odd_names_are_packed_or_refused_in_a_sentence(tmp_path: Path) -> None:
    def drawn(name: str, split: str) -> Dataset:
        return Dataset("odd", "made", {split: [Line(name, "a", split, lambda: np.zeros((9, 9), np.uint8))]})

    both = {**drawn("a", "x ö").splits, **drawn("b", "split0").splits, **drawn("c", "Train").splits}
    packing.pack(Dataset("odd", "made", both), tmp_path / "odd", 9, {})
    assert list(open_dataset(str(tmp_path / "odd")).splits) == list(both)
    assert sorted(path.name for path in (tmp_path / "odd").rglob("*.arrow")) == [
        f"split{i}-00000.arrow" for i in range(3)
    ]
    packing.pack(drawn("a", "../x"), tmp_path / "above", 9, {})
    with pytest.raises(HtrError, match=r"\.\./x"):
        open_dataset(str(tmp_path / "above"))
    with pytest.raises(HtrError, match=r"udce9.*UTF-8"):
        packing.pack(drawn("caf\udce9", "train"), tmp_path / "bad", 9, {})
    with pytest.raises(HtrError, match="no lines"):
        packing.pack(Dataset("odd", "made", {"train": []}), tmp_path / "none", 9, {})


def test_lines_that_cannot_be_sent_are_packed_in_this_process(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    lines = [Line(str(n), "a", "train", lambda: np.zeros((9, 9), np.uint8)) for n in range(12)]
    assert packing.pack(Dataset("odd", "made", {"train": lines}), tmp_path / "odd", 9, {}, processes=2).lines == 12
    assert len(open_dataset(str(tmp_path / "odd")).split("train")) == 12


def test_a_set_that_lost_a_shard_is_packed_again(tmp_path: Path, small_shards: None) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    before = packed(source, out, height=32)
    (out / "train-00000.arrow").unlink()
    damaged(out / "test-00000.arrow", 2000)
    result = look(DataOptions(str(source), write=out, height=32))
    assert result.written and result.written.resumed == 15
    assert open_dataset(str(out)).identity("train") == before.identity("train")


def test_a_set_may_be_called_like_the_built_in_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    assert look(DataOptions("source", write=Path("synthetic"), height=32)).name == "source"


def test_a_build_goes_on_with_the_shards_that_are_missing(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    pack, done = shards.Job.pack, []

    def stopped(job: shards.Job, part: shards.Part) -> shards.Shard:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part.file)
        return pack(job, part)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards.Job, "pack", stopped)
        packed(source, out, processes=1, height=32)
    assert not (out / MANIFEST).exists()
    with pytest.raises(HtrError, match="not packed to the end"):
        open_dataset(str(out))
    with pytest.raises(HtrError, match="--write"):
        packed(source, out, height=24)
    damaged(out / done[1], 2000)  # it is noted as whole, and is made again
    (out / ".train-00000.arrow.1.tmp").write_bytes(b"half")
    result = look(DataOptions(str(source), write=out, height=32))
    assert result.written and result.written.resumed == 5
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []
    again = open_dataset(str(out))
    assert [line.pixels().shape[0] for line in again.split("train")] == [32] * 17


KILLED = """
import time
from pathlib import Path
from htrcompress.data import packing, shards
from htrcompress.data.__main__ import DataOptions, look
packing.SHARD, shards.BLOCK = 2, 1
batch = shards.Job._batch
shards.Job._batch = lambda *given: (time.sleep(0.2), batch(*given))[1]
look(DataOptions(SOURCE, write=Path(OUT), height=32, processes=2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_build_leaves_no_set_and_no_processes(tmp_path: Path) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    code = KILLED.replace("SOURCE", repr(str(source))).replace("OUT", repr(str(out)))
    build = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not list(out.glob("*.arrow")):
        assert build.poll() is None
        time.sleep(0.05)
    build.send_signal(signal.SIGKILL)
    build.wait()
    assert not (out / MANIFEST).exists() and (out / PLAN).exists()
    with pytest.raises(HtrError, match="not packed to the end"):
        open_dataset(str(out))
    for _ in range(100):
        try:
            os.killpg(build.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("its processes went on")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SHARD", 2)
        assert look(DataOptions(str(source), write=out, height=32)).written.resumed > 0  # type: ignore[union-attr]
    assert open_dataset(str(out)).identity("train") == open_dataset(str(source)).identity("train")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "source")
    packed(source, tmp_path / "packed")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (lambda: packed(source, tmp_path / "other"), lambda: open_dataset(str(tmp_path / "packed"))):
        with pytest.raises(HtrError, match=r"htrcompress\[parquet\]"):
            act()


def test_a_training_goes_on_from_a_packed_set_to_the_last_bit(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(Path(lines), tmp_path / "packed", height=32)
    interrupt_after(monkeypatch, 3, KeyboardInterrupt())
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(data=lines, model="tiny-student", out=run, train=SHORT))
    train(TrainOptions(data=str(tmp_path / "packed"), resume=run))
    once, again = (load_file(folder / "tiny-student.safetensors") for folder in (whole, run))
    assert all(torch.equal(once[name], again[name]) for name in once) and log(run) == log(whole)


def test_images_without_texts_are_packed_for_distillation(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for width in (50, 90):
        Image.new("L", (width, 40), width).save(tmp_path / "images" / f"{width}.png")
    packed(tmp_path / "images", tmp_path / "packed", height=32, gallery=tmp_path / "page.html")
    mine, theirs = (open_images(tmp_path / name, 32) for name in ("images", "packed"))
    assert list(mine.names) == list(theirs.names) and mine.fingerprint() == theirs.fingerprint()
    assert [list(labels) for labels in theirs.labels] == [[], []]
    with pytest.raises(HtrError, match="--height 64"):
        open_images(tmp_path / "packed", 64)
    packed(folder(tmp_path / "texts"), tmp_path / "packed texts", height=32)
    with pytest.raises(HtrError, match=r"--unlabelled.*packed texts"):
        open_images(tmp_path / "packed texts", 32)
