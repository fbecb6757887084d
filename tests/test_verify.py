"""The proof of exports: what passes, what must fail, and what is said of files that are not executed."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from standins import OnnxEngine, pretend, write_engine

from benchmarks.proofs import ProofsOptions, prove
from htrcompress.card import Card
from htrcompress.cli import to_json
from htrcompress.data.synthetic import open_synthetic
from htrcompress.errors import HtrError
from htrcompress.export import checks
from htrcompress.export.checks import LineSet, Reader
from htrcompress.export.commands import export
from htrcompress.export.commands import verify as verify_command
from htrcompress.export.options import ExportOptions, VerifyOptions
from htrcompress.export.results import Verification
from htrcompress.models.serialization import load_card
from htrcompress.runtime.backend import BACKENDS, Open, open_backend, precision_of
from htrcompress.runtime.engine_file import read_document
from htrcompress.runtime.onnx_backend import OnnxRuntimeBackend

ROOT = Path(__file__).parent.parent
Picture = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the trained student that ships, and its exports."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(ROOT / "models/tiny-student.safetensors", folder / "student.safetensors")
    export(ExportOptions(folder, fp16=True))
    return folder


FEW_SIZES = (1, 2, 5, 33)
"""Batches that show as much as those of every size, which one test reads."""


def verify(folder: Path, sizes: Iterable[int] = FEW_SIZES, **options: Any) -> Verification:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "SIZES", sizes)
        return verify_command(VerifyOptions(folder, **options))


def spoilt(run: Path, to: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """A copy of the run whose `model.onnx` is not what was exported."""
    shutil.copytree(run, to)
    shutil.rmtree(to / "export/student/model_repository")  # its copy of the graph would tell
    path = to / "export/student/model.onnx"
    graph = onnx.load(path)
    change(graph)
    onnx.save(graph, path)
    return to


def test_exports_read_like_the_model(run: Path) -> None:
    result = verify(run, checks.SIZES, lines=8)
    assert [check.form for check in result.checks] == [
        "PyTorch",
        "PyTorch, half precision",
        "model.onnx",
        "model.fp16.onnx",
    ]
    assert result.exit_code == 0 and result.lines == 8
    first, half, exact, _ = result.checks
    assert first.logits == 0 and first.cer > 0.05 and half.arithmetic == "FP16" and half.logits > 1e-4
    assert exact.difference == (0, 0, 0) and exact.logits < 1e-3 and exact.batch < 1e-4 and not exact.batch_sensitive
    card = Card.from_json((run / "export/student/card.json").read_text(encoding="utf-8"), "card.json")
    assert card.metrics["verified"]["forms"]["model.onnx"]["differing"] == 0
    assert json.loads((run / "export/student/verify.json").read_text())[0]["form"] == "PyTorch"
    assert json.loads(to_json(result))["checks"][0]["passed"]
    again = verify(run / "export/student", lines=3, model=run / "student.safetensors")  # a second time, one folder
    assert again.exit_code == 0


def test_proofs_of_several_runs_are_one_file(
    run: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "proofs.json"
    monkeypatch.setattr(checks, "SIZES", FEW_SIZES)
    result = prove(ProofsOptions([f"{run}={lines}", f"{run / 'export'}={lines}"], out=out))
    first, second = result.proofs
    assert first == second and first["lines"] and len(first["checks"]) == 4
    assert result.exit_code == max(not check["passed"] for check in first["checks"])
    assert all(isinstance(check["differing"], int) for check in json.loads(out.read_text())["proofs"][0]["checks"])
    for words, reason in (([], "a run"), ([str(run)], "RUN=DATA"), ([f"{run}="], "RUN=DATA")):
        with pytest.raises(HtrError, match=reason):
            prove(ProofsOptions(words))


def test_a_graph_that_reads_otherwise_fails(run: Path, tmp_path: Path) -> None:
    def blur(graph: onnx.ModelProto) -> None:
        largest = max(graph.graph.initializer, key=lambda weight: len(weight.raw_data))
        values = numpy_helper.to_array(largest)
        noise = np.random.default_rng(0).normal(0, values.std(), values.shape).astype(values.dtype)
        largest.CopyFrom(numpy_helper.from_array(values + noise, largest.name))

    result = verify(spoilt(run, tmp_path / "run", blur), lines=8)
    failed = {check.form: check for check in result.checks if not check.passed}
    assert result.exit_code == 1 and list(failed) == ["model.onnx"]
    check = failed["model.onnx"]
    assert "0.02" in check.note and len(check.differing) > 2
    line, text, before, now = check.differing[0]
    assert line and text and before != now
    assert verify(tmp_path / "run", lines=8, max_cer_rise=100).exit_code == 0


def test_too_few_lines_to_tell_fail_and_say_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htrcompress.metrics.paired_interval", lambda *_: (0.0001, -0.0001, 0.0003))
    result = verify(run, lines=3)
    assert result.exit_code == 1
    assert all("0.030" in check.note and "more lines" in check.note for check in result.checks)


def test_a_line_that_depends_on_its_batch_fails(run: Path, tmp_path: Path) -> None:
    def forget_widths(graph: onnx.ModelProto) -> None:
        """Every row is taken to be as wide as the widest."""
        kept = list(graph.graph.node)
        for node in kept:
            node.input[:] = ["everywhere" if name == "widths" else name for name in node.input]
        make = onnx.helper.make_node
        widest = [make("ReduceMax", ["widths"], ["widest"], keepdims=1), make("Shape", ["widths"], ["rows"])]
        del graph.graph.node[:]
        graph.graph.node.extend([*widest, make("Expand", ["widest", "rows"], ["everywhere"]), *kept])

    result = verify(spoilt(run, tmp_path / "run", forget_widths), lines=8)
    [check] = [check for check in result.checks if not check.passed]
    assert check.form == "model.onnx" and check.batch_sensitive > 0 and check.batch > 0.1 and check.note


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda place: (place / "model.onnx").write_bytes(b"\x08\x07"), "model.onnx"),
        (lambda place: (place / "model.onnx").write_bytes((place / "model.onnx").read_bytes()[:-999]), r"model\.onnx"),
        (lambda place: shutil.copy(place / "labels.txt", place / "model.engine"), r"model\.engine\.meta"),
        (lambda place: (place / "card.json").unlink(), r"run.*htrcompress\.export"),
    ],
)
def test_what_cannot_be_verified_is_named(
    run: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(run, tmp_path / "run")
    spoil(tmp_path / "run/export/student")
    shutil.rmtree(tmp_path / "run/export/student/model_repository")  # its copy of the graph would tell first
    with pytest.raises(HtrError, match=message):
        verify(tmp_path / "run", lines=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("labels.txt", r"labels\.txt"),
        ("model_repository/student/1/model.onnx", r"model_repository/student/1/model\.onnx"),
        ("model.engine", r"model\.engine "),
    ],
)
def test_a_file_that_is_another_one_is_named(run: Path, tmp_path: Path, name: str, message: str) -> None:
    place = shutil.copytree(run, tmp_path / "run") / "export/student"
    write_engine(place / "model.engine", load_card(run / "student.safetensors").to_json())
    (place / name).write_bytes((place / name).read_bytes()[:-1])
    with pytest.raises(HtrError, match=message):
        verify(tmp_path / "run", lines=1)


def test_an_export_of_another_model_is_refused(run: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match=r"card\.json"):
        verify(run / "export/student", data="synthetic", lines=2, model=tiny_model)
    with pytest.raises(HtrError, match="--model"):
        verify(run, model=tiny_model)
    assert load_card(tiny_model).name == "tiny"


def test_a_file_of_a_new_back_end_is_verified_too(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, ".other", OnnxRuntimeBackend)
    shutil.copytree(run, tmp_path / "run")
    folder = tmp_path / "run/export/student"
    shutil.copy(folder / "model.onnx", folder / "model.other")
    result = verify(tmp_path / "run", lines=3)
    assert "model.other" in [check.form for check in result.checks] and result.exit_code == 0


def test_graphs_without_our_decode_are_verified_as_far_as_they_run(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "student.safetensors", tmp_path)
    export(ExportOptions(tmp_path, decode="none"))
    export(ExportOptions(tmp_path, decode="plugin", out=tmp_path / "other"))
    shutil.copy(tmp_path / "other/student/model.plugin.onnx", tmp_path / "export/student")
    result = verify(tmp_path, lines=3)
    forms = {check.form: check for check in result.checks}
    assert list(forms) == ["PyTorch", "model.none.onnx", "model.plugin.onnx"] and result.exit_code == 0
    assert forms["model.none.onnx"].difference == (0, 0, 0) and "not executed" in forms["model.plugin.onnx"].note


def test_logits_that_are_no_numbers_fail(run: Path, tmp_path: Path) -> None:
    def spoil(graph: onnx.ModelProto) -> None:
        [bias] = [weight for weight in graph.graph.initializer if weight.name.endswith("head.bias")]
        values = numpy_helper.to_array(bias).copy()
        values[5] = np.nan
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))

    result = verify(spoilt(run, tmp_path / "run", spoil), lines=3, max_cer_rise=1000)
    assert [check.form for check in result.checks if "not finite" in check.note] == ["model.onnx"]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lines": 0}, "--lines"),
        ({"data": ""}, "--data"),
        ({"max_cer_rise": float("nan")}, "--max-cer-rise"),
    ],
)
def test_options_that_would_verify_nothing_are_refused(run: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(HtrError, match=message):
        verify(run, **options)


def test_an_export_far_from_its_model_asks_for_it(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "export/student", tmp_path / "a/b/elsewhere")
    with pytest.raises(HtrError, match="--model"):
        verify(tmp_path / "a/b/elsewhere")


@pytest.fixture
def with_engine(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, OnnxEngine]:
    """A run with an engine, and the stand-in that computes in the engine's place."""
    place = shutil.copytree(run, tmp_path / "run") / "export/student"
    (place / "model.fp16.onnx").unlink()
    write_engine(place / "model.engine", load_card(run / "student.safetensors").to_json())
    return place, pretend(monkeypatch, place / "model.onnx").engine


