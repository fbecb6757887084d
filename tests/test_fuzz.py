"""The fuzzer itself: its good files are good, and a few damaged ones of each kind are read or refused."""

import random
import sys
from pathlib import Path

import pytest
from fuzz_damage import damage
from fuzz_kinds import KINDS, made, out_of_memory

from htrcompress.errors import HtrError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the damage needs named pipes and links")
@pytest.mark.parametrize("name", KINDS)
def test_good_files_are_read_and_damaged_ones_at_least_refused(name: str, tmp_path: Path) -> None:
    [good] = made(tmp_path, [name])
    KINDS[name].read(good)
    others = [file for file in good.rglob("*") if file.is_file()]
    for number in range(3):
        [root] = made(tmp_path / str(number), [name])
        damage(random.Random(f"{name}/{number}"), root, others)
        try:
            KINDS[name].read(root)
        except HtrError as error:
            assert error.__cause__ is None and not out_of_memory(error)
