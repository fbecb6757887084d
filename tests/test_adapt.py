"""A trained network with other characters: what it keeps, what it learns, what is refused."""

from pathlib import Path

import pytest
import torch

from htrcompress.charset import Charset
from htrcompress.errors import HtrError
from htrcompress.models.charset_transfer import choose_charset, common_charset, set_charset
from htrcompress.models.serialization import load_model

SMALL, LARGE, OTHER = (Charset(tuple(text)) for text in ("abc", "abcd", "bcé"))


def test_the_users_choice_decides() -> None:
    assert choose_charset(SMALL, OTHER, "keep") == SMALL
    assert choose_charset(SMALL, OTHER, "replace") == OTHER
    assert choose_charset(SMALL, OTHER, "union").characters == ("a", "b", "c", "é")
    assert choose_charset(LARGE, SMALL, None) == LARGE  # it knows them all
    assert choose_charset(LARGE, OTHER, None).characters == ("a", "b", "c", "d", "é")


def test_marks_that_would_compose_stay_apart() -> None:
    marked = choose_charset(Charset(("\u0301",)), Charset(("e",)), "union")
    assert marked.characters == ("e", "\u0301")


def test_teacher_and_lines_agree_on_the_larger_set() -> None:
    assert common_charset(SMALL, LARGE) == common_charset(LARGE, SMALL) == LARGE
    with pytest.raises(HtrError, match=r"'a' 'd'.*'é'"):
        common_charset(LARGE, OTHER)


@pytest.mark.parametrize("trainable", [True, False])
def test_known_characters_keep_their_logits(tiny_model: Path, trainable: bool) -> None:
    model, card = load_model(tiny_model)
    pixels, widths = torch.randint(0, 255, (2, 1, 32, 80), dtype=torch.uint8), torch.tensor([80, 61])
    with torch.no_grad():
        before, _ = model(pixels, widths)
        after_charset = Charset(tuple(sorted([*card.charset[3:], "é", "!"])))
        set_charset(model, card.characters(), after_charset, trainable)
        after, _ = model(pixels, widths)
    assert after.shape[2] == after_charset.classes
    torch.testing.assert_close(after[..., 0], before[..., 0])
    for character in card.charset[3:]:
        new, old = after_charset.encode(character)[0], card.characters().encode(character)[0]
        torch.testing.assert_close(after[..., new], before[..., old])
    unseen = after[..., after_charset.encode("é")[0]]
    assert (unseen < -10_000).all() if not trainable else (unseen > -100).all()