def test_an_engine_is_executed_where_a_gpu_is(with_engine: tuple[Path, OnnxEngine]) -> None:
    result = verify(with_engine[0].parent.parent, lines=3)
    check = result.checks[-1]
    assert (check.form, check.arithmetic, check.batch_sensitive, check.note) == ("model.engine", "FP32", 0, "")
    assert check.difference == (0, 0, 0) and check.logits < 1e-3 and check.batch < 1e-4
    assert result.exit_code == 0 and "model.engine" in to_json(result) and check.inspected == {"FP32": 1}


@pytest.mark.parametrize(("name", "allowed"), [("model.onnx", 0), ("model.fp16.onnx", 1), ("model.int8.cpu.onnx", 1)])
def test_few_lines_may_turn_with_their_batch_where_numbers_are_coarse(
    run: Path, name: str, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend(run / "student.safetensors", Open(device="cpu", logits=True))
    backend.arithmetic = precision_of(Path(name))
    lines = LineSet(open_synthetic({"test": 100}).splits["test"], backend.card)
    reader = Reader(name, backend, lines)
    for sensitive in (0, 1, 2):
        monkeypatch.setattr(reader, "_batch_sensitivity", lambda sensitive=sensitive: (0.0, sensitive))
        assert reader.compare(reader, "student", None).passed is (sensitive <= allowed)


def test_an_engine_that_is_not_as_half_as_its_name_fails(with_engine: tuple[Path, OnnxEngine]) -> None:
    place, engine = with_engine
    for suffix in ("", ".meta"):
        (place / f"model.engine{suffix}").rename(place / f"model.fp16.engine{suffix}")
    result = verify(place.parent.parent, lines=1)
    assert result.exit_code == 1 and "FP16" in result.checks[-1].note
    engine.type = "Half"
    assert verify(place.parent.parent, lines=1).exit_code == 0


def test_an_engine_whose_equal_rows_differ_fails(
    with_engine: tuple[Path, OnnxEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, engine = with_engine
    whole = engine.execute_async_v3

    def one_row_wrong(stream: int) -> bool:
        done, lines = whole(stream), engine.shapes["pixels"][0]
        if lines > 3:
            lengths = engine._read_output("lengths", (lines,))
            lengths[-1] = 0
            engine.device.upload(engine.addresses["lengths"], lengths)
        return done

    monkeypatch.setattr(engine, "execute_async_v3", one_row_wrong)
    [check] = [check for check in verify(place.parent.parent, lines=3).checks if not check.passed]
    assert check.form == "model.engine" and check.batch_sensitive and "batch" in check.note


@pytest.mark.parametrize(
    ("plan", "built", "passed", "message"),
    [
        (b"another plan", {}, False, "not executed.*GPU"),
        (b"a plan", {"version": "1.6.0"}, True, r"not executed.* 1\.6\.0.* 1\.7\.1"),
    ],
    ids=["another GPU", "another version"],
)
def test_an_engine_that_cannot_run_here_is_named(
    with_engine: tuple[Path, OnnxEngine], plan: bytes, built: dict[str, str], passed: bool, message: str
) -> None:
    place, _ = with_engine
    card, _ = read_document(place / "model.engine")
    write_engine(place / "model.engine", card.to_json(), plan, **built)
    result = verify(place.parent.parent, lines=2)
    check = result.checks[-1]
    assert check.passed is passed and not check.arithmetic and re.search(message, check.note)
    assert result.exit_code == (0 if passed else 1) and len(result.checks) == 3  # the others were checked


def test_an_engine_for_narrower_lines_fails(
    with_engine: tuple[Path, OnnxEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, engine = with_engine
    monkeypatch.setattr(engine, "get_tensor_profile_shape", lambda *_: [(1, 1, 32, 1)] * 2 + [(8, 1, 32, 40)])
    check = verify(place.parent.parent, lines=2).checks[-1]
    assert not check.passed and "40 pixels" in check.note


def test_lines_of_another_charset_are_read_and_count(run: Path, tmp_path: Path, write_lines: Any) -> None:
    lines = write_lines(tmp_path / "lines", {"train": 1, "valid": 1, "test": 2})
    (lines / "test.tsv").write_text("test-0.png\tДом\ntest-1.png\t字\n", encoding="utf-8")
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "export/student/model.fp16.onnx").unlink()
    result = verify(copy, data=str(lines), lines=2)
    assert result.lines == 2 and result.checks[0].cer >= 1
    (lines / "test.tsv").write_text("", encoding="utf-8")
    with pytest.raises(HtrError, match="test"):
        verify(run, data=str(lines))
    (tmp_path / "empty").mkdir()
    with pytest.raises(HtrError, match=r"--data .*empty"):
        verify(run, data=str(tmp_path / "empty"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="missing"):
        verify(tmp_path / "missing")


def test_a_device_that_is_not_there_is_named(run: Path) -> None:
    with pytest.raises(HtrError, match="tensorrt"):
        verify(run, lines=2, device="tensorrt")
