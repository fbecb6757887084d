"""The commands `python -m htrcompress.export` and `python -m htrcompress.export.verify` as functions.

They find the run where none is named; the work is done in `exporter.py` and `verification.py`.
"""

from dataclasses import replace

from htrcompress import runs
from htrcompress.export.options import ExportOptions, VerifyOptions
from htrcompress.export.results import ExportResult, Verification


def export(options: ExportOptions) -> ExportResult:
    """Writes the models of a run as ONNX files, and as TensorRT engines, with decoding inside.

    `<run>/export/<model>/` then holds `model.onnx`, `model.fp16.onnx`, `model.int8.cpu.onnx` and `model.int8.trt.onnx`,
    engines of these, `card.json`, and `labels.txt`: label by label, one character a line after `<blank>`. With
    `--decode plugin` or `none` the names say so, as in `model.fp16.plugin.onnx`.
    """
    from htrcompress.export.exporter import export_models

    options.check()
    run = options.run or runs.newest()
    models = runs.models(run)
    root = options.out or (run if run.is_dir() else run.parent) / "export"
    alone = options.out is not None and run.is_file()
    folders = {role: root if alone else root / role for role in models}
    return export_models(models, folders, options, runs.own_data)


def verify(options: VerifyOptions) -> Verification:
    """Reads the same lines with a model and with everything that was exported from it, and compares."""
    from htrcompress.export.verification import verify_folders

    options.check()
    return verify_folders(replace(options, folder=options.folder or runs.newest()), runs.own_data)
