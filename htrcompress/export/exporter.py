"""Exports models: each goes through the targets that the options switch on, into a folder of its own.

A target that would not read like the model is refused, with the reason in the result; the others are still written.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from htrcompress.card import Card
from htrcompress.data.lines import Dataset
from htrcompress.errors import Refused
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.package import Package, replaced, write_labels
from htrcompress.export.results import ExportedFile, ExportResult
from htrcompress.export.targets import TARGETS, ExportTarget, Job, chosen_targets
from htrcompress.models.serialization import load_card, load_with_decoder

logger = logging.getLogger(__name__)


def export_models(
    models: Mapping[str, Path],
    folders: Mapping[str, Path],
    options: ExportOptions,
    own_data: Callable[[Path, Card], str],
) -> ExportResult:
    """Writes models as deployable files.

    Args:
        models: role to model file.
        folders: role to export folder.
        options: what to write.
        own_data: finds what the model in a file was trained on, where `options.data` is None.

    Raises:
        HtrError: a model cannot be read or exported, something that a target needs is missing, or options contradict
            each other.
    """
    options.check()
    targets = chosen_targets(options)
    opened: dict[str, Dataset] = {}
    lines = {role: ProofLines(options.data, partial(own_data, file), opened) for role, file in models.items()}
    for role, file in models.items():  # before the first minute is spent
        card = load_card(file)
        for target in targets:
            target.check(options, card, lines[role])
    owned = [pattern for target in TARGETS for pattern in target.files]
    files: list[ExportedFile] = []
    notes: dict[str, None] = {}
    refused: list[str] = []
    activations = {}
    for role, artefact in models.items():
        logger.info("exporting %s to %s", role, folders[role])
        with replaced(folders[role], owned) as package:
            network, decoder, card = load_with_decoder(artefact)
            card = card.without_attention()
            write_labels(package.folder, card)
            job = Job(role, network, card, package.folder, options, lines[role], decoder)
            written = _write(job, targets, package, refused)
        files += [replace(file, path=folders[role] / file.path.relative_to(package.folder)) for file in written]
        notes |= dict.fromkeys(job.notes)
        if job.activation is not None:
            activations[role] = job.activation
    return ExportResult(tuple(files), activations, tuple(notes), tuple(refused))


def _write(job: Job, targets: list[ExportTarget], package: Package, refused: list[str]) -> list[ExportedFile]:
    """All targets of one model; the reasons of those that are refused are added to `refused`."""
    files: list[ExportedFile] = []
    for target in targets:
        logger.info("%s: %s", job.role, target.name)
        try:
            files += target.write(job)
        except Refused as error:
            refused.append(f"{job.role}, {target.name}: {error}")
            package.withdrawn.extend(target.files)
    return files
