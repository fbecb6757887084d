"""From a typed function to a command: options and help out of its signature, errors as one sentence.

Every command module ends with `run_command(function)`. One YAML file (`--config`) plus `--a.b value`
overrides drive it; an unknown key is an error. With `--json` the last line on stdout is the result.
"""

import dataclasses
import errno
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin, get_type_hints

from rich.console import Console

from htrcompress.errors import HtrError, missing_extra, out_of_memory
from htrcompress.utils import machine

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


class _Console(Console):
    """Goes on unseen where nobody reads any more, as after `| head`: a training shall not end for it."""

    def on_broken_pipe(self) -> None:
        """Sends the rest to nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


console = _Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
"""Where tables and progress go, as plain text: stdout, or stderr when `--json` wants stdout for itself."""


_TYPED: dict[Callable[..., Any], frozenset[str]] = {}
"""The options that the running command was given."""
EXTRAS = {
    "train": ("torch", "kornia", "safetensors", "accelerate", "filelock", "onnx", "onnxscript", "tensorboard"),
    "cpu": ("onnxruntime",),
    "lm": ("transformers", "gguf", "peft"),
}
"""Optional packages, by the extra that installs them."""


def run_command(
    function: Callable[..., Any], positional: str | None = None, argv: Sequence[str] | None = None
) -> NoReturn:
    """Parses the command line, calls the function, prints its result and exits.

    Args:
        function: its parameters become options, its docstring the help; returns a dataclass, which is
            printed (through `__rich__`) for people, or as JSON with `--json`. A result with an attribute
            `exit_code` sets the exit status.
        positional: the parameter that is given without a flag.
        argv: the command line; that of the process by default.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What is read is not always in the terminal's code page, and a file's name not always UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, _stopped)
    result = None
    try:
        arguments, as_json = _parse(function, positional, argv)
        console.stderr = as_json
        console.quiet = bool(machine.rank())  # of several processes, the first speaks
        result = function(**arguments)
        if as_json and not machine.rank():
            print(to_json(result))
        elif hasattr(result, "__rich__"):
            console.print(result)
        sys.stdout.flush()
    except HtrError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        exit_without(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        print("error: out of memory: give the command less at a time (--help lists the options)", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # nobody reads any more, as after `| head`
        console.on_broken_pipe()
    except OSError as error:  # the files that we write have sentences of their own
        where = f"{str(error.filename)[:200]}: " if error.filename else ""
        if error.errno == errno.ENOSPC and not where:
            where = "the output: "
            console.on_broken_pipe()  # what is left of it must not fail once more
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)
        _TYPED.clear()
    sys.exit(getattr(result, "exit_code", 0))


def _stopped(*_: object) -> None:
    """A command that is told to end leaves nothing half made, as where it fails."""
    sys.exit(143)


def typed(function: Callable[..., Any]) -> frozenset[str]:
    """Options such as `train.lr` that the running command was given, be it with the value of their default.

    None of them where the function was not called by `run_command` but from Python.
    """
    return _TYPED.get(function, frozenset())


def exit_without(error: ModuleNotFoundError) -> NoReturn:
    """Ends the command with the name of the extra that a missing package belongs to; others are our bugs."""
    extra = next((extra for extra, modules in EXTRAS.items() if error.name in modules), None)
    if extra is None:
        raise error
    print(f"error: {missing_extra(str(error.name), extra)}", file=sys.stderr)
    sys.exit(2)


def _parse(
    function: Callable[..., Any], positional: str | None, argv: Sequence[str] | None
) -> tuple[dict[str, Any], bool]:
    parser = _parser(function, positional)
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        options = words.index("--") if "--" in words else len(words)
        words[:options] = map(_with_underscores, words[:options])
        values = _checked(function, parser, partial(parser.parse_args, words), positional)
        _TYPED[function] = frozenset(parser.parse_args(words, defaults=False).keys())
    except UnicodeDecodeError:
        raise HtrError("the file given to --config is not UTF-8 text: convert it") from None
    except RecursionError:
        raise HtrError("the file given to --config is nested too deeply: write it without anchors") from None
    as_json = values.pop("json")
    values.pop("config")
    if positional and values[positional] is None:
        values[positional] = signature(function).parameters[positional].default
    return values, as_json


def _with_underscores(word: str) -> str:
    """`--max-batch=8` as `--max_batch=8`: options are typed either way; `--no-...` keeps its dash."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    no = "no-" if name.startswith("no-") else ""
    return f"--{no}{name.removeprefix('no-').replace('-', '_')}{equals}{value}"


def options_of(function: Callable[..., Any], saved: Any) -> dict[str, Any]:
    """Options as a YAML file gives them, checked and made what the function takes; defaults for the others.

    Raises:
        HtrError: one is unknown or of a wrong type, or there are none.
    """
    if not isinstance(saved, dict):
        raise HtrError("there are no options in it")
    parser = _parser(function, None)
    values = _checked(function, parser, partial(parser.parse_object, saved))
    return {name: values[name] for name in signature(function).parameters}


def _checked(
    function: Callable[..., Any], parser: "ArgumentParser", parse: Callable[[], Any], skip: str | None = None
) -> dict[str, Any]:
    """What the parser makes of its input, as the function takes it."""
    from jsonargparse import ArgumentError

    try:
        values = parse()
    except ArgumentError as error:
        raise HtrError(_sentence(str(error), parser.prog)) from None
    hints = {name: hint for name, hint in get_type_hints(function).items() if name not in ("return", skip)}
    _refuse_empty(hints, values.as_dict(), "--")
    return parser.instantiate_classes(values).as_dict()


def _refuse_empty(hints: dict[str, Any], values: dict[str, Any], flag: str) -> None:
    """A key without a value in a YAML file is null, which the parser lets pass as any type."""
    for name, hint in hints.items():
        kinds = get_args(hint) or (hint,)
        if values[name] is None and type(None) not in kinds:
            raise HtrError(f"{flag}{name} is empty: give it a value or leave it out")
        if dataclasses.is_dataclass(kinds[0]) and values[name] is not None:
            _refuse_empty(get_type_hints(kinds[0]), values[name], f"{flag}{name}.")


def _parser(function: Callable[..., Any], positional: str | None) -> "ArgumentParser":
    from jsonargparse import ActionYesNo, ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    hints, parameters = get_type_hints(function), signature(function).parameters
    switches = [name for name in parameters if hints[name] is bool]
    by_hand: set[str | int] = {*switches, positional} if positional else set(switches)
    summary = (function.__doc__ or "").strip().split("\n\n")[0]
    parser = ArgumentParser(prog=_program(), description=summary, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON on stdout")
    parser.add_function_arguments(function, as_group=False, skip=by_hand)
    help_of = _parameter_help(function)
    for name in switches:
        off_on = ActionYesNo(no_prefix="no-")
        parser.add_argument(f"--{name}", action=off_on, default=parameters[name].default, help=help_of[name])
    if positional:
        many = get_origin(hints[positional]) is list
        kinds = [kind for kind in get_args(hints[positional]) if kind is not type(None)] or [hints[positional]]
        parser.add_argument(positional, nargs="+" if many else "?", type=kinds[0], help=help_of[positional])
    return parser


def _sentence(message: str, program: str) -> str:
    """What the parser complains about, on one line and with the option as it is typed."""
    keys = dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message))
    wrong = re.search(r"Expected an? (.*)\. Got value: (.*)", message)
    wrong = wrong or re.search(r"Subtypes: \[(.*)\]\n(?:.*\n)*.*Given value: (.*)", message)
    if keys and wrong:
        kinds = re.findall(r"([\w-]+)'", wrong[1].replace("NoneType", "null"))  # <class 'int'> or 'a', 'b'
        told = " or ".join("a list such as [1]" if kind == "tuple" else kind for kind in kinds)
        message = f"--{'.'.join(keys)} takes {told}, not {wrong[2]}"
    else:
        message = re.sub(r'Parser key "([^"]+)"', r"--\1", message)
    return f"{' '.join(message.split())} (`{program} --help` lists the options)"


def _program() -> str:
    """How the running command was called: `python -m htrcompress.train`, or the script's name."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name


def _parameter_help(function: Callable[..., Any]) -> dict[str, str]:
    from docstring_parser import parse

    return {p.arg_name: p.description or "" for p in parse(function.__doc__ or "").params}


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
