"""Run folders: where commands write their results, and how the next command finds them.

`runs/<time>-<command>/` holds `config.yaml`, the options of the run, and a model file for each role
(`teacher.safetensors`, `student.safetensors`, `control.safetensors`). Beside each model is a folder of the same name
with its training log and checkpoint; `export/` has the deployable forms.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import yaml

from htrcompress.card import Card
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import locate
from htrcompress.catalogue.index import PACKAGED, read_folder
from htrcompress.errors import HtrError
from htrcompress.parsing import options_from
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

if TYPE_CHECKING:
    from htrcompress.data.lines import Dataset

ROOT = Path("runs")
ROLES = ("teacher", "student", "control")
OPTIONS = "config.yaml"
"""The options that a run was started with, in the form that `--config` reads."""
MOVABLE = ("data", "watch", "unlabelled", "llm")
"""Options that say where something is, which may change when a run is resumed."""


class RunOptions(Protocol):
    """The options dataclass of a command that makes a run."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def out(self) -> Path | None:
        """The folder to make; `runs/<time>-<command>` if None."""

    @property
    def resume(self) -> Path | None:
        """The folder of the run to continue."""


Options = TypeVar("Options", bound=RunOptions)


def create(what: str) -> Path:
    """A new run folder, `runs/<time>-<what>`, with a number where several start in the same second."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path, number = ROOT / f"{stamp}-{what}", 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
            path = ROOT / f"{stamp}-{what}-{number}"
        except OSError as error:
            raise HtrError(f"cannot make the run folder {path}: {error.strerror}") from None


def start(what: str, options: Options, given: frozenset[str] = frozenset()) -> tuple[Path, Options]:
    """The folder of a run, and the options to run with.

    A new run writes its options to `config.yaml`. A resumed run takes the options that it was started with; those that
    the user gives again may not differ, except for `MOVABLE` ones.

    Args:
        what: the command, for the folder's name.
        options: the options of the command.
        given: names of the options that the user typed; from Python, those that differ from their defaults count.

    Raises:
        HtrError: `out` is in use, there is nothing to resume, an option differs, or several processes train together
            without an `out`.
    """
    import torch  # noqa: F401  # without torch the command must fail before it makes a folder

    if machine.together() and options.out is None and options.resume is None:
        raise HtrError("several processes must agree on the run folder: name it with --out")
    if options.resume is not None:
        if options.out not in (None, options.resume):
            raise HtrError("give --out or --resume, not both")
        return options.resume, _resumed(options, given)
    run = options.out or create(what)
    if not machine.rank():  # of several processes, the first one writes
        _claim(run)
        values = {k: v for k, v in asdict(options).items() if k not in ("out", "resume")}
        text = yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)
        write_atomic(run / OPTIONS, text.encode())
    return run, options


def _claim(run: Path) -> None:
    """Raises HtrError where a new run would overwrite something; a `config.yaml` alone is from a failed start."""
    if (run / OPTIONS).exists() and len(list(run.iterdir())) > 1:
        raise HtrError(f"--out {run} holds a run already: continue it with --resume {run}, or name another folder")
    if any(run.glob("*.safetensors")):
        raise HtrError(f"--out {run} holds models that a run could overwrite: name another folder")


def _resumed(options: Options, given: frozenset[str]) -> Options:
    """The options that a run was started with, checked against what the user gives now."""
    run, kind = options.resume, cast(Any, type(options))
    assert run is not None
    saved = replace(saved_options(type(options), run), out=options.out, resume=run)
    if options == saved:
        return saved
    now, before, default = _leaves(options), _leaves(saved), _leaves(kind(resume=run))
    moved = {}
    for name, value in now.items():
        if name in ("out", "resume") or (name not in given and value == default.get(name)):
            continue
        if name in MOVABLE and value is not None and before[name] is not None:
            moved[name] = value
        elif name not in before or value != before[name]:
            raise HtrError(f"--{name} differs from what {run} was started with ({OPTIONS}): leave it out to resume")
    return replace(saved, **moved)


def _leaves(options: Any, prefix: str = "") -> dict[str, Any]:
    """Values of options by their names as they are typed, such as `train.lr`."""
    found: dict[str, Any] = {}
    for name, value in vars(options).items():
        found |= _leaves(value, f"{prefix}{name}.") if is_dataclass(value) else {f"{prefix}{name}": value}
    return found


def saved_options(kind: type[Options], run: Path) -> Options:
    """The options that a run was started with.

    Raises:
        HtrError: there is no run in the folder, or its options are those of another command.
    """
    if not (run / OPTIONS).is_file():
        raise HtrError(f"--resume {run}: there is no run in this folder (no {OPTIONS})")
    try:
        return options_from(kind, yaml.safe_load((run / OPTIONS).read_text(encoding="utf-8")))
    except (HtrError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise HtrError(f"{run / OPTIONS} does not hold {kind.__name__}: {' '.join(str(error).split())}") from None


def _plain(value: Any) -> Any:
    """A value in the types that YAML has."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


# ---- finding models


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
    is_run = path.is_dir() and (any(path.glob("*.safetensors")) or str(path) not in read_folder(PACKAGED))
    return model(path) if is_run else locate(model_or_name)


# ---- finding the data of a model


def own_data(file: Path, card: Card) -> str:
    """The data that a model was trained on, as `--data` would name it: where its run found it, or by its name.

    Args:
        file: the model file, in its run folder or elsewhere.
        card: of the model.

    Raises:
        HtrError: the data is not here, or a folder of its name holds other lines.
    """
    from htrcompress.data.readers.open import default_data  # not above: it imports every reader

    return default_data(card, _data_of_run(file))


def open_data(data: str | None, file: Path, card: Card) -> "Dataset":
    """The dataset that the user names, or what a model was trained on; its texts are read as they were in training.

    Args:
        data: what `--data` says; None for what the model was trained on.
        file: the model file.
        card: of the model.

    Raises:
        HtrError: see `own_data`; or the dataset cannot be read.
    """
    from htrcompress.data.readers.open import open_dataset, read_config  # not above, as in `own_data`

    return open_dataset(own_data(file, card) if data is None else data, read_config(card))


def _data_of_run(file: Path) -> str | None:
    """`data` in the `config.yaml` of the run that a model, or an export of it, is in."""
    for folder in list(file.parents)[:3]:
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            saved = yaml.safe_load((folder / OPTIONS).read_text(encoding="utf-8"))
            return saved.get("data") if isinstance(saved, dict) else None
    return None


def init_file(run: Path, given: Path | None) -> Path | None:
    """The model file that a run's training starts from; a resumed run has its own copy.

    Args:
        run: the run folder.
        given: the model file, run folder or model's name that the user gives with `--init`, if any.

    Raises:
        HtrError: there is no such model.
    """
    kept = next((run / "init").glob("*.safetensors"), None)
    if kept or given is None:
        return kept
    return model(given) if given.exists() else locate(given)


def keep_init(run: Path, source: Path) -> None:
    """Copies the model that a run starts from, so that the run can be resumed where that model is gone."""
    target = run / "init" / source.name
    if source != target:
        write_atomic(target, source.read_bytes())
