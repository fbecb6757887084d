"""Compares every artefact of a run: `python benchmarks/run.py --batch 32`.

Teacher, student and control, each in PyTorch (eager, FP32, constants fused), in ONNX Runtime, and in ONNX
Runtime with the FP16 and INT8 files: error rates, size, work, speed from memory and from image files, latency and
memory, on the CPU or another `--device`. TensorRT engines are measured where a GPU is, and are "built, not executed"
elsewhere. The tables go to stdout and to `<run>/benchmark.md`, plots and the worst lines to `<run>/report.html`, and
the last line on stdout is the whole result as JSON, also in `<run>/benchmark.json`.

    python benchmarks/run.py --run runs/x --data DIR --split test,test_unseen_text
    python benchmarks/run.py --run runs/x --lm letters.ngram           each artefact with a beam search as well
    python benchmarks/run.py --presets teacher,student --data DIR      sizes and speeds, without training
    python -m benchmarks.page runs/x/benchmark.json                    the page again
"""

import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.artefacts import find, make_presets, with_decoder
from benchmarks.evidence import pictures
from benchmarks.measuring import BenchmarkOptions, card_of, measure_all
from benchmarks.other_runtimes import with_runtimes
from benchmarks.page import page
from benchmarks.results import save
from benchmarks.rows import Benchmark
from benchmarks.splits import Split, test_splits
from htrcompress import runs
from htrcompress.card import Card
from htrcompress.cli import console, run_command, to_json
from htrcompress.data.lines import Dataset
from htrcompress.data.readers.open import SYNTHETIC, open_dataset, read_config
from htrcompress.utils.io import write_atomic


def benchmark(options: BenchmarkOptions) -> Benchmark:
    """Measures everything and writes the tables and the page.

    Raises:
        HtrError: an artefact or the data cannot be used.
    """
    out = options.out
    with tempfile.TemporaryDirectory(prefix="htrcompress-") as scratch:
        if options.presets:
            dataset = open_dataset(SYNTHETIC if options.data is None else options.data)
            with console.status(f"exporting {options.presets}"):
                make_presets([name.strip() for name in options.presets.split(",")], dataset, Path(scratch))
            artefacts = find(Path(scratch), options.threads, options.device)
        else:
            run = options.run or runs.newest()
            artefacts = find(run, options.threads, options.device)
            if options.beside is not None:
                artefacts = with_decoder(artefacts, options.threads, options.beside, options.decoding)
            card = card_of(artefacts[0])
            source = _trained_on(artefacts[0].file, card) if options.data is None else options.data
            dataset = open_dataset(source, read_config(card))
            out = out or (run if run.is_dir() else None)
        if options.runtimes:
            names = [name.strip() for name in options.runtimes.split(",")]
            artefacts = with_runtimes(artefacts, names, options.threads)
        splits = _splits(options.split, dataset)
        result = measure_all(artefacts, dataset, splits, options)
    console.print(report.terminal(result), markup=False)
    if out:
        _write(result, splits, out)
    if not console.stderr:  # with --json, run_command prints it
        print(to_json(result), flush=True)
    return result


def _write(result: Benchmark, splits: list[Split], out: Path) -> None:
    """Writes the result, its tables, and the page with the worst lines' pictures."""
    save(result, out / "benchmark.json")
    write_atomic(out / "benchmark.md", report.markdown(result).encode())
    shown: dict[str, str] = {}
    for split in splits:
        if split.name in result.evidence:
            shown |= pictures(split, {line.id for line in result.evidence[split.name].worst})
    write_atomic(out / "report.html", page(result, shown).encode())
    console.print(f"written: {out / 'benchmark.json'}, with benchmark.md and report.html beside it", markup=False)


def _trained_on(file: Path, card: Card) -> str:
    return runs.own_data(file, card) if card.data else SYNTHETIC


def _splits(names: str | None, dataset: Dataset) -> list[Split]:
    """The splits to read: those named, or every test split."""
    return [Split(dataset, name.strip()) for name in (names.split(",") if names else test_splits(dataset))]


if __name__ == "__main__":
    run_command(benchmark)
