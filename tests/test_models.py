"""The networks: sizes as promised, and a line that reads the same whatever stands beside it."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from htrcompress import models
from htrcompress.errors import HtrError
from htrcompress.models.base import LineRecognizer, fuse
from htrcompress.models.hybrid import HybridRecognizer
from htrcompress.models.layers import GATE_GAIN, SqueezeExcite, column_mask, exact_sum, standardize_ink
from htrcompress.models.lstm import reverse_sequences
from htrcompress.models.presets import PRESETS

CLASSES = 80


def perturbed(name: str) -> LineRecognizer:
    """A network with no weight at a convenient initial value, so that every bias and gain takes part."""
    torch.manual_seed(0)
    model = models.create(name, CLASSES).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("teacher", 7.6e6 * 0.98, 7.6e6 * 1.02),
        ("student", 2.9e6 * 0.98, 2.9e6 * 1.02),
        ("student-s", 0.9e6, 1.1e6),
        ("student-xs", 0.27e6, 0.33e6),
        ("hybrid", 7e6, 9e6),
    ],
)
def test_sizes_are_those_of_the_design(name: str, low: float, high: float) -> None:
    assert low <= parameters(models.create(name, CLASSES)) <= high


@pytest.mark.parametrize("name", PRESETS)
def test_no_layer_holds_more_than_15_percent(name: str) -> None:
    model = models.create(name, CLASSES)
    largest = max(sum(p.numel() for p in m.parameters(recurse=False)) for m in model.modules())
    assert largest <= 0.15 * parameters(model)


def test_student_has_60_percent_fewer_parameters_and_same_depth_and_stride() -> None:
    teacher, student = PRESETS["teacher"], PRESETS["student"]
    assert parameters(models.create("student", CLASSES)) <= 0.4 * parameters(models.create("teacher", CLASSES))
    assert (teacher.layers, teacher.blocks, teacher.height) == (student.layers, student.blocks, student.height)
    assert student.heads == 1
    for one, other in zip((*teacher.channels, teacher.dim), (*student.channels, student.dim), strict=True):
        assert 0.6 <= other / one <= 0.65


@pytest.mark.parametrize("height", [16, 48, 80])
def test_a_hybrid_takes_any_height_of_its_config(height: int) -> None:
    config = replace(PRESETS["tiny-hybrid"], height=height)  # type: ignore[type-var]
    model = HybridRecognizer(config, CLASSES).eval()  # type: ignore[arg-type]
    pixels, widths = torch.randint(0, 256, (2, 1, height, 45), dtype=torch.uint8), torch.tensor([45, 3])
    logits, frames = model(pixels, widths)
    assert logits.shape == (2, 12, CLASSES) and frames.tolist() == [12, 1] and logits.isfinite().all()
    rebuilt = models.build(models.architecture(model), CLASSES)
    assert rebuilt.config == config


def test_rows_are_turned_over_each_for_itself() -> None:
    x = torch.arange(1.0, 9).view(2, 4, 1)
    over = reverse_sequences(x, torch.tensor([3, 1]))
    assert over.flatten().tolist() == [3, 2, 1, 4, 5, 6, 7, 8]
    assert torch.equal(reverse_sequences(over, torch.tensor([3, 1])), x)


@pytest.mark.parametrize("name", ["tiny-teacher", "student-xs", "tiny-hybrid"])
def test_a_line_is_the_same_alone_and_beside_longer_lines(name: str) -> None:
    """Every width residue modulo the stride, the narrowest lines included, with garbage as padding."""
    model = perturbed(name)
    height = PRESETS[name].height
    generator = torch.Generator().manual_seed(1)
    widths = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 101, 102, 103, 104, 257])
    pixels = torch.randint(0, 256, (len(widths), 1, height, 300), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        together, frames = model(pixels, widths)
        for row, width in enumerate(widths.tolist()):
            alone, [count] = model(pixels[row : row + 1, :, :, :width], widths[row : row + 1])
            assert count == frames[row] == max(1, -(-width // models.STRIDE))
            torch.testing.assert_close(together[row, :count], alone[0, :count], atol=1e-4, rtol=0)


def test_sums_over_columns_are_the_same_in_every_batch_to_the_last_bit() -> None:
    """What INT8 and FP16 round further on must not depend on how wide the batch is."""
    generator = torch.Generator().manual_seed(2)
    excite = SqueezeExcite(16)
    for width in (1, 5, 104, 517, 2047):
        pixels = torch.randint(0, 256, (1, 1, 48, 4200), generator=generator, dtype=torch.uint8)
        features = torch.randn(1, 16, 6, 4200, generator=generator)
        for wider in (width + 3, 2 * width + 77):
            valid = torch.tensor([width])
            alone, beside = (standardize_ink(pixels[..., :end], valid, 4)[0] for end in (width, wider))
            assert torch.equal(alone[..., :width], beside[..., :width]) and not beside[..., width:].any()
            alone, beside = (
                excite(features[..., :end], column_mask(valid, end)[:, None, None]) for end in (width, wider)
            )
            assert torch.equal(alone, beside)


def test_squeeze_and_excitation_is_the_mean_and_learns_through_it() -> None:
    torch.manual_seed(3)
    excite, x = SqueezeExcite(16), torch.randn(2, 16, 6, 50, requires_grad=True)
    mean = x.mean((2, 3)) * GATE_GAIN
    expected = 2 * torch.sigmoid(excite.up(torch.relu(excite.down(mean))))
    found = excite(x, torch.ones(2, 1, 1, 50))
    torch.testing.assert_close(found[:, :, 0, 0], expected, atol=1e-3, rtol=0)
    [plain], [passed] = (torch.autograd.grad(y.square().sum(), x) for y in (expected, found))
    torch.testing.assert_close(passed, plain, atol=1e-5, rtol=1e-2)


@pytest.mark.parametrize("name", ["tiny-teacher", "tiny-hybrid"])
def test_folding_keeps_the_logits(name: str) -> None:
    model = perturbed(name)
    pixels, widths = torch.randint(0, 256, (2, 1, 32, 96), dtype=torch.uint8), torch.tensor([96, 50])
    with torch.inference_mode():
        before = model(pixels, widths)[0]
        torch.testing.assert_close(fuse(model)(pixels, widths)[0], before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny-student", "tiny-hybrid"])
def test_blank_and_black_lines_stay_finite(name: str) -> None:
    model = perturbed(name)
    for grey in (0, 255):
        logits, _ = model(torch.full((1, 1, 32, 40), grey, dtype=torch.uint8), torch.tensor([40]))
        assert logits.isfinite().all()


def test_student_is_within_its_compute_budget() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        models.create("student", CLASSES)(torch.zeros(1, 1, 64, 512, dtype=torch.uint8), torch.tensor([512]))
    assert counter.get_total_flops() < 1.5e9


def test_unknown_names_and_sizes_are_refused() -> None:
    with pytest.raises(HtrError, match="giant"):
        models.create("giant", CLASSES)
    sizes = models.architecture(models.create("student-xs", CLASSES))
    for odd in ({"family": "rnn"}, {"layers": 10**9}, {"dim": -1}, {"heads": 7}, {"depth": 3}, {"height": "64"}):
        with pytest.raises(HtrError):
            models.build({**sizes, **odd}, CLASSES)
    sizes = models.architecture(models.create("tiny-hybrid", CLASSES))
    for odd in ({"patches": [0, 8]}, {"layers": 10**4}, {"heads": 0}, {"channels": [8, 16]}, {"blocks": [1, 0, 1]}):
        with pytest.raises(HtrError):
            models.build({**sizes, **odd}, CLASSES)


@pytest.mark.parametrize("size", [1.0, 40.0, 4000.0])
def test_masked_means_are_exact_whatever_the_size_of_the_activations(size: float) -> None:
    """FP32 holds whole numbers up to 2^24: a plain sum of 1,024 columns passes that from a mean of 16 on."""
    columns = (torch.randn(1, 8, 1024, generator=torch.Generator().manual_seed(4)).abs() * size * 1024).round()
    exact = columns.double().sum(2).float()
    for order in range(3):
        shuffled = columns[..., torch.randperm(1024, generator=torch.Generator().manual_seed(order))]
        assert torch.equal(exact_sum(shuffled, 2), exact)
    if exact.max() < 2**24:
        assert torch.equal(columns.sum(2), exact)
