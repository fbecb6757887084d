"""Puts a model file into a catalogue: `python tools/shelve.py MODEL.onnx --data DIR --reads "letters" --languages fr`.

The file reads every test split of the data, and its figures, size, checksum and licence go into the catalogue's index.
The catalogue inside the package is `htrcompress/catalogue/files`; any other folder can be put onto a web server or into
a Hub repository, and its models are then read with by name.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER
from benchmarks.splits import Split, test_splits
from htrcompress.catalogue.download import sha256_of
from htrcompress.catalogue.index import INDEX, PACKAGED, Entry, LanguageEntry, index_bytes, read_folder, read_index
from htrcompress.cli import run_command
from htrcompress.data.readers.open import open_dataset, read_config
from htrcompress.errors import HtrError
from htrcompress.models.registry import build
from htrcompress.runtime import load
from htrcompress.runtime.backend import precision_of
from htrcompress.utils.io import write_atomic
from tools.publish import measure

LARGEST_PACKAGED = 3 << 20
"""Bytes of all model files inside the package."""


@dataclass(frozen=True)
class ShelveOptions:
    """Measures a model file on test splits and puts it into a catalogue under a name."""

    model: Path | None = None
    """The .onnx or .safetensors file."""
    name: str | None = None
    """The name that users will type; the card's if not given."""
    data: str | None = None
    """The dataset on whose test splits the file is measured, or several with commas between."""
    reads: str | None = None
    """What the model was trained to read, in a few words."""
    languages: str | None = None
    """Codes of the languages, with commas between, such as fr,en."""
    licence: str | None = None
    """Of the weights, with the attributions that the data asks for; what the file's card says if not given."""
    timed: str | None = None
    """A committed result of benchmarks/studies/corpora.py and a model in it, such as corpora:latin-s, for lines/s."""
    out: Path = PACKAGED
    """The catalogue's folder; the package's own if not given."""


def shelve(options: ShelveOptions) -> Entry:
    """Measures a model file on test splits and puts it into a catalogue under a name.

    Raises:
        HtrError: an option is missing, the file cannot be used, or it is too large for the package.
    """
    for flag in ("model", "data", "reads", "languages"):
        if getattr(options, flag) is None:
            raise HtrError(f"--{flag} is missing: the index says it for every model")
    assert options.model and options.data and options.reads and options.languages
    if options.model.suffix not in Entry.SUFFIXES:
        raise HtrError(f"{options.model} cannot be in a catalogue: give a {' or '.join(Entry.SUFFIXES)} file")
    recognizer = load(options.model, device="cpu")
    card = recognizer.card
    content, name = options.model.read_bytes(), options.name or card.name
    precision = precision_of(options.model)
    mark = "" if precision == "FP32" else f".{precision.lower()}"
    entry = Entry(
        name=name,
        file=f"{name}{mark}{options.model.suffix}",
        sha256=sha256_of(content),
        bytes=len(content),
        reads=options.reads,
        languages=tuple(options.languages.split(",")),
        licence=options.licence or card.licence,
        parameters=sum(p.numel() for p in build(card.architecture, len(card.charset) + 1).parameters()),
        metrics={
            f"{dataset.name}/{name}": measure(recognizer, Split(dataset, name))
            for dataset in (open_dataset(one, read_config(card)) for one in options.data.split(","))
            for name in test_splits(dataset)
        },
        speed=_speed(options.timed, options.model, precision) if options.timed else {},
    )
    known = (options.out / INDEX).is_file()
    entries = {**(read_folder(options.out, Entry) if known else {}), name: entry}
    if options.out == PACKAGED and sum(e.bytes for e in entries.values()) > LARGEST_PACKAGED:
        raise HtrError(f"{options.model} makes the package's models larger than {LARGEST_PACKAGED >> 20} MiB")
    index = index_bytes(entries, read_folder(options.out, LanguageEntry) if known else {})
    read_index(index, str(options.out / INDEX), Entry)
    write_atomic(options.out / entry.file, content)
    write_atomic(options.out / INDEX, index)
    return entry


def _speed(timed: str, model: Path, precision: str) -> dict[str, Any]:
    """What a committed result says of a file's speed."""
    name, _, row_name = timed.partition(":")
    try:
        result = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    except OSError:
        raise HtrError(f"--timed {timed}: there is no result {name} in {FOLDER}") from None
    if result.get("kind") != "corpora":
        raise HtrError(f"--timed {timed}: {name} is no result of benchmarks/studies/corpora.py")
    for row in result["rows"]:
        if (row["name"], row["precision"]) == (row_name, precision) and Path(row["file"]).suffix == model.suffix:
            runtime = "PyTorch" if model.suffix == ".safetensors" else "ONNX Runtime"
            measured = f"{runtime} on {result['settings']['threads']} threads of an {result['machine']}, image files"
            return {"lines_per_second": round(row["files"]["median"]), "measured": measured}
    raise HtrError(f"--timed {timed}: {name} has no {precision} row of a {model.suffix} file for {row_name}")


if __name__ == "__main__":
    run_command(shelve, positional="model")
