"""Lists the models that can be read with by name: `htrcompress models`, or `htrcompress models hf://owner/repository`."""

from dataclasses import dataclass
from typing import Any

from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import read_source
from htrcompress.catalogue.index import PACKAGED, Entry, LanguageEntry
from htrcompress.cli import run_command


@dataclass(frozen=True)
class Models:
    """The models of a catalogue.

    Attributes:
        default: the one that reads where none is named; None if it is in another catalogue.
        models: see `Entry`, by name.
        language_models: see `LanguageEntry`, by name.
    """

    default: str | None
    models: list[Entry]
    language_models: list[LanguageEntry]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Column, Table
        from rich.text import Text

        name, *whole = (Column(heading, no_wrap=True) for heading in ("model", "measured on", "CER % (95 %)"))
        table = Table(name, "languages", "KiB", "lines/s", *whole)
        notes = []
        for entry in self.models:
            speed = f"{entry.speed['lines_per_second']:.0f}" if entry.speed else ""
            cells = [entry.name, ", ".join(entry.languages), f"{entry.bytes / 1024:.0f}", speed]
            for split, rate in _rates(entry) or [("", "")]:
                table.add_row(*map(Text, (*cells, split, rate)))
                cells = [""] * len(cells)
            table.add_section()
            about = f"{entry.name}{' (the default)' * (entry.name == self.default)}: {entry.reads}"
            notes.append(f"{about}; {entry.parameters / 1e6:.2f} M parameters; {entry.licence}{_measured(entry)}")
        if not self.language_models:
            return Group(table, *map(Text, notes))
        name, *whole = (Column(heading, no_wrap=True) for heading in ("language model", "with", "measured on", "CER %"))
        second = Table(name, "languages", "KiB", *whole)
        for language in self.language_models:
            cells = [language.name, ", ".join(language.languages), f"{language.bytes / 1024:.0f}"]
            for split, row in language.metrics.items() or [("", None)]:
                rate = f"{100 * row['greedy']:.2f} -> {100 * row['cer']:.2f}" if row else ""
                second.add_row(*map(Text, (*cells, row["model"] if row else "", split, rate)))
                cells = [""] * len(cells)
            second.add_section()
            notes.append(f"--lm {language.name}: {language.reads}; n-grams of {language.order}; {language.licence}")
        return Group(table, second, *map(Text, notes))


def _rates(entry: Entry) -> list[tuple[str, str]]:
    """Each split that a model was measured on, and its error rate there."""
    found = []
    for split, row in entry.metrics.items():
        low, high = row["interval"]
        rate = f"{100 * row['cer']:.2f} ({100 * low:.2f} to {100 * high:.2f})"
        found.append((split, rate))
    return found


def _measured(entry: Entry) -> str:
    return f"; lines/s: {entry.speed['measured']}" if entry.speed else ""


@dataclass(frozen=True)
class ModelsOptions:
    """Lists the models that have a name: what they read, their error rates, sizes, speeds and licences."""

    source: str | None = None
    """A folder, an https address or a Hub repository (hf://owner/repository) with an index of models; those inside the
    package if not given."""


def models(options: ModelsOptions) -> Models:
    """Lists the models of a catalogue.

    Raises:
        HtrError: the source has no index, or cannot be fetched.
    """
    source = options.source or str(PACKAGED)
    entries, languages = read_source(source, Entry), read_source(source, LanguageEntry)
    return Models(
        None if options.source else DEFAULT,
        [entry for _, entry in sorted(entries.items())],
        [entry for _, entry in sorted(languages.items())],
    )


if __name__ == "__main__":
    run_command(models, positional="source")
