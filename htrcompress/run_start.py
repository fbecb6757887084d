"""How runs start and go on: their options, written when they start and compared when they are resumed.

A command calls `start`, which makes the run folder or finds the one to resume. What a training starts from (`--init`)
is copied into the folder, so that it can be resumed where that file is gone.
"""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

import yaml

from htrcompress.catalogue.find import locate
from htrcompress.errors import HtrError
from htrcompress.parsing import options_from
from htrcompress.runs import OPTIONS, ROOT, model
from htrcompress.utils import machine
from htrcompress.utils.io import write_atomic

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
