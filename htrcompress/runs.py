"""Run folders: where commands put what they make, and how the next command finds it.

`runs/<time>-<what>/` holds one artefact per role (`teacher.safetensors`, `student.safetensors`,
`control.safetensors`), beside each a folder of the same name with its training log and checkpoint, and
`export/` with the deployable forms.
"""

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from htrcompress.cli import options_of, typed
from htrcompress.config import NONE
from htrcompress.errors import HtrError
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

ROOT = Path("runs")
ROLES = ("teacher", "student", "control")
OPTIONS = "config.yaml"
"""The options that a run was started with, in the form that `--config` reads."""
MOVABLE = ("data", "unlabelled", "llm")
"""Options that say where something lies: a run may go on with the same in another place."""


def create(what: str) -> Path:
    """A new run folder, `runs/<time>-<what>`."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = ROOT / f"{stamp}-{what}"
    number = 1
    while path.exists():
        number += 1
        path = ROOT / f"{stamp}-{what}-{number}"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise HtrError(f"cannot make the run folder {path}: {error.strerror}") from None
    return path


def start(
    what: str, command: Callable[..., Any], out: Path | None, resume: Path | None, options: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """The folder of a run that begins, its options written to `config.yaml`; or that of one to go on with.

    A resumed run has the options that it was started with; one given anew may not differ, but for where something
    lies: whether that is the same is for the checkpoint to say.

    Args:
        what: the kind of run, for the folder's name.
        command: the function whose options these are.
        out: the folder; a new one under `runs/` if not given.
        resume: the folder of the run to go on with.
        options: values of the command's parameters.

    Raises:
        HtrError: `out` holds a run already, there is nothing to resume, an option differs, or several processes
            train together and none of them was told where.
    """
    import torch  # noqa: F401  # without it there is nothing to start, and no folder shall be made

    if machine.together() and out is None and resume is None:
        raise HtrError("several processes must agree on the run folder: name it with --out")
    if resume is None:
        run = out or create(what)
        if machine.rank():  # the first process of several looks after the folder
            return run, options
        if (run / OPTIONS).exists() and len(list(run.iterdir())) > 1:  # alone it is of a start that came to nothing
            raise HtrError(f"--out {run} holds a run already: go on with --resume {run}, or name another folder")
        if any(run.glob("*.safetensors")):
            raise HtrError(f"--out {run} holds models, which a run could write over: name another folder")
        values = {name: _plain(value) for name, value in options.items()}
        write_atomic(run / OPTIONS, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())
        return run, options
    if out is not None and out != resume:
        raise HtrError("give --out or --resume, not both")
    return resume, _restore(command, resume, options)


def _restore(command: Callable[..., Any], run: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a run, checked against what the user gives now."""
    options, told = saved_options(command, run), typed(command)
    restored = {name: options[name] for name in given}
    parameters = signature(command).parameters
    for name, value in given.items():
        default, before = parameters[name].default, restored[name]
        if name in MOVABLE and {value, before}.isdisjoint({None, NONE}) and (value != default or name in told):
            restored[name] = value
            continue
        flag = _other(name, value, default, before, told)
        if flag:
            raise HtrError(f"--{flag} differs from what {run} was started with ({OPTIONS}): leave it out to resume")
    return restored


def saved_options(command: Callable[..., Any], run: Path) -> dict[str, Any]:
    """The options that a run was started with.

    Raises:
        HtrError: there is no run in the folder, or it is one of another command.
    """
    if not (run / OPTIONS).is_file():
        raise HtrError(f"--resume {run}: there is no run in this folder (no {OPTIONS})")
    try:
        return options_of(command, yaml.safe_load((run / OPTIONS).read_text(encoding="utf-8")))
    except (HtrError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise HtrError(
            f"{run / OPTIONS} does not hold the options of a `{command.__name__}`: {' '.join(str(error).split())}"
        ) from None


def _other(flag: str, given: Any, default: Any, before: Any, told: frozenset[str]) -> str | None:
    """The flag of the first value that was given and is not what it was before; None if there is none."""
    here = any(name == flag or name.startswith(f"{flag}.") for name in told)  # be it with the value of its default
    if given == before or (given == default and not here):
        return None
    if not (is_dataclass(given) and is_dataclass(before)):
        return flag
    rows = ((f"{flag}.{name}", vars(given)[name], vars(default)[name], vars(before)[name]) for name in vars(given))
    return next(filter(None, (_other(*row, told) for row in rows)), None)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value


def newest() -> Path:
    """The run whose artefacts are the newest.

    Raises:
        HtrError: there is no finished run here.
    """
    found = [path for path in ROOT.glob("*/*.safetensors") if not path.name.startswith(".")]
    if not found:
        raise HtrError(
            f"no run with a model in {ROOT.resolve()}: train one with `python -m htrcompress.distill`, or name a file"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def models(path: Path) -> dict[str, Path]:
    """Role to artefact: those of a run folder, teacher first, or a single file under its own name.

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
