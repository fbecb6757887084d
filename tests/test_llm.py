"""The loss of a language model: what learns and what does not, what it may see, and what is refused.

A tiny Llama with random weights stands for a real model (`languages.py`).
"""

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from languages import CHARSET, HALF, SHORT, SMALL, batch, loss_for

from htrcompress import models
from htrcompress.config import AuxConfig, LlmConfig
from htrcompress.distill import DistillOptions
from htrcompress.errors import HtrError
from htrcompress.train import TrainOptions, train
from htrcompress.training.language_model import FrozenLanguageModel, LanguageModelLoss
from htrcompress.training.language_model.loading import _failure
from htrcompress.training.language_model.loss import draw_lines
from htrcompress.training.losses import StepLines
from htrcompress.training.objective import Objective


@pytest.mark.parametrize("name", ["tiny-student", "tiny-hybrid"])
def test_recogniser_and_connector_learn_and_the_language_model_does_not(name: str, llama: Path) -> None:
    torch.manual_seed(0)
    model = models.create(name, CHARSET.classes)
    loss = loss_for(model, llama)
    objective = Objective(model, {"language": loss})
    before = {key: value.clone() for key, value in loss.language_model.module.state_dict().items()}
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    first = objective(batch())["language"]
    (first.total / first.count).backward()
    assert first.count == 1 + 2 + 3 + 3 and first.weight == 0.3  # the characters and an end for each line
    assert model.stem.conv.weight.grad.abs().sum() > 0 if name == "tiny-student" else model.stem.weight.grad.any()  # type: ignore[union-attr,operator]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.connectors.parameters())
    assert all(p.grad is None for p in loss.language_model.module.parameters())
    optimizer.step()
    assert objective(batch())["language"].total < first.total
    assert all(torch.equal(value, before[key]) for key, value in loss.language_model.module.state_dict().items())
    assert not any("embed_tokens" in key for key in objective.state_dict())
    assert "ms a step" in loss.costs()


def test_the_loss_is_that_of_transformers_itself(llama: Path) -> None:
    language = FrozenLanguageModel.load(str(llama), LlmConfig(), "no")
    torch.manual_seed(1)
    prefix = torch.randn(2, 4, 24)
    texts = ["abca", "h"]
    losses, counts = language.negative_log_likelihood(prefix, texts)
    assert counts.tolist() == [5, 2]
    for row, text in enumerate(texts):  # one at a time, with the library's own shift and mean
        ids = torch.tensor([[0, *language.tokenizer(text, add_special_tokens=False)["input_ids"], 1]])
        inputs = torch.cat((prefix[row : row + 1], language.embed(ids)), 1)
        labels = torch.cat((torch.full((1, 5), -100), ids[:, 1:]), 1)
        expected = language.module(inputs_embeds=inputs, labels=labels).loss
        torch.testing.assert_close(losses[row] / counts[row], expected)
    alone, _ = language.negative_log_likelihood(None, texts)
    ids = torch.tensor([[0, *language.tokenizer("h", add_special_tokens=False)["input_ids"], 1]])
    torch.testing.assert_close(alone[1] / 2, language.module(input_ids=ids, labels=ids).loss)


def test_the_prefix_knows_the_picture_and_neither_text_nor_neighbours(llama: Path) -> None:
    torch.manual_seed(0)
    model = models.create("tiny-hybrid", CHARSET.classes).eval()
    loss = loss_for(model, llama, layers=(0, 2)).eval()
    seen: list[torch.Tensor] = []
    loss.connectors[1].register_forward_hook(lambda *values: seen.append(values[2].detach()))
    one, other = batch(), replace(batch(), targets=torch.tensor([6, 5, 4, 3, 2, 1]))
    losses = [Objective(model, {"language": loss}).eval()(lines)["language"].total for lines in (one, other)]
    assert torch.equal(seen[0], seen[1]) and losses[0] != losses[1]
    assert seen[0].shape == (3, 4, 24)
    rms = float(seen[0].square().mean().sqrt())
    assert rms == pytest.approx(loss.language_model.scale(), rel=0.01)
    narrow = one.pixels[2:, :, :, :56], one.widths[2:]
    encoding = model.encode(*narrow)
    alone = loss.prefixes(encoding, torch.tensor([0]))[1:]
    torch.testing.assert_close(alone, seen[0][2:], atol=1e-4, rtol=0)
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-3  # another picture gives another prefix


