"""Run folders: where commands write their results, and how the next command finds a model and its data.

`runs/<time>-<command>/` holds `config.yaml`, the options of the run, and a model file for each role
(`teacher.safetensors`, `student.safetensors`, `control.safetensors`). Beside each model is a folder of the same name
with its training log and checkpoint; `export/` has the deployable forms. How runs start is in `run_start.py`.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from htrcompress.card import Card
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import locate
from htrcompress.catalogue.index import PACKAGED, Entry, read_folder
from htrcompress.errors import HtrError

if TYPE_CHECKING:
    from htrcompress.data.lines import Dataset

ROOT = Path("runs")
ROLES = ("teacher", "student", "control")
OPTIONS = "config.yaml"
"""The options that a run was started with, in the form that `--config` reads."""


def newest() -> Path:
    """The run with the newest model.

    Raises:
        HtrError: there is no finished run here.
    """
    found = _trained()
    if not found:
        raise HtrError(
            f"no run with a model in {ROOT.resolve()}: train one with `python -m htrcompress.distill`, or name a file"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def _trained() -> list[Path]:
    """The model files of all runs here."""
    return [path for path in ROOT.glob("*/*.safetensors") if not path.name.startswith(".")]


def models(path: Path) -> dict[str, Path]:
    """Role to model file: those of a run folder, teacher first, or a single file under its own name.

    Raises:
        HtrError: there is no model at the path.
    """
    if path.is_file():
        return {path.stem: path}
    if not path.is_dir():
        raise HtrError(f"no run folder or model file at {path}")
    found = {file.stem: file for file in path.glob("*.safetensors") if not file.name.startswith(".")}
    if not found:
        raise HtrError(f"the folder {path} holds no .safetensors model")
    order = {role: place for place, role in enumerate(ROLES)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def model(path: Path | None, role: str = "student") -> Path:
    """One model: the file itself, or the given role of a run (the newest if none is named), or its only one."""
    path = path or newest()
    if path.is_file():
        return path
    found = models(path)
    if role in found:
        return found[role]
    if len(found) == 1:
        return next(iter(found.values()))
    raise HtrError(f"{path} holds {', '.join(found)} and no {role}: name the file")


def reader(model_or_name: str | Path | None) -> Path:
    """The file to read with: what the user names, else the student of the newest run, else the model that ships.

    Args:
        model_or_name: a model file, a run folder, or what `catalogue.find` takes.

    Raises:
        HtrError: there is no such model.
    """
    if model_or_name is None:
        return model(None) if _trained() else locate(DEFAULT)
    path = Path(model_or_name)
    # a folder that happens to be called like a model that ships, such as that of its data, does not hide it
    is_run = path.is_dir() and (any(path.glob("*.safetensors")) or str(path) not in read_folder(PACKAGED, Entry))
    return model(path) if is_run else locate(model_or_name)


def own_data(file: Path, card: Card) -> str:
    """The data that a model was trained on, as `--data` would name it: where its run found it, or by its name.

    Args:
        file: the model file, in its run folder or elsewhere.
        card: of the model.

    Raises:
        HtrError: the data is not here, or a folder of its name holds other lines.
    """
    from htrcompress.data.readers.trained_on import default_data  # not above: it imports every reader

    return default_data(card, _data_of_run(file))


def open_data(data: str | None, file: Path, card: Card) -> "Dataset":
    """The dataset that the user names, or what a model was trained on; see `trained_on.open_as_trained`.

    Args:
        data: what `--data` says; None for what the model was trained on.
        file: the model file.
        card: of the model.

    Raises:
        HtrError: see `own_data`; or the dataset cannot be read.
    """
    from htrcompress.data.readers.trained_on import open_as_trained  # not above, as in `own_data`

    return open_as_trained(own_data(file, card) if data is None else data, card)


def _data_of_run(file: Path) -> str | None:
    """`data` in the `config.yaml` of the run that a model, or an export of it, is in."""
    for folder in list(file.parents)[:3]:
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            saved = yaml.safe_load((folder / OPTIONS).read_text(encoding="utf-8"))
            return saved.get("data") if isinstance(saved, dict) else None
    return None
