"""`python -m htrcompress.export`: what it writes, what it refuses, and how a new target joins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exports import CHARSET, HEIGHT

from htrcompress.card import Card
from htrcompress.errors import HtrError, Refused
from htrcompress.export import targets
from htrcompress.export.commands import export
from htrcompress.export.deployable import sample
from htrcompress.export.graph import Graph, read_graph
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.targets import ExportedFile, Job, base, onnx_files
from htrcompress.models.serialization import load_model

pytest_plugins = ["exports"]


@pytest.fixture
def run(small_file: Path, tmp_path: Path) -> Path:
    """A run with one model."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "student.safetensors").write_bytes(small_file.read_bytes())
    return folder


@pytest.fixture
def quick(full: Graph, half: Graph, monkeypatch: pytest.MonkeyPatch) -> dict[bool, Graph]:
    """Graphs that the command takes instead of tracing, by whether they are FP16; activations of random lines."""
    graphs = {False: full, True: half}
    monkeypatch.setattr(base, "make_onnx", lambda *_, half, **__: graphs[half])
    monkeypatch.setattr(ProofLines, "for_activations", lambda self, card: ("measured", [sample(HEIGHT, 2, 90)]))
    return graphs


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_the_command_fills_a_folder_or_leaves_none(
    run: Path, quick: dict[bool, Graph], small_card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, half = run / "export" / "student", quick[True]
    quick[True] = replace(quick[False], name="model.fp16.onnx")  # an FP16 export that is not FP16
    with pytest.raises(HtrError, match=r"model\.fp16\.onnx"):
        export(ExportOptions(run, fp16=True))
    assert not folder.exists()

    quick[True] = half
    result = export(ExportOptions(run, fp16=True))
    written = ["card.json", "labels.txt", "model.fp16.onnx", "model.onnx", "model_repository"]
    assert names(folder) == written
    assert [file.precision for file in result.files] == ["fp32", "fp16", "fp32"]
    assert [file.path for file in result.files][:2] == [folder / "model.onnx", folder / "model.fp16.onnx"]
    assert result.files[1].half_share >= 0.99 and result.activations["student"] > 0 and result.notes == ("measured",)
    assert (folder / "labels.txt").read_text().split("\n") == ["<blank>", *CHARSET, ""]
    assert Card.from_json((folder / "card.json").read_text(), "card.json") == small_card

    (folder / "mine.txt").touch()
    export(ExportOptions(run / "student.safetensors"))  # the same folder: other files of the model stay
    assert names(folder) == sorted([*written, "mine.txt"])
    assert names(folder.parent) == ["student"]

    def refuse(*_: object) -> float:
        raise Refused("half precision is not safe")

    monkeypatch.setattr(onnx_files, "largest_activation", refuse)
    result = export(ExportOptions(run, fp16=True))  # an earlier file of a refused target goes; others are written
    assert result.exit_code == 1 and len(result.refused) == 1 and "ONNX FP16" in result.refused[0]
    assert [file.path.name for file in result.files] == ["model.onnx", "student"]
    assert names(folder) == sorted({*written, "mine.txt"} - {"model.fp16.onnx"})


def test_nothing_of_this_machine_is_in_an_exported_file(run: Path, quick: dict[bool, Graph]) -> None:
    export(ExportOptions(run, fp16=True))
    private = [str(run).encode(), str(Path(__file__).parents[1]).encode(), str(Path.home()).encode() + b"/"]
    files = [path for path in (run / "export").rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert not [word for word in private if word in path.read_bytes()], path


class Weights:
    """A toy target: the weights as `.npz`."""

    name, option, proof = "npz", "", "the arrays are those of the network"
    files: tuple[str, ...] = ("weights.npz",)

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """It needs nothing."""

    def write(self, job: Job) -> list[ExportedFile]:
        path = job.folder / "weights.npz"
        np.savez(path, **{name: tensor.numpy() for name, tensor in job.network.state_dict().items()})
        return [ExportedFile(job.role, path, "fp32", path.stat().st_size, 0.0)]


def test_a_new_target_is_a_class_and_a_row(
    run: Path, quick: dict[bool, Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HtrError, match="--also"):
        export(ExportOptions(run, also="npz"))
    monkeypatch.setattr(targets, "TARGETS", [*targets.TARGETS, Weights()])
    result = export(ExportOptions(run, also="npz"))
    path = run / "export/student/weights.npz"
    assert result.files[-1].path == path
    network, _ = load_model(run / "student.safetensors")
    with np.load(path) as arrays:
        assert all(torch.equal(torch.from_numpy(arrays[name]), t) for name, t in network.state_dict().items())
    export(ExportOptions(run))
    assert path.exists()  # of the same model, it stays


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.name)
def test_every_target_says_what_it_is(target: targets.ExportTarget) -> None:
    assert target.name and target.proof and target.files
    assert not target.option or isinstance(getattr(ExportOptions(), target.option), bool)


def test_the_triton_repository_names_what_the_graph_takes(run: Path, quick: dict[bool, Graph]) -> None:
    export(ExportOptions(run))
    repository = run / "export/student/model_repository/student"
    config = (repository / "config.pbtxt").read_text(encoding="utf-8")
    assert 'input { name: "pixels" data_type: TYPE_UINT8 dims: [ -1, 1, 16, -1 ] }' in config
    assert 'input { name: "widths" data_type: TYPE_INT32 dims: [ -1 ] }' in config
    assert 'output { name: "labels" data_type: TYPE_INT32 dims: [ -1, -1 ] }' in config
    assert 'output { name: "scores" data_type: TYPE_FP32 dims: [ -1 ] }' in config and 'name: "student"' in config
    assert (repository / "1/model.onnx").read_bytes() == (run / "export/student/model.onnx").read_bytes()
    assert read_graph(repository / "1/model.onnx").card == quick[False].card
    assert (repository / "labels.txt").read_text(encoding="utf-8").splitlines() == ["<blank>", *CHARSET]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"trt": True, "decode": "plugin"}, "--plugin"),
        ({"trt": True, "decode": "plugin", "plugin": Path("no.so")}, r"no\.so"),
        ({"trt": True, "plugin": Path("no.so")}, "--decode plugin"),
        ({"decode": "plugin", "plugin": Path("no.so")}, "--trt"),
        ({"runtime": "tensorrt"}, "--runtime"),
        ({"int8": True, "decode": "none"}, "--int8.*--decode none"),
        ({"trt": True, "profile": "1x9,2x8,3x10"}, "--profile 1x9,2x8,3x10"),
        ({"profile": "1x1,2x2,3x3"}, "--profile.*--trt"),
        ({"trt": True, "profile": ""}, "--profile"),
        ({"trt": True, "profile": "1,2,3"}, "--profile 1,2,3"),
        ({"trt": True, "profile": "1x1,8x64,8x4096"}, "--profile.* 4096 .*small.* 800"),
        ({"trt": True, "profile": "4x1,2x64,8x80"}, "--profile 4x1,2x64,8x80"),
        ({"onnx": False}, "--no-onnx.*--trt"),
        ({"data": "synthetic"}, "--data.*--fp16.*--int8"),
        ({"fp16": True, "data": ""}, "--data"),
        ({"also": ""}, "--also"),
        ({"fp16": True, "max_cer_drop": 0.3}, "--max-cer-drop.*--int8"),
        ({"min_guard_lines": 3}, "--min-guard-lines.*--int8"),
        ({"int8": True, "min_guard_lines": 0}, "--min-guard-lines"),
        ({"int8": True, "max_cer_drop": -1.0}, "--max-cer-drop.* -1"),
        ({"int8": True, "data": "no/where"}, "no/where"),
        ({"fp16": True, "data": "no/where"}, "no/where"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Path, options: dict[str, object], named: str) -> None:
    with pytest.raises(HtrError, match=named):
        export(ExportOptions(run, **options))  # type: ignore[arg-type]
    assert not list((run / "export").glob("*"))


def test_a_folder_that_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    model = run / "student.safetensors"
    (tmp_path / "file").touch()
    for out in ("file/out", "file"):
        with pytest.raises(HtrError, match=str(tmp_path / out)):
            export(ExportOptions(model, out=tmp_path / out))
    for missing in ("nowhere", "nowhere.safetensors"):
        with pytest.raises(HtrError, match=missing):
            export(ExportOptions(tmp_path / missing))
    (tmp_path / "broken.safetensors").write_bytes(model.read_bytes()[:-9])
    with pytest.raises(HtrError, match=r"broken\.safetensors"):
        export(ExportOptions(tmp_path / "broken.safetensors"))
