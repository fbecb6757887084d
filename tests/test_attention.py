"""The attention decoder in training and in model files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attention_models import attentive, four_lines  # noqa: F401
from exports import small, small_card, small_file  # noqa: F401
from safetensors.torch import load_file, save_file
from trainings import SHORT, interrupt_after, log

from benchmarks.studies.auxiliary_losses import CTC_WEIGHTS, ComparisonOptions, compare_losses
from htrcompress import models
from htrcompress.card import CARD_KEY, Card
from htrcompress.charset import Charset
from htrcompress.config import AttentionConfig, AuxConfig
from htrcompress.data.batching import Batch
from htrcompress.decoding.attention import AttentionOptions
from htrcompress.errors import HtrError
from htrcompress.models.attention import AttentionDecoder, AttentionSizes
from htrcompress.models.serialization import DECODER, load_card, load_model, load_with_decoder, save_model
from htrcompress.runtime import load
from htrcompress.train import TrainOptions, train
from htrcompress.training.losses import LossTerm, ModelOutput, StepLines
from htrcompress.training.objective import Objective, build_objective

CHARSET = Charset(tuple("abcdefgh"))
SMALL = AttentionConfig(layers=2, dim=16, heads=2)


def batch(lengths: tuple[int, ...] = (1, 2, 3)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(lengths), 1, 32, 96), generator=generator, dtype=torch.uint8)
    widths = torch.tensor([96 - 20 * row for row in range(len(lengths))], dtype=torch.int32)
    return Batch(pixels, widths, torch.arange(1, 1 + sum(lengths)), torch.tensor(lengths))


def objective(name: str, keep: bool = False) -> Objective:
    torch.manual_seed(0)
    network = models.create(name, CHARSET.classes)
    return build_objective(network, CHARSET, AuxConfig(attention=0.5, decoder=replace(SMALL, keep=keep)))


@pytest.mark.parametrize("name", ["tiny-student", "tiny-teacher", "tiny-hybrid"])
def test_the_loss_of_a_line_does_not_depend_on_its_batch(name: str) -> None:
    """A line alone is cut to its own width, and in the batch it stands beside wider ones."""
    whole, found = batch(), objective(name).eval()
    parts, at = [], 0
    for row, (length, width) in enumerate(zip(whole.target_lengths.tolist(), whole.widths.tolist(), strict=True)):
        one = slice(row, row + 1)
        pixels, targets = whole.pixels[one, :, :, :width], whole.targets[at : at + length]
        parts.append(found(Batch(pixels, whole.widths[one], targets, whole.target_lengths[one]))["attention"])
        at += length
    term: LossTerm = found(whole)["attention"]
    assert term.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-5)
    assert term.count == sum(part.count for part in parts) == 6 + 3  # and an end for each line
    assert term.weight == 0.5


def test_frames_beyond_a_line_are_not_read() -> None:
    found, lines = objective("tiny-student").eval(), batch()
    encoding = found.model.encode(lines.pixels, lines.widths)
    logits, loss = found.model.classify(encoding.layers[-1]), found.losses["attention"]
    before = loss(ModelOutput(lines, encoding, logits, StepLines.of(lines)))["attention"].total
    for row, frames in enumerate(encoding.frames.tolist()):
        encoding.layers[-1][row, frames:] = torch.nan
    after = loss(ModelOutput(lines, encoding, logits, StepLines.of(lines)))["attention"].total
    assert torch.equal(before, after)


@pytest.mark.parametrize("lengths", [(1, 2, 3), (2, 0, 1), (0, 0, 0)])
def test_every_parameter_has_a_gradient_and_lines_without_text_do_not_count(lengths: tuple[int, ...]) -> None:
    found = objective("tiny-hybrid")
    terms = found(batch(lengths))
    torch.stack([term.total * term.weight for term in terms.values()]).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in found.parameters())
    assert terms["attention"].count == sum(length + 1 for length in lengths if length)


def test_steps_give_what_the_whole_text_gives() -> None:
    torch.manual_seed(0)
    decoder = AttentionDecoder(AttentionSizes(2, 16, 2), 12, 9).eval()
    frames, labels = torch.tensor([5, 9]), torch.tensor([[0, 3, 3, 1], [0, 8, 2, 7]])
    memory = decoder.memory(torch.randn(2, 9, 12), frames)
    expected = decoder(memory, frames, labels).log_softmax(2)
    keys, values = decoder.start(2, memory.device)
    parents = torch.zeros(2, 2, dtype=torch.int64)
    for place in range(4):  # two texts a line: its own, and one that is wrong from the second character on
        other = labels[:, place] if place == 0 else torch.full((2,), 5)
        now = torch.stack((labels[:, place], other), 1)
        found, keys, values = decoder.step(memory, frames, now, parents, keys, values)
        torch.testing.assert_close(found[:, 0], expected[:, place], atol=1e-5, rtol=1e-5)
        parents = torch.tensor([[0, 1], [0, 1]])
    swapped, _, _ = decoder.step(memory, frames, now.flip(1), parents.flip(1), keys, values)
    kept, _, _ = decoder.step(memory, frames, now, parents, keys, values)
    torch.testing.assert_close(swapped.flip(1), kept)


def test_training_with_it_learns_to_read_and_to_write(attentive: Path) -> None:  # noqa: F811
    assert load_card(attentive).metrics["valid"]["cer"] < 0.05
    model, decoder, _ = load_with_decoder(attentive)
    assert decoder is not None
    lines, _ = four_lines()
    with torch.inference_mode():
        found = lines.batch([0, 1, 2, 3])
        encoding = model.encode(found.pixels, found.widths)
        memory = decoder.memory(encoding.layers[-1], encoding.frames)
        keys, values = decoder.start(4, memory.device)
        last, parents, written = torch.zeros(4, 1, dtype=torch.int64), torch.zeros(4, 1, dtype=torch.int64), []
        for _ in range(int(found.target_lengths.max()) + 1):
            log_probabilities, keys, values = decoder.step(memory, encoding.frames, last, parents, keys, values)
            last = log_probabilities.argmax(2)
            written.append(last)
    for row, labels in zip(torch.cat(written, 1).tolist(), lines.labels, strict=True):
        assert row[: len(labels) + 1] == [*labels, 0]


@pytest.mark.parametrize("ctc", [0.0, 0.3, AttentionOptions.ctc, 1.0])
def test_lines_that_are_known_by_heart_are_read_jointly_as_well_as_by_ctc(attentive: Path, ctc: float) -> None:  # noqa: F811
    lines, _ = four_lines()
    recognizer = load(attentive, decoder="joint", attention=AttentionOptions(ctc=ctc))
    assert [reading.text for reading in recognizer.read(list(lines.images))] == list(lines.texts)


def test_a_file_keeps_the_decoder_only_where_that_is_asked_for(lines: str, tmp_path: Path) -> None:
    for keep in (False, True):
        aux = AuxConfig(attention=0.5, decoder=replace(SMALL, keep=keep))
        run = tmp_path / str(keep)
        file = train(TrainOptions(data=lines, model="tiny-student", out=run, train=SHORT, aux=aux)).fit.path
        names, card = load_file(file), load_card(file)
        assert all('"attention"' in json.dumps(row) for row in log(run) if "lr" in row)
        checkpoint = torch.load(run / "tiny-student/checkpoint.pt", weights_only=True)
        assert any(name.startswith("losses.attention.decoder.") for name in checkpoint["objective"])
        assert any(name.startswith(DECODER) for name in names) == keep
        assert ("attention" in json.loads(card.to_json())) == keep
        assert card.training["aux"]["attention"] == 0.5
        network, decoder, _ = load_with_decoder(file)
        assert (decoder is not None) == keep
        save_model(tmp_path / "again.safetensors", network, card)  # without it
        assert load_card(tmp_path / "again.safetensors").attention == {}
    assert card.attention == {"layers": 2, "dim": 16, "heads": 2, "dropout": 0.1}


def test_a_card_without_the_entry_is_that_of_earlier_versions(small_card: Card) -> None:  # noqa: F811
    assert '"attention"' not in small_card.to_json()
    assert Card.from_json(small_card.to_json(), "it") == small_card
    kept = replace(small_card, attention={"layers": 1, "dim": 8, "heads": 2, "dropout": 0.0})
    assert Card.from_json(kept.to_json(), "it") == kept and kept.digest() == small_card.digest()


@pytest.mark.parametrize(
    "sizes", [{"layers": 10**9, "dim": 48, "heads": 2}, {"layers": "2"}, {"layers": 2, "dim": 48, "heads": 2, "x": 1}]
)
def test_a_card_with_impossible_sizes_is_refused(attentive: Path, tmp_path: Path, sizes: dict[str, object]) -> None:  # noqa: F811
    card = replace(load_card(attentive), attention=sizes)
    save_file(load_file(attentive), tmp_path / "odd.safetensors", metadata={CARD_KEY: card.to_json()})
    with pytest.raises(HtrError, match=r"odd\.safetensors is damaged"):
        load_model(tmp_path / "odd.safetensors")


def test_a_resumed_training_equals_an_uninterrupted_one(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TrainOptions(
        data=lines, model="tiny-student", train=SHORT, aux=AuxConfig(attention=0.5, decoder=replace(SMALL, keep=True))
    )
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(replace(options, out=whole))
    interrupt_after(monkeypatch, 3, SystemExit(9))
    with pytest.raises(SystemExit):
        train(replace(options, out=stopped))
    train(TrainOptions(resume=stopped))
    once, again = (load_file(run / "tiny-student.safetensors") for run in (whole, stopped))
    assert once.keys() == again.keys() and all(torch.equal(once[name], again[name]) for name in once)
    assert log(stopped) == log(whole)


@pytest.mark.parametrize("options", [{"dim": 30, "heads": 4}, {"layers": 0}, {"smoothing": 1.0}, {"dropout": -1.0}])
def test_sizes_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(HtrError, match=rf"--aux\.decoder\.{next(iter(options))}"):
        AttentionConfig(**options)  # type: ignore[arg-type]


def test_sizes_of_no_decoder_are_refused() -> None:
    with pytest.raises(HtrError, match=r"--aux\.attention"):
        AuxConfig(decoder=AttentionConfig(keep=True))


def test_the_study_compares_arms_with_plain_ctc(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = replace(SMALL, keep=True)
    options = ComparisonOptions(
        data=lines, steps=4, seeds=2, runs=tmp_path, out=tmp_path / "out.json", decoder=decoder, train=SHORT
    )
    interrupt_after(monkeypatch, 3, SystemExit(9))
    with pytest.raises(SystemExit):
        compare_losses(options)
    monkeypatch.undo()
    result = compare_losses(options)
    assert {"plain", "intermediate", "attention", "attention, joint"} <= result.arms.keys()
    assert result.arms["plain"]["difference"] is None
    assert all(len(row["cer"]) == 2 and min(row["cpu"]) > 0 for row in result.arms.values())
    assert result.arms.get("plain, as long", {"steps": 5})["steps"] > 4
    assert set(result.arms["attention, joint"]["ctc"]) <= set(CTC_WEIGHTS)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.safetensors")}
    again = compare_losses(options)
    assert again.arms == result.arms and before == {file: file.read_bytes() for file in before}  # nothing trained anew
    assert json.loads((tmp_path / "out.json").read_text())["kind"] == "auxiliary_losses"


def test_the_study_refuses_an_arm_that_it_does_not_know() -> None:
    with pytest.raises(HtrError, match="--arms"):
        ComparisonOptions(arms=("attention", "luck"))
