"""What stands beside an engine in `model.engine.json`: the card, what built it, and the hash that binds the two."""

import hashlib
import json
from pathlib import Path
from typing import Any

from htrcompress.card import Card
from htrcompress.errors import HtrError

EXTRA = {"tensorrt-rtx": "rtx-run", "tensorrt": "tensorrt"}
"""Which extra installs the runtime of an engine."""


def read_document(path: Path) -> tuple[Card, dict[str, Any]]:
    """The card of an engine, and how it was built: `runtime`, `version`, and where it has one, its `plugin`.

    Raises:
        HtrError: the `.json` beside the engine is missing or damaged.
    """
    beside = Path(f"{path}.json")
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        card = Card.from_json(json.dumps(document["card"]), str(beside))
        built = document["engine"]
        texts = [built[name] for name in ("runtime", "version", "sha256")] + [built.get("plugin") or ""]
        if not all(isinstance(text, str) for text in texts) or built["runtime"] not in EXTRA:
            raise ValueError
        if Path(texts[-1]).name != texts[-1]:
            raise ValueError  # the plugin is code, and is taken from beside the engine alone
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HtrError(f"{beside} is missing or damaged, and with it the card: export the model again") from None
    return card, built


def read_plan(path: Path, built: dict[str, Any]) -> bytes:
    """The engine, of which its document must tell.

    Raises:
        HtrError: it cannot be read, is damaged, or is another engine.
    """
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise HtrError(f"cannot read {path}: {error.strerror}") from None
    if hashlib.sha256(plan).hexdigest() != built["sha256"]:
        raise HtrError(f"{path} is damaged, or not the engine that the .json beside it tells of: export it again")
    return plan
