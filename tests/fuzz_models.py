"""What `fuzz.py` damages among models: trained and exported files, their cards, engines' documents, catalogues.

Torch and ONNX Runtime are imported by the functions that need them, since a worker starts anew after every crash.
"""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from htrcompress.card import CARD_KEY, Card
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.download import sha256_of
from htrcompress.catalogue.find import locate
from htrcompress.catalogue.index import INDEX, Entry, LanguageEntry, index_bytes
from htrcompress.data.folders import files_in
from htrcompress.errors import HtrError

CHARSET = tuple(" abcdefghij")
WIDE = 120


@cache
def _network() -> bytes:
    """A small network with its attention decoder as a trained file, made once in a process."""
    import torch

    from htrcompress.models.attention import AttentionDecoder, AttentionSizes
    from htrcompress.models.gated import GatedConfig, GatedRecognizer
    from htrcompress.models.serialization import save_model

    torch.manual_seed(1)
    network = GatedRecognizer(GatedConfig(16, (4, 8, 8, 12), (1, 1, 0), 24, layers=1, heads=2), len(CHARSET) + 1)
    decoder = AttentionDecoder(AttentionSizes(1, 24, 2), 24, len(CHARSET) + 1)
    card = Card("small", {}, CHARSET, 16, 4, 800, metrics={"a/test": {"cer": 0.5}}, licence="CC0-1.0, é")
    with TemporaryDirectory(prefix="htrcompress-") as scratch:
        file = Path(scratch) / "a.safetensors"
        save_model(file, network.eval(), card, decoder.eval())
        return file.read_bytes()


def trained(root: Path) -> None:
    """A trained model."""
    (root / "a.safetensors").write_bytes(_network())


def exported(root: Path) -> None:
    """An exported model, the one in the package."""
    (root / "b.onnx").write_bytes(locate(DEFAULT).read_bytes())


def card(root: Path) -> None:
    """The card of a model."""
    data = _network()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    (root / "card.json").write_text(header["__metadata__"][CARD_KEY], encoding="utf-8")


def document(root: Path) -> None:
    """The document beside an engine, and the engine."""
    from htrcompress.runtime.engine_file import write_document

    engine = root / "a.engine"
    engine.write_bytes(b"engine")
    digest = "1218ccfe4edcdfa4c54b39f6e2a97acfb9c6d80a52e6cefbb4fee2bf3b6b7a1e"
    write_document(
        engine, Card("small", {}, CHARSET, 16, 4, 800), {"runtime": "tensorrt", "version": "10", "sha256": digest}
    )


def catalogue(root: Path) -> None:
    """A catalogue of one model."""
    exported(root)
    data = (root / "b.onnx").read_bytes()
    scores = {"a/test": {"cer": 0.5, "interval": [0.4, 0.6], "lines": 4, "hash": "0"}}
    speed = {"lines_per_second": 10, "measured": "never"}
    known = {"tiny": Entry("tiny", "b.onnx", sha256_of(data), len(data), "é", ("fr",), "CC0-1.0", 5, scores, speed)}
    written = {"model": "tiny", "greedy": 0.5, "cer": 0.4, "interval": [0.3, 0.5], "lines": 4}
    words = LanguageEntry("words", "c.ngram", "0" * 64, 9, "é", ("fr",), "CC0-1.0", 3, {"a/test": written})
    (root / INDEX).write_bytes(index_bytes(known, {"words": words}))


def read_trained(root: Path) -> None:
    """Loads trained models, gives them another card, and reads a line."""
    from htrcompress.models.serialization import copy_with_card, load_card, load_model

    for file in sorted(files_in(root)):
        copy = root.with_name("copy.safetensors")
        copy_with_card(file, copy, load_card(file))
        _both(load_model, file, copy)
        _transcribe(file)


def _both(load_one: Callable[[Path], object], file: Path, copy: Path) -> None:
    """Loads a file, and a copy, which must not be refused where the file is not."""
    load_one(file)
    try:
        load_one(copy)
    except HtrError as error:
        raise AssertionError("a copy with the same card is refused") from error


def read_exported(root: Path) -> None:
    """Loads exported models and reads a line, greedily and by beam search."""
    for file in sorted(files_in(root)):
        _transcribe(file)


def _transcribe(model: Path) -> None:
    from htrcompress.runtime import load
    from htrcompress.transcribe import TranscribeOptions, transcribe

    line = model.parent.with_name("line.png")
    Image.fromarray(np.arange(16 * WIDE, dtype=np.uint8).reshape(16, WIDE)).save(line)
    with redirect_stdout(io.StringIO()):
        transcribe(TranscribeOptions([line], model, threads=1))
    with load(model, threads=1, decoder="beam") as recognizer:  # which raises what `transcribe` puts into a sentence
        [reading] = recognizer.read([line])
        assert set(reading.text) <= set(recognizer.card.charset)


def read_cards(root: Path) -> None:
    """Reads cards, and models that carry them."""
    from safetensors.numpy import load, save

    from htrcompress.models.serialization import load_model

    for file in sorted(files_in(root)):
        if file.is_symlink():  # to what no model would be read from
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        read = Card.from_json(text, str(file))
        assert Card.from_json(read.to_json(), "again") == read
        model = root.with_name("model.safetensors")
        model.write_bytes(save(load(_network()), {CARD_KEY: text}))
        load_model(model)


def read_documents(root: Path) -> None:
    """Reads what stands beside engines."""
    from htrcompress.runtime.engine_file import read_document

    for file in sorted(files_in(root)):
        if file.suffix == ".engine":
            read_document(file)


def read_catalogue(root: Path) -> None:
    """Lists the models of a catalogue and reads a line with each."""
    from rich.console import Console

    from htrcompress.catalogue.__main__ import ModelsOptions, models

    listed = models(ModelsOptions(str(root)))
    Console(file=io.StringIO(), width=80).print(listed)
    for entry in listed.models:
        _transcribe(locate(root / entry.name))
