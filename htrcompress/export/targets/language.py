"""`language.ngram`: the language model that a beam search uses beside the exported model, with its weight and bonus.

Python (`load(model, lm=...)`), C++ (`htr::Options::beam`) and clients of Triton decode the logits of any exported file
with it and nothing else. Triton's repository gets a copy, as it does of the labels.
"""

import time
from dataclasses import replace

from htrcompress.card import Card
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import open_language
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.export.lines import ProofLines
from htrcompress.export.options import ExportOptions
from htrcompress.export.package import LANGUAGE, REPOSITORY
from htrcompress.export.results import ExportedFile
from htrcompress.export.targets.base import Job


class LanguageFile:
    """The language model of `--lm`."""

    name = "language model"
    option = "searches"
    files: tuple[str, ...] = (LANGUAGE,)
    proof = "`verify` compares what the beam search reads in every file that gives logits"

    def check(self, options: ExportOptions, card: Card, lines: ProofLines) -> None:
        """See `ExportTarget.check`."""
        BeamDecoder(card, open_language(options.lm, card.characters())).report_unknown()

    def write(self, job: Job) -> list[ExportedFile]:
        """See `ExportTarget.write`."""
        started, path, given = time.perf_counter(), job.folder / LANGUAGE, job.options.lm
        file = given.located()
        assert file is not None  # the options were checked
        model = load_ngram(file)
        settings = {"weight": given.weight, "bonus": given.bonus}
        chosen = {name: f"{value:.17g}" for name, value in settings.items() if value is not None}
        save_ngram(path, replace(model, settings={**model.settings, **chosen}))
        served = job.folder / REPOSITORY / job.role
        if served.is_dir():
            (served / LANGUAGE).write_bytes(path.read_bytes())
        seconds = round(time.perf_counter() - started, 2)
        return [ExportedFile(job.role, path, "language model", path.stat().st_size, seconds)]
