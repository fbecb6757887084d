"""Losses, the selection of frames, and augmentation."""

import pytest
import torch

from htrcompress import models
from htrcompress.charset import Charset
from htrcompress.compression.distillation import DistillationLoss, divergence, spike_frames
from htrcompress.config import AugmentConfig, AuxConfig, DistillConfig
from htrcompress.data.augment import augment
from htrcompress.data.batching import Batch
from htrcompress.errors import HtrError
from htrcompress.training.losses import IntermediateCtc, LossTerm, ctc_loss
from htrcompress.training.objective import Objective, build_objective


def batch(lines: int = 3, width: int = 96) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (lines, 1, 32, width), generator=generator, dtype=torch.uint8)
    widths = torch.tensor([width - 20 * row for row in range(lines)], dtype=torch.int32)
    return Batch(pixels, widths, torch.tensor([1, 2, 3, 4, 5, 6]), torch.tensor([1, 2, 3]))


def weighted(terms: dict[str, LossTerm]) -> torch.Tensor:
    return torch.stack([term.total * term.weight for term in terms.values()]).sum()


def test_spikes_are_kept_with_as_many_blanks_on_both_sides() -> None:
    best = torch.tensor([[0, 0, 0, 5, 0, 0, 0, 0, 0, 7], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    logits = torch.nn.functional.one_hot(best, 9).float()
    chosen = spike_frames(logits, torch.tensor([9, 10]), blanks=2)
    assert chosen.int().tolist() == [[0, 1, 1, 1, 1, 1, 0, 0, 0, 0], [0] * 10]
    assert spike_frames(logits, torch.tensor([10, 10]), 0).sum() == 2


def test_divergence_is_zero_for_equal_and_positive_for_other_frames() -> None:
    logits = torch.randn(2, 6, 5)
    chosen = torch.ones(2, 6, dtype=torch.bool)
    total, count = divergence(logits, logits + 3, chosen, 2.0)  # a shift changes no distribution
    assert abs(total) < 1e-5 and count == 12
    assert divergence(logits, -logits, chosen, 2.0)[0] > 0
    none, zero = divergence(logits, logits, torch.zeros(2, 6, dtype=torch.bool), 2.0)
    assert none == 0 and zero == 0


def test_ctc_does_not_hide_a_line_that_cannot_be_emitted() -> None:
    labels = Batch(torch.zeros(1), torch.zeros(1), torch.tensor([1, 1, 1]), torch.tensor([3]))
    assert torch.isinf(ctc_loss(torch.zeros(1, 4, 5), torch.tensor([4]), labels)[0])
    assert torch.isfinite(ctc_loss(torch.zeros(1, 5, 5), torch.tensor([5]), labels)[0])


@pytest.mark.parametrize("config", [DistillConfig(), DistillConfig(frames="all"), DistillConfig(features=0.5)])
def test_only_the_student_learns(config: DistillConfig) -> None:
    teacher, student = models.create("tiny-teacher", 9), models.create("tiny-student", 9)
    objective = Objective(student, {"distill": DistillationLoss(teacher, student, config)})
    assert {name.split(".")[0] for name in objective.state_dict()} <= {"model", "losses"}
    assert len(objective.state_dict()) - len(student.state_dict()) == (2 if config.features else 0)
    terms = objective(batch())
    weighted(terms).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in objective.parameters())
    assert set(terms) == {"ctc", "kd"} | ({"features"} if config.features else set())


def test_loss_of_a_batch_is_the_sum_of_its_lines() -> None:
    objective = Objective(models.create("tiny-student", 9).eval())
    whole = batch()
    parts, at = 0.0, 0
    for row, length in enumerate(whole.target_lengths.tolist()):
        one = slice(row, row + 1)
        targets = whole.targets[at : at + length]
        line = Batch(whole.pixels[one], whole.widths[one], targets, whole.target_lengths[one])
        parts += objective(line)["ctc"].total.item()
        at += length
    assert objective(whole)["ctc"].total.item() == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"weight": -1}, {"blanks": -1}, {"weight": float("nan")}])
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(HtrError, match=f"--distill.{next(iter(options))}"):
        DistillConfig(**options)  # type: ignore[arg-type]


