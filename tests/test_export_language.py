"""`export --lm` puts the language model into the package, which clients decode with and `verify` proves."""

import runpy
import shutil
from pathlib import Path

import onnx
import pytest
from test_ngram import _model

from htrcompress import load
from htrcompress.data.synthetic import open_synthetic
from htrcompress.decoding.language import LanguageOptions
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.errors import HtrError
from htrcompress.export.commands import export, verify
from htrcompress.export.options import ExportOptions, VerifyOptions
from htrcompress.image import pad, resize_to_height

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained student that ships, exported with a language model of the built-in texts."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(ROOT / "models/tiny-student.safetensors", folder / "student.safetensors")
    save_ngram(folder / "letters.ngram", _model([line.text for line in open_synthetic().split("train")[:300]], 4)[1])
    export(ExportOptions(folder, lm=LanguageOptions(folder / "letters.ngram", 0.6, 1.25)))
    return folder


def test_weight_and_bonus_stand_in_the_package_and_a_model_reads_with_it(run: Path) -> None:
    place = run / "export" / "student"
    settings = load_ngram(place / "language.ngram").settings
    assert (float(settings["weight"]), float(settings["bonus"])) == (0.6, 1.25)
    assert not {"weight", "bonus"} & load_ngram(run / "letters.ngram").settings.keys()
    served = place / "model_repository" / "student" / "language.ngram"
    assert served.read_bytes() == (place / "language.ngram").read_bytes()
    pictures = [line.pixels() for line in open_synthetic().split("test")[:6]]
    given = LanguageOptions(run / "letters.ngram", 0.6, 1.25)
    texts = [r.text for r in load(place / "model.onnx", threads=1, lm=given).read(pictures)]
    assert [r.text for r in load(place / "model.onnx", threads=1, lm=place / "language.ngram").read(pictures)] == texts


def test_a_client_of_triton_reads_the_same(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of the page about clients, with ONNX Runtime in the place of the server."""
    import onnxruntime

    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    [code] = [block.split("```")[0] for block in page.split("```python\n") if "decode_matrix" in block]

    served = run / "export" / "student" / "model_repository" / "student"
    session = onnxruntime.InferenceSession(served / "1" / "model.onnx")
    pictures = [line.pixels() for line in open_synthetic().split("test")[:4]]
    recognizer = load(run / "export/student/model.onnx", threads=1, lm=served / "language.ngram")
    lines = tmp_path / "lines.py"
    lines.write_text(code, encoding="utf-8")
    monkeypatch.chdir(served)
    height, stride = recognizer.card.height, recognizer.card.stride
    for picture, reading in zip(pictures, recognizer.read(pictures), strict=True):
        pixels, widths = pad([resize_to_height(picture, height, 4096)])
        [logits] = session.run(["logits"], {"pixels": pixels, "widths": widths})
        found = runpy.run_path(str(lines), {"logits": logits, "width": int(widths[0]), "stride": stride})
        assert found["best"].text == reading.text


def test_verify_proves_the_beam_search_in_every_file(run: Path, tmp_path: Path) -> None:
    result = verify(VerifyOptions(run, lines=6))
    forms = [check.form for check in result.checks]
    assert forms == [f"{name}{way}" for name in ("PyTorch", "model.onnx") for way in ("", ", beam with language.ngram")]
    assert result.exit_code == 0 and all(check.differing == () for check in result.checks)
    shutil.copytree(run, tmp_path / "spoilt")
    path = tmp_path / "spoilt/export/student/model.onnx"
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.output[:] = ["right" if name == "logits" else name for name in node.output]
        node.input[:] = ["right" if name == "logits" else name for name in node.input]
    graph.graph.node.append(onnx.helper.make_node("Neg", ["right"], ["logits"]))
    onnx.save(graph, path)
    shutil.rmtree(tmp_path / "spoilt/export/student/model_repository")
    spoilt = {check.form: check.passed for check in verify(VerifyOptions(tmp_path / "spoilt", lines=6)).checks}
    assert spoilt["model.onnx"] and not spoilt["model.onnx, beam with language.ngram"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decoder": "beam"}, "--lm"),
        ({"lm": LanguageOptions(bonus=1.0)}, "--lm"),
        ({"decoder": "greedy", "lm": LanguageOptions(Path("a.ngram"))}, "--decoder greedy"),
        ({"lm": LanguageOptions(Path("a.ngram")), "decode": "plugin"}, "--decode plugin"),
        ({"lm": LanguageOptions(Path("a.ngram"), words=Path("a.txt"))}, "--lm.words"),
        ({"lm": LanguageOptions(Path("none.ngram"))}, r"none\.ngram"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Path, tmp_path: Path, options: dict, named: str) -> None:
    with pytest.raises(HtrError, match=named):
        export(ExportOptions(run, out=tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()


def test_another_files_end_is_found_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    whole = (run / "letters.ngram").read_bytes()
    (tmp_path / "cut.ngram").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HtrError, match="truncated"):
        export(ExportOptions(run, out=tmp_path / "out", lm=LanguageOptions(tmp_path / "cut.ngram")))
    assert not (tmp_path / "out").exists()
