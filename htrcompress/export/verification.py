"""Proof that exports read like the model they came from; `verify.py` is the command.

The same real lines go through PyTorch and through every exported file: the CER of each with the paired interval of its
difference, the lines that read differently, the largest difference of a logit, every line alone against the same line
in a batch, and every batch size from 1 to 33 with widths from the shortest to the longest line. A file outside its
tolerance makes the command exit with status 1. Engines are executed where their TensorRT and a GPU are, and reported
as not executed elsewhere. The result goes into the card beside the model.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from htrcompress.card import CARD_KEY, Card
from htrcompress.data.readers.trained_on import open_as_trained
from htrcompress.decoding.base import Decoder
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.registry import JOINT
from htrcompress.errors import HtrError, Unavailable
from htrcompress.export.backends import HalfTorchBackend
from htrcompress.export.checks import LineSet, Reader, compare_texts
from htrcompress.export.options import VerifyOptions
from htrcompress.export.package import LANGUAGE, check_package
from htrcompress.export.results import Check, Verification
from htrcompress.export.targets.attention_files import ATTENTION
from htrcompress.models.serialization import load_card
from htrcompress.runtime import load
from htrcompress.runtime.backend import Open, exported_files, open_backend
from htrcompress.runtime.engine_file import read_document, read_plan
from htrcompress.runtime.tensorrt_backend import TensorRtBackend
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)

PLUGIN = ".plugin."
"""In the names of ONNX files that only TensorRT can run."""
REFERENCE = Open(device="cpu", logits=True)


def verify_folders(options: VerifyOptions, own_data: Callable[[Path, Card], str]) -> Verification:
    """Reads the same lines with models and with everything that was exported from them.

    Args:
        options: which, `folder` among them.
        own_data: finds what the model in a file was trained on, where `options.data` is None.

    Raises:
        HtrError: there is nothing to verify, an export does not fit its card, or no line can be read.
    """
    options.check()
    assert options.folder is not None  # the command finds the newest run
    folders = _folders(options.folder, options.model)
    checks: list[Check] = []
    dataset = None
    for place, artefact in folders.items():
        card = load_card(artefact)
        if dataset is None:
            source = own_data(artefact, card) if options.data is None else options.data
            dataset = open_as_trained(source, card)
        dataset.require_height(card.height)
        chosen = dataset.split(options.split)
        if options.lines:
            count = min(options.lines, len(chosen))
            chosen = [chosen[i * len(chosen) // count] for i in range(count)]
        own = list(_check_folder(place, artefact, LineSet(chosen, card), options))
        checks += own
        _record(place, card.without_attention(), own, dataset.identity(options.split), len(chosen))
    assert dataset is not None
    identity = dataset.identity(options.split)
    return Verification(dataset.name, options.split, identity, len(chosen), tuple(checks))


def _folders(folder: Path, model: Path | None) -> dict[Path, Path]:
    """Export folder to the model file that it came from."""
    if (folder / "card.json").is_file():
        model = model or folder.resolve().parent.parent / f"{folder.resolve().name}.safetensors"
        if not model.is_file():
            raise HtrError(f"{folder} is an export of a model that is not at {model}: name the file with --model")
        return {folder: model}
    if model:
        raise HtrError("--model belongs to one model's export folder: name that folder")
    root = folder / "export" if (folder / "export").is_dir() else folder
    found = {
        path.parent: root.parent / f"{path.parent.name}.safetensors" for path in sorted(root.glob("[!.]*/card.json"))
    }
    if not found:
        raise HtrError(f"{folder} holds no export: make one with `python -m htrcompress.export {folder}`")
    return found


def _check_folder(place: Path, artefact: Path, lines: LineSet, options: VerifyOptions) -> Iterator[Check]:
    """Every file in a folder against PyTorch, PyTorch itself first."""
    torch = open_backend(artefact, REFERENCE)
    check_package(place, torch.card)
    files = sorted(exported_files(place), key=lambda path: (len(path.name), path.name))
    exported = [path for path in files if path.suffix != ".engine"]
    reference = Reader(torch.name, torch, lines)
    decoders = _decoders(place, torch.card)
    for reader in _readers(reference, artefact, place, exported, options):
        logger.info("%s: reading %d lines with %s", place.name, len(lines.lines), reader.name)
        reader.read()
        yield reader.compare(reference, place.name, options.max_cer_rise)
        for name, decoder in decoders.items() if reader.gives_logits else ():
            yield reader.compare_decoded(reference, decoder, name, place.name, options.max_cer_rise)
    if place / ATTENTION in exported:
        yield _check_attention(place, artefact, reference.lines, options)
    for path in exported:
        if PLUGIN in path.name:
            yield Check(place.name, path.name, note="its plugin runs in TensorRT alone, not executed")
    for path in sorted(path for path in files if path.suffix == ".engine"):
        logger.info("%s: %s", place.name, path.name)
        yield from _check_engine(place, path, reference, decoders, options.max_cer_rise)


def _check_attention(place: Path, artefact: Path, lines: LineSet, options: VerifyOptions) -> Check:
    """What the joint decoder reads with the exported graphs, against what it reads in PyTorch."""
    recognizers = load(artefact, device="cpu", decoder=JOINT), load(place / ATTENTION, None, options.device, JOINT)
    before, now = ([reading.text for reading in recognizer.read(lines.images)] for recognizer in recognizers)
    form, limit = f"{ATTENTION}, {JOINT}", options.max_cer_rise
    return compare_texts(lines.lines, before, now, place.name, form, "FP32", limit)


def _decoders(place: Path, card: Card) -> dict[str, Decoder]:
    """What else decodes the logits of an export, by name: a beam search where the package holds a language model."""
    path = place / LANGUAGE
    if not path.is_file():
        return {}
    return {f"beam with {LANGUAGE}": BeamDecoder(card, open_language(LanguageOptions(path), card.characters()))}


def _readers(
    reference: Reader, artefact: Path, place: Path, exported: list[Path], options: VerifyOptions
) -> Iterator[Reader]:
    yield reference
    if any(".fp16." in path.name for path in place.iterdir()):
        half = HalfTorchBackend(artefact, REFERENCE)
        yield Reader(half.name, half, reference.lines)
    for path in exported:
        if PLUGIN in path.name:
            continue
        how = Open(device=options.device, logits=True)
        backend = open_backend(path, how)
        if not backend.card.is_of(reference.backend.card):
            raise HtrError(f"{path} is not of the model beside it: its {CARD_KEY} card differs; export it again")
        yield Reader(path.name, backend, reference.lines)


def _check_engine(
    place: Path, path: Path, reference: Reader, decoders: Mapping[str, Decoder], limit: float | None
) -> Iterator[Check]:
    """An engine against PyTorch, with every decoder, or what is known of one that cannot be executed here."""
    own, built = read_document(path)
    if not own.is_of(reference.backend.card):
        raise HtrError(f"{path} is not of the model beside it: export it again")
    read_plan(path, built)
    try:
        backend = TensorRtBackend(path, Open(logits=True))
        reader = Reader(path.name, backend, reference.lines, int(backend.max_batch))
        reader.read()
        inspected, arithmetic = backend.inspect(), backend.arithmetic
        check = replace(reader.compare(reference, place.name, limit), inspected=inspected)
        if inspected and arithmetic not in inspected:
            note = f"its layers give {', '.join(inspected)} and no {arithmetic}"
            check = replace(check, note=note, passed=False)
        yield check
        for name, decoder in decoders.items() if reader.gives_logits else ():
            yield reader.compare_decoded(reference, decoder, name, place.name, limit)
    except Unavailable as error:
        note = f"built for {built['runtime']} {built['version']}, not executed: {error}"
        yield Check(place.name, path.name, note=note)
    except HtrError as error:
        yield Check(place.name, path.name, note=f"not executed: {error}", passed=False)


def _record(place: Path, card: Card, checks: list[Check], identity: str, lines: int) -> None:
    """Writes the result into `card.json` and, with every differing line, to `verify.json`."""
    brief = {
        check.form: {"cer": check.cer, "difference": check.difference, "differing": len(check.differing)}
        for check in checks
        if check.arithmetic
    }
    metrics_with = {**card.metrics, "verified": {"hash": identity, "lines": lines, "forms": brief}}
    write_atomic(place / "card.json", f"{replace(card, metrics=metrics_with).to_json()}\n".encode())
    rows = json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=1)
    write_atomic(place / "verify.json", f"{rows}\n".encode())