def test_a_share_of_the_batch_is_read_and_lines_without_text_are_not(llama: Path) -> None:
    model = models.create("tiny-student", CHARSET.classes).eval()
    loss = loss_for(model, llama, replace(SMALL, ratio=0.4))
    objective = Objective(model, {"language": loss}).eval()
    counts = set()
    for seed in range(12):
        counts.add(int(objective(batch(), StepLines(seed, [True] * 3, range(3)))["language"].count))
    assert counts == {2, 3, 4}  # one of three lines, its end included
    unlabelled = objective(batch(lengths=(0, 0, 0)))["language"]
    assert unlabelled.total == 0 and unlabelled.count == 0 and unlabelled.total.requires_grad
    assert int(objective(batch(lengths=(0, 0, 3)))["language"].count) == 4


def test_processes_draw_the_lines_that_one_process_would() -> None:
    labelled = [True] * 8 + [False] * 3
    for ratio, count in ((0.01, 1), (0.25, 2), (0.5, 4), (1.0, 8)):
        for seed in range(5):
            drawn = draw_lines(StepLines(seed, labelled, range(11)), ratio)
            assert len(drawn) == count and all(labelled[row] for row in drawn)
            shares = [range(11)[rank::3] for rank in range(3)]
            parts = [[rows[i] for i in draw_lines(StepLines(seed, labelled, rows), ratio)] for rows in shares]
            assert sorted(row for part in parts for row in part) == drawn
    assert len({tuple(draw_lines(StepLines(seed, labelled, range(11)), 0.25)) for seed in range(9)}) > 1


def test_mixed_precision_keeps_gradients_and_the_loss(llama: Path) -> None:
    torch.manual_seed(0)
    model = models.create("tiny-hybrid", CHARSET.classes)
    found = []
    for arithmetic in ("fp32", "bf16"):
        torch.manual_seed(1)
        loss = loss_for(model, llama, SMALL, arithmetic)
        with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic == "bf16"):
            terms = Objective(model, {"language": loss})(batch())
        (terms["ctc"].total + terms["language"].total).backward()
        assert loss.language_model.embed.weight.dtype == (torch.bfloat16 if arithmetic == "bf16" else torch.float32)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.connectors.parameters())
        assert terms["language"].total.dtype == torch.float32
        found.append(float(terms["language"].total.detach()))
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_lora_learns_beside_frozen_weights(llama: Path) -> None:
    pytest.importorskip("peft")
    model = models.create("tiny-student", CHARSET.classes)
    loss = loss_for(model, llama, HALF)
    terms = Objective(model, {"language": loss})(batch())
    terms["language"].total.backward()
    adapters = dict(loss.language_model.adapters.items())
    assert adapters and all("lora" in name and p.grad is not None for name, p in adapters.items())
    frozen = [p for name, p in loss.language_model.module.named_parameters() if "lora" not in name]
    assert frozen and all(p.grad is None for p in frozen)
    assert any("adapters" in name for name in loss.state_dict())


@pytest.mark.parametrize("name", ["NONE", "null", " "])
def test_a_name_that_is_none_is_refused_at_once(name: str) -> None:
    for options in (TrainOptions, DistillOptions):
        with pytest.raises(HtrError, match="--llm"):
            options(llm=name)


