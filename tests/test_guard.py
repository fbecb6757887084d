"""The guard of INT8: it does not vouch on few lines, nor on those that the mixture was chosen on."""

import numpy as np
import pytest
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.data.prepare import EncodedLines
from htrcompress.errors import Refused
from htrcompress.export.accuracy_guard import Guard
from htrcompress.runtime.backend import Output

LETTERS = "abcdefgh"
LENGTH, LIMIT = 30, 0.002


class Reading:
    """A back end that reads what is written into the pixels, and each character wrongly at a given rate."""

    max_batch = max_width = float("inf")
    num_streams, name, device, arithmetic = 1, "stand-in", "cpu", "INT8"

    def __init__(self, rate: float, seed: int = 0):
        self.card = Card("x", {}, tuple(LETTERS), height=16, stride=1, max_width=4096)
        self.rate, self.random = rate, np.random.default_rng(seed)

    def run(self, pixels: NDArray[np.uint8], widths: NDArray[np.int32]) -> Output:
        labels = pixels[:, 0, 0, :].astype(np.int32)
        wrong = self.random.random(labels.shape) < self.rate
        labels = np.where(wrong, labels % len(LETTERS) + 1, labels)
        return Output(labels, widths.copy(), np.zeros(len(widths), np.float32))

    def stream(self) -> "Reading":
        return self


def lines(count: int) -> EncodedLines:
    """Lines whose pixels are their labels."""
    random, charset = np.random.default_rng(1), Charset(tuple(LETTERS))
    labels = random.integers(1, len(LETTERS) + 1, (count, LENGTH))
    texts = [charset.decode(row) for row in labels.tolist()]
    images = [np.repeat(row[None].astype(np.uint8), 16, 0) for row in labels]
    return EncodedLines(images, labels.tolist(), texts, [str(i) for i in range(count)])


@pytest.fixture(autouse=True)
def one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels that are labels cannot be slanted."""
    monkeypatch.setattr("htrcompress.export.accuracy_guard.versions", lambda examples, stride: [examples])


def test_a_useless_quantiser_is_not_vouched_for_however_often_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its true rise is the limit. Chance gives it twelve looks at the lines that the mixture is chosen on, and one at
    those that vouch."""
    monkeypatch.setattr("htrcompress.metrics.RESAMPLES", 300)
    some, chosen, passed = lines(200), 0, 0
    for trial in range(16):
        guard = Guard(Reading(0.05, trial), some, LIMIT, 100)
        candidates = [(number, Reading(0.05 + LIMIT, 1000 * (trial + 1) + number)) for number in range(12)]
        chosen += any(guard._rise(0, backend)[1] <= LIMIT for _, backend in candidates)
        passed += guard.select(candidates) is not None
    assert chosen >= 2 and passed <= 1, (chosen, passed)


def test_a_quantiser_that_changes_nothing_passes_and_says_on_how_many_lines() -> None:
    guard = Guard(Reading(0.0), lines(101), LIMIT, 100)
    selected = guard.select([("none", Reading(0.0))])
    assert selected is not None
    assert (selected[1].lines, selected[1].available, selected[1].rise) == (50, 101, 0)
    assert guard.select([("all", Reading(0.1))]) is None and guard.select([]) is None


def test_few_lines_vouch_for_nothing() -> None:
    with pytest.raises(Refused, match=r"100 .* 99.*--min-guard-lines"):
        Guard(Reading(0.0), lines(99), LIMIT, 100)
    for count in (1, 2):
        guard = Guard(Reading(0.0), lines(count), LIMIT, 1)
        assert guard.select([(0, Reading(0.0))]) is not None
