"""Writes `docs/api.md`, the reference of the Python API, from the docstrings: `python tools/api.py`.

The page is plain Markdown, so that it reads well unbuilt too; `make test` fails where it and the code differ. griffe
(`pip install "htrcompress[docs]"`) reads the sources without importing them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"
HEAD = """# Python reference

Written by `python tools/api.py` from the docstrings; [from Python](python-api.md) shows how the pieces go together. The
names of the first sections can be imported from `htrcompress` itself where their heading says so. B is the number of
lines in a batch, H and W are height and width in pixels, T is the number of frames, C that of classes, the blank
included.
"""
SECTIONS = {
    "Reading lines": (
        "runtime.loading: load; runtime.recognizer: Recognizer Reading; runtime.spans: Span; errors: HtrError"
    ),
    "Decoders": (
        "decoding.language: LanguageOptions; decoding.beam: BeamOptions; decoding.attention: AttentionOptions; "
        "decoding.matrix: decode_matrix MatrixReading"
    ),
    "Measuring": "metrics: cer wer; charset: Charset",
    "Datasets and pages": (
        "data.readers.open: open_dataset; data.lines: Dataset Line; pages.files: read_page fill_page; "
        "pages.page: Page PageLine Reading"
    ),
    "Model files": "models.serialization: load_model load_card save_model; card: Card",
    "Commands": (
        "train: train TrainOptions TrainResult; distill: distill DistillOptions DistillResult; "
        "prune: prune PruneOptions PruneResult; evaluate: evaluate EvaluateOptions Evaluation; "
        "export.commands: export verify; export.options: ExportOptions VerifyOptions; "
        "export.results: ExportResult; export.verification: Verification; "
        "lm: make_language_model LmOptions LmResult; calibrate: calibrate CalibrateOptions CalibrateResult; "
        "config: TrainConfig AugmentConfig AuxConfig AttentionConfig DistillConfig LlmConfig"
    ),
    "Interfaces of parts": (
        "data.readers.base: Reader; models.base: LineRecognizer Encoding; decoding.base: Decoder Hypothesis; "
        "training.losses: AuxiliaryLoss LossTerm; compression.base: CompressionPass; runtime.backend: Backend Output; "
        "export.targets.base: ExportTarget"
    ),
}
"""Headings of the page, and under each the modules below `htrcompress` with the names that are shown of them."""
LONGEST = 100
"""A signature that is longer has a line for each parameter."""


@dataclass(frozen=True)
class ApiOptions:
    """Writes the reference of the Python API from the docstrings."""

    out: Path = PAGE
    """The page."""


@dataclass(frozen=True)
class Reference:
    """A page that was written."""

    path: Path

    def __rich__(self) -> str:
        return f"written: {self.path}"


def write(options: ApiOptions) -> Reference:
    """Writes the page.

    Raises:
        HtrError: griffe is not installed, or something that the page shows is not there or has no docstring.
    """
    write_atomic(options.out, page().encode())
    return Reference(options.out)


def page() -> str:
    """The whole page."""
    if find_spec("griffe") is None:
        raise HtrError('reading the docstrings needs griffe: pip install "htrcompress[docs]"')
    import griffe

    package = griffe.load(
        "htrcompress", search_paths=[ROOT], docstring_parser="google", docstring_options={"warnings": False}
    )
    assert isinstance(package, griffe.Module)
    public = {str(name).strip("'") for name in getattr(package["__all__"].value, "elements", ())}
    parts = [HEAD]
    for heading, listed in SECTIONS.items():
        parts.append(f"## {heading}\n")
        for entry in listed.split("; "):
            module, _, names = entry.partition(": ")
            for name in names.split():
                parts.append("\n".join(_described(package[f"{module}.{name}"], name in public)))
    return "\n".join(parts)


def _described(item: Any, is_public: bool) -> Iterator[str]:
    """The lines of a class or a function: heading, signature, docstring, and the methods of a class."""
    yield f"### {_name(item, is_public)}\n"
    yield from _code(item)
    yield from _docstring(item)
    if item.is_class:
        yield from _fields(item)
        for member in item.members.values():
            if member.name.startswith("_") or not member.docstring or _is_field(member):
                continue
            yield f"#### {item.name}.{member.name}\n"
            yield from _code(member)
            yield from _docstring(member)


def _name(item: Any, is_public: bool) -> str:
    return f"htrcompress.{item.name}" if is_public else item.path


def _is_field(member: Any) -> bool:
    return member.is_attribute and "property" not in member.labels


def _code(item: Any) -> Iterator[str]:
    """The signature, on one line or a parameter a line; that of a dataclass is in the list of its fields."""
    if item.is_attribute:
        yield f"`{item.annotation}`\n"
        return
    if item.is_class and ("dataclass" in item.labels or "__init__" not in item.members):
        return
    parameters = list(item.parameters)
    if item.parent.is_class or item.is_class:
        parameters = [parameter for parameter in parameters if parameter.name not in ("self", "cls")]
    words, starred = [], False
    for parameter in parameters:
        if parameter.kind and parameter.kind.value == "keyword-only" and not starred:
            words.append("*")
            starred = True
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        words.append(f"{parameter.name}{annotation}" + (f" = {parameter.default}" if parameter.default else ""))
    gives = f" -> {item.returns}" if not item.is_class and item.returns else ""
    text = f"{item.name}({', '.join(words)}){gives}"
    if len(text) > LONGEST:
        text = f"{item.name}(\n    " + ",\n    ".join(words) + f",\n){gives}"
    yield f"```python\n{text}\n```\n"


def _docstring(item: Any) -> Iterator[str]:
    """The sections of a docstring.

    Raises:
        HtrError: there is none.
    """
    if not item.docstring:
        raise HtrError(f"{item.path} has no docstring, and docs/api.md shows it")
    for section in item.docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            yield f"{section.value}\n"
        elif kind == "raises":
            yield "\n".join(f"Raises `{row.annotation}`: {_flowing(row.description)}" for row in section.value) + "\n"
        elif kind in ("returns", "yields"):
            yield f"{kind.capitalize()} " + " ".join(_flowing(row.description) for row in section.value) + "\n"
        elif kind in ("parameters", "attributes"):
            if kind == "attributes" and "__init__" in item.members and "dataclass" not in item.labels:
                yield "Attributes:\n"
            yield "\n".join(_row(row, kind == "attributes") for row in section.value) + "\n"
        else:
            raise HtrError(f"{item.path}: tools/api.py does not know the section '{kind}' of a docstring")


def _row(row: Any, is_typed: bool) -> str:
    """A parameter, whose type is in the signature, or an attribute with its type; or several, `start, end: text`."""
    name, annotation = row.name, str(row.annotation or "")
    if name.endswith(","):  # griffe takes the second name for a type
        name, annotation = f"{name} {annotation}", ""
    name = "`, `".join(name.split(", ")) + (f": {annotation}" if is_typed and annotation else "")
    return f"- `{name}`: {_flowing(row.description)}"


def _fields(item: Any) -> Iterator[str]:
    """The fields of a dataclass of options, each described by the docstring under it."""
    rows = []
    for member in item.members.values():
        if _is_field(member) and member.docstring and not member.name.startswith("_"):
            default = f" = {member.value}" if member.value is not None else ""
            rows.append(f"- `{member.name}: {member.annotation}{default}`: {_flowing(member.docstring.value)}")
    if rows:
        yield "\n".join(rows) + "\n"


def _flowing(text: str) -> str:
    """Text without the line breaks of a docstring."""
    return re.sub(r"\s*\n\s*", " ", text.strip())


if __name__ == "__main__":
    run_command(write)