def test_a_model_that_looks_ahead_is_refused(llama: Path, tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaForCausalLM

    shutil.copytree(llama, tmp_path / "roberta")
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    for decoder in (True, False):
        torch.manual_seed(0)
        config = RobertaConfig(vocab_size=98, is_decoder=decoder, max_position_embeddings=200, **sizes)
        RobertaForCausalLM(config).save_pretrained(tmp_path / "roberta")
        if decoder:
            FrozenLanguageModel.load(str(tmp_path / "roberta"), SMALL, "no")
            continue
        with pytest.raises(HtrError, match="causal"):
            FrozenLanguageModel.load(str(tmp_path / "roberta"), SMALL, "no")


def test_names_of_special_tokens_are_letters_and_tokens_past_the_embedding_are_refused(llama: Path) -> None:
    language = FrozenLanguageModel.load(str(llama), SMALL, "no")
    [ids] = language.encode(["a</s>"])
    assert len(ids) == 5 and language.tokenizer.eos_token_id not in ids
    language.module.resize_token_embeddings(50)
    language.check_context_length(["A"], 4)
    with pytest.raises(HtrError, match=r"token 6\d"):
        language.check_context_length(["A", "a"], 4)


def test_what_cannot_be_had_is_told_in_a_sentence(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def load(name: str | Path, config: LlmConfig = SMALL) -> FrozenLanguageModel:
        return FrozenLanguageModel.load(str(name), config, "no")

    bare = tmp_path / "bare"
    bare.mkdir()
    for file in ("config.json", "model.safetensors"):
        (bare / file).write_bytes((llama / file).read_bytes())
    with pytest.raises(HtrError, match=r"--llm .*bare.*tokenizer"):
        load(bare)
    weightless = tmp_path / "weightless"
    weightless.mkdir()
    for file in llama.iterdir():
        if file.suffix == ".json":
            (weightless / file.name).write_bytes(file.read_bytes())
    with pytest.raises(HtrError, match="weightless"):
        load(weightless)
    (tmp_path / "model.bin").touch()
    with pytest.raises(HtrError, match=r"model\.bin.*\.gguf"):
        load(tmp_path / "model.bin")
    with pytest.raises(HtrError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(HtrError, match=r"--lm\.four_bit"):
        load(llama, replace(SMALL, four_bit=True))

    def fails(error: Exception) -> Callable[..., None]:
        def loader(*_: object, **__: object) -> None:
            raise error

        return loader

    lacks = ValueError("`sentencepiece` or `tiktoken` is needed to read the tokenizer")
    with monkeypatch.context() as patch, pytest.raises(HtrError, match="sentencepiece"):
        patch.setattr(transformers.AutoTokenizer, "from_pretrained", fails(lacks))
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        (bare / "tokenizer.model").touch()
        load(bare)
    for told, message in (
        (OSError("We couldn't connect to 'https://huggingface.co' to load the files"), "there is no network"),
        (
            OSError("no/such is not a local folder and is not a valid model identifier"),
            "there is no such model on the hub",
        ),
    ):
        monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fails(told))
        with pytest.raises(HtrError, match=f"--llm no/such: {message}"):
            load("no/such")
    monkeypatch.undo()
    full = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fails(full))
    with pytest.raises(HtrError, match=r"out of memory.*--llm.*--lm\.dtype"):
        load(llama)
    monkeypatch.undo()
    monkeypatch.setattr("peft.inject_adapter_in_model", fails(full))
    with pytest.raises(HtrError, match=r"out of memory.*--llm.*--lm\.lora"):
        load(llama, HALF)


def test_a_library_that_fails_without_a_word_is_told_all_the_same() -> None:
    assert "AssertionError" in str(_failure("some/model", AssertionError()))


def test_a_text_longer_than_what_the_language_model_reads_is_told_before_training(llama: Path) -> None:
    language = FrozenLanguageModel.load(str(llama), SMALL, "no")
    language.check_context_length(["a" * 194], 4)
    with pytest.raises(HtrError, match=r"the text 'aaa.*201 tokens.*200.*--lm\.queries"):
        language.check_context_length(["b", "a" * 195], 4)


def test_memory_that_runs_out_names_the_options_of_the_language_model(
    lines: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LanguageModelLoss, "forward", full)
    with pytest.raises(HtrError, match=r"--train\.batch.*--lm\.ratio.*--model"):
        train(
            TrainOptions(data=lines, model="tiny-student", out=tmp_path / "run", train=SHORT, llm=str(llama), lm=SMALL)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0}, r"--lm\.weight must be positive"),
        ({"weight": float("nan")}, r"--lm\.weight must be a finite number"),
        ({"ratio": 0}, r"--lm\.ratio must be above 0 and at most 1"),
        ({"ratio": 1.5}, r"--lm\.ratio must be above 0 and at most 1"),
        ({"queries": 0}, r"--lm\.queries must be at least 1"),
        ({"lora": -1}, r"--lm\.lora must not be negative"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HtrError, match=message):
        LlmConfig(**options)


def test_options_without_a_use_are_refused() -> None:
    with pytest.raises(HtrError, match=r"--lm\.ratio does nothing without a language model"):
        TrainOptions(lm=LlmConfig(ratio=0.5))
    with pytest.raises(HtrError, match=r"--aux\.layers does nothing without"):
        DistillOptions(aux=AuxConfig(layers=(1,)))
    with pytest.raises(HtrError, match=r"--aux\.intermediate must not be negative"):
        AuxConfig(intermediate=-1)
    with pytest.raises(HtrError, match="names a layer twice"):
        AuxConfig(layers=(1, 1))
