"""The folder that a model is exported to: what goes, what stays, and nothing that is half there."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest

from htrcompress.card import Card
from htrcompress.errors import HtrError
from htrcompress.export.package import LOCK, UNFINISHED, check_package, replaced, write_labels
from htrcompress.export.targets import TARGETS

ROOT = Path(__file__).parent.parent
OWNED = [pattern for target in TARGETS for pattern in target.files]


@pytest.fixture
def card() -> Card:
    return Card("small", {}, tuple(" abcdefghij"), height=16, stride=4, max_width=800)


def write(card: Card, target: Path, *names: str, withdrawn: str = "") -> set[str]:
    """An export of these files; what is in the folder then."""
    with replaced(target, OWNED) as package:
        write_labels(package.folder, card)
        package.withdrawn.extend([withdrawn] if withdrawn else [])
        for name in names:
            (package.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (package.folder / name).write_text("")
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} - {
        "card.json",
        "labels.txt",
        LOCK,
    }


def test_forms_of_one_model_stay_beside_each_other(card: Card, tmp_path: Path) -> None:
    out, served = tmp_path / "out", "model_repository/student/1/model.onnx"
    first = {"model.onnx", served, "model.fp16.engine"}
    assert write(card, out, *first) == first
    verified = dataclasses.replace(card, metrics={**card.metrics, "verified": {"lines": 3}})
    (out / "card.json").write_text(verified.to_json(), encoding="utf-8")
    (out / "verify.json").touch()
    second = {"model.plugin.onnx", "model.plugin.engine", "libhtr_ctc.so"}
    assert write(card, out, *second) == first | second
    assert write(card, out, "model.onnx", withdrawn="model.fp16.*") == (first | second) - {"model.fp16.engine"}
    renamed = "model_repository/renamed/1/model.onnx"
    assert write(card, out, renamed) == {"model.onnx", renamed, *second}
    assert write(dataclasses.replace(card, name="other"), out, "model.none.onnx") == {"model.none.onnx"}


def test_files_that_no_export_wrote_are_never_replaced(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_of_mine.onnx").touch()
    here = Path(".")  # the folder one stands in has no name
    assert write(card, here, "model.onnx") == {"model.onnx", "model_of_mine.onnx"}
    for name, content in (("model.onnx", "mine"), ("card.json", "{}"), ("model_repository/my_model/1/model.plan", "")):
        target = tmp_path / f"with {Path(name).name}"
        (target / name).parent.mkdir(parents=True)
        (target / name).write_text(content)
        with pytest.raises(HtrError, match=rf"{name.split('/')[0]}.*--out"):
            write(card, target, "model.onnx")
        assert [path.name for path in target.rglob("*") if path.is_file()] == [Path(name).name]
        assert (target / name).read_text() == content


def test_an_export_that_fails_or_is_killed_leaves_nothing(card: Card, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="in the middle"), replaced(out, OWNED) as package:
        write_labels(package.folder, card)
        raise ValueError("in the middle")
    assert not out.exists()
    write(card, out, "model.onnx")
    left = out / UNFINISHED  # of a process that was killed
    left.mkdir()
    (left / "card.json").touch()
    assert write(card, out, "model.fp16.onnx") == {"model.onnx", "model.fp16.onnx"}
    (out / "elsewhere").mkdir()
    (out / "model_repository").symlink_to(out / "elsewhere")
    other = dataclasses.replace(card, name="other")
    assert write(other, out, "model.onnx", "model_repository/x/config.pbtxt") == {
        "model.onnx",
        "model_repository/x/config.pbtxt",
    }
    assert (out / "elsewhere").is_dir() and not list((out / "elsewhere").iterdir())


def test_characters_are_utf_8_everywhere(card: Card, tmp_path: Path) -> None:
    characters = ("é", "ß", "€", "字", "\u0335", "\u2028")
    write_labels(tmp_path, dataclasses.replace(card, charset=characters))
    assert (tmp_path / "labels.txt").read_bytes().decode().split("\n") == ["<blank>", *characters, ""]
    assert Card.from_json((tmp_path / "card.json").read_bytes().decode(), "it").charset == characters


def test_one_process_at_a_time_exports_into_a_folder(card: Card, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = """
import sys, pathlib
from htrcompress.errors import HtrError
from htrcompress.export.package import replaced
try:
    with replaced(pathlib.Path(sys.argv[1]), []):
        print("inside")
except HtrError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(out)]
    with replaced(out, OWNED) as package:
        write_labels(package.folder, card)
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert str(out) in printed and "--out" in printed
        assert (package.folder / "card.json").is_file()  # the other process has left it alone
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "inside\n"


def test_an_export_that_gets_sigterm_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "htrcompress.export", str(ROOT / "models/tiny-student.safetensors")]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "out")], stderr=subprocess.PIPE)
    while not (tmp_path / "out" / UNFINISHED).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 143 and not (tmp_path / "out").exists()
    assert process.stderr and not process.stderr.read()


def test_a_package_that_does_not_fit_its_model_is_refused(card: Card, tmp_path: Path) -> None:
    served = "model_repository/student/1/model.onnx"
    write(card, tmp_path, "model.onnx", served)
    check_package(tmp_path, card)
    other = dataclasses.replace(card, charset=("x",))
    for name, content in (
        ("labels.txt", b"<blank>\nx\n"),
        ("card.json", other.to_json().encode()),
        (served, b"junk"),
        ("model.onnx", b"another"),
    ):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HtrError, match=Path(name).name):
            check_package(tmp_path, card)
        (tmp_path / name).write_bytes(before)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(HtrError, match=str(tmp_path)):
        check_package(tmp_path, card)
