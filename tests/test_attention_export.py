"""Reading with an attention decoder through PyTorch and ONNX Runtime: the same texts, in any batch; and no trace of it
in other exports."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from attention_models import attentive, four_lines  # noqa: F401
from exports import small_file  # noqa: F401
from numpy.typing import NDArray
from sharing import Shared

import htrcompress
from htrcompress import metrics
from htrcompress.decoding.attention import AttentionOptions
from htrcompress.decoding.language import LanguageOptions
from htrcompress.errors import HtrError
from htrcompress.export.attention_export import make_attention
from htrcompress.export.commands import export, verify
from htrcompress.export.graph import stamp
from htrcompress.export.options import ExportOptions, VerifyOptions
from htrcompress.lm import LmOptions, make_language_model
from htrcompress.models.serialization import load_card, load_with_decoder
from htrcompress.runtime import Recognizer
from htrcompress.runtime.backend import Open, exported_files, open_backend

DECODERS = ["attention", "joint"]
WRITTEN = ("model.attention.onnx", "model.attention.step.onnx")


@pytest.fixture(scope="session")
def exported(shared: Shared, attentive: Path) -> Path:  # noqa: F811
    """A folder with the model and its two graphs."""
    return shared("attentive-onnx", lambda folder: _export(attentive, folder))


def _export(model: Path, folder: Path) -> None:
    network, decoder, card = load_with_decoder(model)
    assert decoder is not None
    for graph in make_attention(network, decoder, card, WRITTEN):
        graph.write(folder)
    shutil.copy(model, folder / "model.safetensors")


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """The lines that the model knows, parts of them, and noise."""
    images = [np.asarray(image) for image in four_lines()[0].images]
    halves = [image[:, : image.shape[1] // 2] for image in images]
    noise = [np.random.default_rng(w).integers(0, 256, (32, w), dtype=np.uint8) for w in (5, 64, 150)]
    return [*images, *halves, *noise]


def opened(folder: Path, name: str, decoder: str, **options: object) -> Recognizer:
    return htrcompress.load(folder / name, threads=1, decoder=decoder, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("decoder", DECODERS)
def test_onnx_runtime_reads_what_pytorch_reads(exported: Path, pictures: list[NDArray[np.uint8]], decoder: str) -> None:
    found = [opened(exported, name, decoder).read(pictures, n_best=3) for name in ("model.safetensors", WRITTEN[0])]
    for one, other in zip(*found, strict=True):
        assert one.text == other.text
        assert [a.text for a in one.alternatives] == [a.text for a in other.alternatives]
        assert other.score == pytest.approx(one.score, abs=1e-3)
    texts = four_lines()[0].texts
    assert metrics.score(texts, [reading.text for reading in found[1][:4]]).cer < 0.02


@pytest.mark.parametrize("name", ["model.safetensors", WRITTEN[0]])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_line_reads_the_same_in_any_batch(
    exported: Path, pictures: list[NDArray[np.uint8]], decoder: str, name: str
) -> None:
    recognizer = opened(exported, name, decoder)
    together = [reading.text for reading in recognizer.read(pictures, 16)]
    assert [recognizer.read([picture])[0].text for picture in pictures] == together
    assert [reading.text for reading in recognizer.read(pictures[::-1], 3)] == together[::-1]


def test_a_language_model_and_the_weight_of_ctc_change_what_is_read(
    exported: Path, pictures: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("zzz zz zzzz\n" * 40)
    file = tmp_path / "letters.ngram"
    make_language_model(LmOptions(texts=[str(tmp_path / "texts.txt")], order=3, out=file))
    plain = opened(exported, WRITTEN[0], "joint").read(pictures)
    for options in (
        {"lm": LanguageOptions(file, weight=3.0)},
        {"attention": AttentionOptions(width=2, ctc=1.0)},
        {"lm": LanguageOptions(bonus=6.0)},
    ):
        other = opened(exported, WRITTEN[0], "joint", **options).read(pictures)
        assert [reading.text for reading in other] != [reading.text for reading in plain]


def test_readings_survive_pickling_and_come_with_spans(exported: Path, pictures: list[NDArray[np.uint8]]) -> None:
    recognizer = opened(exported, WRITTEN[0], "joint")
    again = pickle.loads(pickle.dumps(recognizer))  # noqa: S301
    expected = [reading.text for reading in recognizer.read(pictures)]
    assert [reading.text for reading in again.read(pictures)] == expected
    with_spans = recognizer.read(pictures, spans=True)
    assert [reading.text for reading in with_spans] == expected and with_spans[0].words


def test_greedy_decoding_of_the_same_file_is_as_ever(exported: Path, pictures: list[NDArray[np.uint8]]) -> None:
    texts = [opened(exported, name, "greedy").read(pictures) for name in ("model.safetensors", WRITTEN[0])]
    assert [reading.text for reading in texts[0]] == [reading.text for reading in texts[1]]
    assert [path.name for path in exported_files(exported)] == [WRITTEN[0]]  # the step is no recogniser


def test_an_export_has_the_decoder_only_where_that_is_asked_for(
    exported: Path,
    attentive: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(attentive, run / "student.safetensors")
    export(ExportOptions(run))
    folder = run / "export/student"
    assert not any((folder / name).exists() for name in WRITTEN)
    graph = onnx.load(folder / "model.onnx")
    assert {output.name for output in graph.graph.output} == {"labels", "lengths", "scores", "logits"}
    plain = load_card(attentive).without_attention()
    assert (folder / "card.json").read_text().strip() == plain.to_json()
    assert open_backend(folder / "model.onnx").card == plain
    with pytest.raises(HtrError, match="--attention"):
        htrcompress.load(folder / "model.onnx", decoder="joint")

    export(ExportOptions(run, attention=True))
    assert all((folder / name).exists() for name in WRITTEN)
    assert open_backend(folder / "model.onnx").card == plain
    assert open_backend(folder / WRITTEN[0], Open(memory=True)).card == load_card(attentive)

    checked = verify(VerifyOptions(run, data="synthetic", lines=3))
    forms = {check.form: check for check in checked.checks}
    assert f"{WRITTEN[0]}, joint" in forms and not forms[f"{WRITTEN[0]}, joint"].differing
    assert checked.exit_code == 0 and load_card(attentive).attention


def test_a_model_without_a_decoder_says_so(small_file: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(HtrError, match=r"--aux\.decoder\.keep"):
        htrcompress.load(small_file, decoder="joint")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(small_file, run / "student.safetensors")
    with pytest.raises(HtrError, match="--attention"):
        export(ExportOptions(run, attention=True))


def test_a_step_that_is_missing_or_of_another_model_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / WRITTEN[0], tmp_path)
    with pytest.raises(HtrError, match=WRITTEN[1]):
        htrcompress.load(tmp_path / WRITTEN[0], decoder="joint")
    shutil.copy(exported / WRITTEN[0], tmp_path / WRITTEN[1])
    with pytest.raises(HtrError, match="not the step"):
        htrcompress.load(tmp_path / WRITTEN[0], decoder="joint")
    step = onnx.load(exported / WRITTEN[1])
    card = load_card(exported / "model.safetensors")
    stamp(step, replace(card, charset=card.charset[1:]))
    onnx.save(step, tmp_path / WRITTEN[1])
    with pytest.raises(HtrError, match="another model"):
        htrcompress.load(tmp_path / WRITTEN[0], decoder="joint")
    encoder = onnx.load(exported / WRITTEN[0])
    stamp(encoder, replace(card, calibration="1 0 1 0"))  # which `calibrate` adds to one file
    onnx.save(encoder, tmp_path / WRITTEN[0])
    shutil.copy(exported / WRITTEN[1], tmp_path)
    assert htrcompress.load(tmp_path / WRITTEN[0], decoder="joint").decoder
    (tmp_path / WRITTEN[1]).write_bytes(b"no graph")
    with pytest.raises(HtrError, match=WRITTEN[1]):
        htrcompress.load(tmp_path / WRITTEN[0], decoder="joint")
