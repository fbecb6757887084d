"""From a typed function to a command: its options dataclass gives the flags and the help.

A command is a function `command(options: Options) -> Result`. `Options` is a frozen dataclass whose attribute
docstrings are the `--help`; a nested dataclass is a group, as in `--train.lr`. `run_command(command)` parses the
command line (jsonargparse), calls the function and prints the result. `--config FILE.yaml` gives options from a
file, which flags override; an unknown key is an error. With `--json` the last line on stdout is the result.
"""

import dataclasses
import errno
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from rich.console import Console

from htrcompress.errors import HtrError, missing_extra, out_of_memory
from htrcompress.utils import machine

T = TypeVar("T")

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


class _Console(Console):
    """A console whose reader may leave, as `head` does: a training must not end for that."""

    def on_broken_pipe(self) -> None:
        """Sends all further output to the null device."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def _is_terminal() -> bool:
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


console = _Console(highlight=False, markup=False, emoji=False, width=None if _is_terminal() else 120)
"""Where commands print tables and progress: stdout, or stderr when `--json` needs stdout for itself."""

EXTRAS = {
    "train": ("torch", "kornia", "safetensors", "accelerate", "filelock", "onnx", "onnxscript", "tensorboard"),
    "cpu": ("onnxruntime",),
    "lm": ("transformers", "gguf", "peft"),
}
"""Optional packages, by the extra that installs them."""


def run_command(
    command: Callable[..., Any],
    positional: str | None = None,
    argv: Sequence[str] | None = None,
    program: str | None = None,
) -> NoReturn:
    """Parses the command line, calls the command, prints its result and exits.

    A result is printed through its `__rich__`, or as JSON with `--json`; its attribute `exit_code`, if it has one,
    becomes the exit status. An `HtrError` is printed as one sentence and exits with status 2.

    Args:
        command: takes one options dataclass, and the typed options' names if it has a parameter `given`.
        positional: the option that is written without a flag.
        argv: the words of the command line; those of the process by default.
        program: how the command was called, for messages; found out by default.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # PyTorch's waiting threads would spin on cores others need
    if sys.stdout is None or sys.stdout.closed:  # as for a service, or under pythonw
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (is open as long as the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal's code page may lack characters that are read, and a file's name may not be UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    result = None
    try:
        arguments, as_json = _parse(command, positional, sys.argv[1:] if argv is None else argv, program)
        console.stderr = as_json
        console.quiet = bool(machine.rank())  # of several processes, only the first prints
        with _printed_log():
            result = command(**arguments)
        if as_json and not machine.rank():
            print(to_json(result))
        elif hasattr(result, "__rich__"):
            console.print(result)
        sys.stdout.flush()
    except HtrError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        exit_without(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail("out of memory: give the command less at a time (--help lists the options)")
    except BrokenPipeError:  # the reader has left, as `head` does
        console.on_broken_pipe()
    except OSError as error:  # files that we write have sentences of their own
        where = f"{str(error.filename)[:200]}: " if error.filename else ""
        if error.errno == errno.ENOSPC and not where:
            where = "the output: "
            console.on_broken_pipe()  # flushing the rest at exit would fail once more
        _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)
        _TYPED.clear()
    sys.exit(getattr(result, "exit_code", 0))


def _fail(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _on_sigterm(*_: object) -> None:
    """Ends the command through its clean-up code, so that nothing half-made is left."""
    sys.exit(143)


def exit_without(error: ModuleNotFoundError) -> NoReturn:
    """Ends the command with the name of the extra that a missing package belongs to; raises on any other package."""
    extra = next((extra for extra, modules in EXTRAS.items() if error.name in modules), None)
    if extra is None:
        raise error
    _fail(str(missing_extra(str(error.name), extra)))


class _ConsoleHandler(logging.Handler):
    """Prints log records as plain lines, and warnings in red."""

    def emit(self, record: logging.LogRecord) -> None:
        console.print(self.format(record), style="red" if record.levelno >= logging.WARNING else None)


@contextmanager
def _printed_log() -> Iterator[None]:
    """Prints what the library logs, for as long as a command runs."""
    logger, handler = logging.getLogger("htrcompress"), _ConsoleHandler()
    before = logger.level
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


# ---- parsing


def _options_type(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options dataclass that a command takes; the function itself where its parameters are the options."""
    hint = get_type_hints(command).get("options")
    return hint if dataclasses.is_dataclass(hint) else command  # type: ignore[return-value]


def _parse(
    command: Callable[..., Any], positional: str | None, argv: Sequence[str], program: str | None = None
) -> tuple[dict[str, Any], bool]:
    """The command's arguments, and whether the result is wanted as JSON."""
    kind = _options_type(command)
    parser = _parser(kind, positional, program)
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    words[:end] = map(_with_underscores, words[:end])
    try:
        values = _checked(kind, parser, lambda: parser.parse_args(words), positional)
        given = frozenset(parser.parse_args(words, defaults=False).keys())
    except UnicodeDecodeError:
        raise HtrError("the file given to --config is not UTF-8 text: convert it") from None
    except RecursionError:
        raise HtrError("the file given to --config is nested too deeply: write it without anchors") from None
    as_json = values.pop("json")
    values.pop("config")
    if positional and values[positional] is None:
        del values[positional]
    if kind is command:
        _TYPED[command] = given
        return values, as_json
    arguments: dict[str, Any] = {"options": kind(**values)}
    if "given" in signature(command).parameters:
        arguments["given"] = given - {"json", "config"}
    return arguments, as_json


def _with_underscores(word: str) -> str:
    """`--max-batch=8` as `--max_batch=8`: options may be typed either way; `--no-...` keeps its dash."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    no = "no-" if name.startswith("no-") else ""
    return f"--{no}{name.removeprefix('no-').replace('-', '_')}{equals}{value}"


def options_from(kind: type[T], saved: Any) -> T:
    """Options as a YAML file gives them, checked; defaults for those that are missing.

    Raises:
        HtrError: an option is unknown or of a wrong type, or there are none.
    """
    if not isinstance(saved, dict):
        raise HtrError("there are no options in it")
    parser = _parser(kind, None, None)
    values = _checked(kind, parser, lambda: parser.parse_object(saved))
    return kind(**{name: values[name] for name in signature(kind).parameters})


def _checked(
    kind: Callable[..., Any], parser: "ArgumentParser", parse: Callable[[], "Namespace"], skip: str | None = None
) -> dict[str, Any]:
    """What the parser makes of its input: a value for each option, groups as dataclasses."""
    from jsonargparse import ArgumentError

    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in ("return", skip)}
    try:
        values = parse()
    except ArgumentError as error:
        raise HtrError(f"{_sentence(str(error), hints)} (`{parser.prog} --help` lists the options)") from None
    _refuse_empty(hints, values.as_dict(), "--")
    made: dict[str, Any] = parser.instantiate(values).as_dict()
    return made


def _refuse_empty(hints: dict[str, Any], values: dict[str, Any], flag: str) -> None:
    """Raises HtrError on an empty value: a key without a value in a YAML file is null, which the parser lets pass."""
    for name, hint in hints.items():
        kinds, value = get_args(hint) or (hint,), values[name]
        if value == "" or (value is None and NoneType not in kinds):
            raise HtrError(f"{flag}{name} is empty: give it a value or leave it out")
        if dataclasses.is_dataclass(kinds[0]) and value is not None:
            _refuse_empty(get_type_hints(kinds[0]), value, f"{flag}{name}.")


def _parser(kind: Callable[..., Any], positional: str | None, program: str | None) -> "ArgumentParser":
    import yaml
    from docstring_parser import parse_from_object
    from jsonargparse import ActionYesNo, ArgumentParser, set_loader, set_parsing_settings
    from jsonargparse.typing import register_type

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    set_loader("htrcompress", _load, (yaml.YAMLError,))
    register_type(Path, str, _path)
    is_class = isinstance(kind, type)
    hints, parameters = get_type_hints(kind), signature(kind).parameters
    help_of = {p.arg_name: p.description or "" for p in parse_from_object(kind).params}
    switches = [name for name in parameters if hints[name] is bool]
    by_hand: set[str | int] = {*switches, positional} if positional else set(switches)
    summary = (kind.__doc__ or "").strip().split("\n\n")[0]
    parser = ArgumentParser(
        prog=program or _program(),
        description=summary,
        exit_on_error=False,
        allow_abbrev=False,
        parser_mode="htrcompress",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON on stdout")
    add = parser.add_class_arguments if is_class else parser.add_function_arguments
    add(kind, as_group=False, skip=by_hand)
    for name in switches:
        off_on = ActionYesNo(no_prefix="no-")
        parser.add_argument(f"--{name}", action=off_on, default=parameters[name].default, help=help_of[name])
    if positional:
        many = get_origin(hints[positional]) in (list, tuple)
        item = next((kind for kind in get_args(hints[positional]) if kind is not NoneType), hints[positional])
        parser.add_argument(positional, nargs="+" if many else "?", type=item, help=help_of[positional])
    return parser


def _load(text: str) -> Any:
    """A word of the command line or a `--config` file as YAML; `#name` and `&name` are names, not YAML's syntax."""
    from jsonargparse import get_loader

    value = get_loader("yaml")(text)
    return text if value is None and text.strip() not in ("null", "~") else value


def _path(text: str) -> Path:
    if not text:
        raise ValueError("empty")
    return Path(text)


def _sentence(message: str, hints: dict[str, Any]) -> str:
    """What the parser complains about, in one line that names the option as it is typed."""
    key = message.partition('Parser key "')[2].partition('"')[0]
    hint: Any = None
    for name in key.split("."):
        hint = hints.get(name)
        hints = next((get_type_hints(kind) for kind in get_args(hint) or (hint,) if dataclasses.is_dataclass(kind)), {})
    if hint is None:
        return " ".join(message.replace('Parser key "', "--").replace('"', "", 1).split())
    return f"--{key} takes {_in_words(hint)}, not {message.rpartition('alue: ')[2].strip() or 'an empty value'}"


def _in_words(hint: Any) -> str:
    """A type as help says it: `int or null`, `keep or union`."""
    if hint in (NoneType, None):
        return "null"
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) in (tuple, list):
        return "a list such as [1]"
    if get_args(hint):
        return " or ".join(map(_in_words, get_args(hint)))
    return str(getattr(hint, "__name__", hint)).lower()


def _program() -> str:
    """How the running command was called: `python -m htrcompress.train`, or the script's name."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name


# ---- the old form, until every command takes an options dataclass

_TYPED: dict[Callable[..., Any], frozenset[str]] = {}


def typed(command: Callable[..., Any]) -> frozenset[str]:
    """Names of the options that the running command was given."""
    return _TYPED.get(command, frozenset())


def options_of(command: Callable[..., Any], saved: Any) -> dict[str, Any]:
    """As `options_from`, for a command whose parameters are its options."""
    if not isinstance(saved, dict):
        raise HtrError("there are no options in it")
    parser = _parser(command, None, None)
    values = _checked(command, parser, lambda: parser.parse_object(saved))
    return {name: values[name] for name in signature(command).parameters}


# ---- results


def to_json(result: Any) -> str:
    """A dataclass (or anything made of them) as one line of JSON."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        if isinstance(value, Path):
            return value.as_posix()
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    return json.dumps(result, default=plain, ensure_ascii=False)