def test_augmentation_is_a_function_of_its_seed_and_keeps_lines_emittable() -> None:
    lines = batch()
    needed = torch.tensor([24, 10, 30])
    once, again, other = (augment(lines, AugmentConfig(stretch=0.9), needed, 4, seed) for seed in (5, 5, 6))
    assert torch.equal(once.pixels, again.pixels) and torch.equal(once.widths, again.widths)
    assert once.pixels.shape != other.pixels.shape or not torch.equal(once.pixels, other.pixels)
    assert once.pixels.dtype == torch.uint8 and once.widths.dtype == torch.int32
    for seed in range(20):
        widths = augment(lines, AugmentConfig(stretch=0.9), needed, 4, seed).widths
        assert (widths >= torch.minimum(needed * 4, lines.widths)).all()
    for row, width in enumerate(once.widths.tolist()):
        assert (once.pixels[row, :, :, width:] == 255).all()


def test_no_augmentation_gives_the_lines_back() -> None:
    nothing = AugmentConfig(**dict.fromkeys(vars(AugmentConfig()), 0))
    lines = batch(1)
    torch.testing.assert_close(augment(lines, nothing, torch.tensor([1]), 4, 0).pixels, lines.pixels, atol=1, rtol=0)
    with pytest.raises(HtrError, match="--augment"):
        AugmentConfig(noise=-1)


def test_the_teacher_moves_with_the_student() -> None:
    model, teacher = models.create("tiny-student", 5), models.create("tiny-student", 5)
    objective = Objective(model, {"distill": DistillationLoss(teacher, model, DistillConfig())}).to("meta")
    assert {p.device.type for p in (*objective.parameters(), *teacher.parameters())} == {"meta"}
    assert objective.state_dict().keys() == {f"model.{name}" for name in model.state_dict()}


@pytest.mark.parametrize("name", ["tiny-student", "tiny-hybrid"])
def test_ctc_at_other_places_reaches_the_layers_below_it(name: str) -> None:
    model = models.create(name, 9)
    [middle] = models.resolve_layers(model, ())
    assert middle == 1
    objective = Objective(model, {"intermediate": IntermediateCtc(model.layer_dims, (middle,), 9, 0.3)})
    terms = objective(batch())
    assert set(terms) == {"ctc", "intermediate"} | ({"shortcut"} if name == "tiny-hybrid" else set())
    assert terms["intermediate"].weight == 0.3 and terms["intermediate"].count == terms["ctc"].count
    terms["intermediate"].total.backward()
    above = model.sequence[1] if name == "tiny-student" else model.recurrence[1]  # type: ignore[index]
    assert all(p.grad is None for p in (*above.parameters(), *model.head.parameters()))  # type: ignore[union-attr]
    below = model.stem if name == "tiny-student" else model.recurrence[0]  # type: ignore[index]
    assert all(p.grad is not None for p in below.parameters())  # type: ignore[union-attr]
    if name == "tiny-student":
        with pytest.raises(HtrError, match=r"--aux\.shortcut"):
            build_objective(model, Charset(tuple("abcdefgh")), AuxConfig(shortcut=0.2))
    with pytest.raises(HtrError, match=r"--aux\.layers 3"):
        models.resolve_layers(model, (3,))


def test_an_objective_with_every_loss_leaves_no_parameter_without_gradient() -> None:
    """Several processes wait for the gradient of each."""
    model, teacher = models.create("tiny-hybrid", 9), models.create("tiny-teacher", 9)
    distill = DistillationLoss(teacher, model, DistillConfig(features=0.5))
    intermediate = IntermediateCtc(model.layer_dims, (0, 1), 9, 0.3)
    objective = Objective(model, {"distill": distill, "intermediate": intermediate}, 0.0)
    weighted(objective(batch())).backward()
    assert all(p.grad is not None for p in objective.parameters())
