"""Puts a language model into a catalogue: `python tools/shelve_language.py FILE.ngram --reads "letters"`.

    python tools/shelve_language.py models/latin.ngram --measured ngrams:latin --out models \
        --reads "training texts of six corpora" --languages fr,en

Its figures are those of a committed result of `benchmarks/studies/ngrams.py`; what they say stands in the index of the
catalogue (`tools/shelve.py`), and users read with it by name: `--lm NAME`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER
from htrcompress.catalogue.download import sha256_of
from htrcompress.catalogue.index import INDEX, PACKAGED, Entry, LanguageEntry, index_bytes, read_folder, read_index
from htrcompress.cli import run_command
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic


@dataclass(frozen=True)
class ShelveLanguageOptions:
    """Puts a language model into a catalogue under a name."""

    file: Path | None = None
    """The .ngram file."""
    name: str | None = None
    """The name that users will type; the file's if not given."""
    reads: str | None = None
    """What texts it was made of, in a few words."""
    languages: str | None = None
    """Codes of the languages, with commas between, such as fr,en."""
    licence: str | None = None
    """With the attributions that the texts ask for; what the file says if not given."""
    measured: str | None = None
    """A committed result of benchmarks/studies/ngrams.py and a model in it, such as ngrams:latin-s; without it no
    figures are shown."""
    out: Path = PACKAGED
    """The catalogue's folder; the package's own if not given."""


def shelve_language(options: ShelveLanguageOptions) -> LanguageEntry:
    """Puts a language model into a catalogue under a name.

    Raises:
        HtrError: an option is missing, the file cannot be used, or the result is of another file.
    """
    for flag in ("file", "reads", "languages"):
        if getattr(options, flag) is None:
            raise HtrError(f"--{flag} is missing: the index says it for every language model")
    assert options.file and options.reads and options.languages
    model, content = load_ngram(options.file), options.file.read_bytes()
    name = options.name or options.file.stem
    licence = options.licence or model.settings.get("licence")
    if licence is None:
        raise HtrError(f"--licence is missing, and {options.file} says nothing of it")
    entry = LanguageEntry(
        name=name,
        file=f"{name}.ngram",
        sha256=sha256_of(content),
        bytes=len(content),
        reads=options.reads,
        languages=tuple(options.languages.split(",")),
        licence=licence,
        order=model.order,
        metrics=_metrics(options.measured, options.file) if options.measured else {},
    )
    known = (options.out / INDEX).is_file()
    entries = read_folder(options.out, Entry) if known else {}
    languages = read_folder(options.out, LanguageEntry) if known else {}
    index = index_bytes(entries, {**languages, name: entry})
    read_index(index, str(options.out / INDEX), LanguageEntry)
    write_atomic(options.out / entry.file, content)
    write_atomic(options.out / INDEX, index)
    return entry


def _metrics(measured: str, file: Path) -> dict[str, Any]:
    """What a committed result says of a language model beside one of its models, at the default beam."""
    result_name, _, model_name = measured.partition(":")
    try:
        result = json.loads((FOLDER / f"{result_name}.json").read_text(encoding="utf-8"))
    except OSError:
        raise HtrError(f"--measured {measured}: there is no result {result_name} in {FOLDER}") from None
    if result.get("kind") != "ngrams":
        raise HtrError(f"--measured {measured}: {result_name} is no result of benchmarks/studies/ngrams.py")
    same = {"file": file.name, "bytes": file.stat().st_size}
    lms = [lm for lm, row in result["lms"].items() if same.items() <= row.items()]
    models = [row for row in result["models"].values() if row["name"] == model_name]
    if not lms or not models:
        raise HtrError(f"--measured {measured}: {result_name} has no row of {model_name} with this {file.name}")
    decoders = models[0]["decoders"]
    found, greedy = decoders[f"beam, {lms[0]}"]["scores"], decoders["greedy"]["scores"]
    return {
        split: {
            "model": model_name,
            "greedy": greedy[split]["cer"],
            **{key: found[split][key] for key in ("cer", "wer", "interval")},
            **result["splits"][split],
        }
        for split in result["splits"]
    }


if __name__ == "__main__":
    run_command(shelve_language, positional="file")
