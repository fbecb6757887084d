"""From an options dataclass to a parser, and from words or a YAML file to options; jsonargparse does the work.

What jsonargparse does not do: options with dashes, a positional option, switches such as `--no-control`, `--lm FILE`
for `--lm.file FILE`, one sentence for a mistake, the refusal of empty values, and names that YAML would read as
something else, such as `#1871`.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from htrcompress.errors import HtrError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

T = TypeVar("T")


def parse(
    command: Callable[..., Any], positional: str | None, argv: Sequence[str], program: str | None = None
) -> tuple[dict[str, Any], bool]:
    """The command's arguments, and whether the result is wanted as JSON."""
    kind = get_type_hints(command)["options"]
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    parser = _parser(kind, positional, program, explained=not {"-h", "--help"}.isdisjoint(words[:end]))
    words[:end] = (_of_file(_with_underscores(word), _file_groups(kind)) for word in words[:end])
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


def _file_groups(kind: type[Any]) -> frozenset[str]:
    """Groups of options that a file alone can stand for: those with an option `file`."""
    groups = {name: hint for name, hint in get_type_hints(kind).items() if dataclasses.is_dataclass(hint)}
    return frozenset(name for name, hint in groups.items() if "file" in {f.name for f in dataclasses.fields(hint)})


def _of_file(word: str, groups: frozenset[str]) -> str:
    """`--lm=letters.ngram` as `--lm.file=letters.ngram`."""
    name, equals, value = word.partition("=")
    return f"{name}.file{equals}{value}" if name.startswith("--") and name[2:] in groups else word


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
    kind: type[Any], parser: "ArgumentParser", parse: Callable[[], "Namespace"], skip: str | None = None
) -> dict[str, Any]:
    """What the parser makes of its input: a value for each option, groups as dataclasses."""
    from jsonargparse import ArgumentError

    hints = {name: hint for name, hint in get_type_hints(kind).items() if name != skip}
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


def _parser(kind: type[Any], positional: str | None, program: str | None, explained: bool = False) -> "ArgumentParser":
    """A parser of these options; the sources, which explain them, are read only where help is asked for."""
    import yaml
    from docstring_parser import parse_from_object
    from jsonargparse import ActionYesNo, ArgumentParser, set_loader, set_parsing_settings
    from jsonargparse.typing import register_type

    set_parsing_settings(docstring_parse_attribute_docstrings=explained)
    files = _file_groups(kind)
    set_loader("htrcompress", partial(_load, files=files), (yaml.YAMLError,))
    register_type(Path, str, _path)
    hints, parameters = get_type_hints(kind), signature(kind).parameters
    described = parse_from_object(kind).params if explained else ()
    help_of = dict.fromkeys(parameters, "") | {p.arg_name: p.description or "" for p in described}
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
    parser.add_class_arguments(kind, as_group=False, skip=by_hand)
    for name in switches:
        off_on = ActionYesNo(no_prefix="no-")
        parser.add_argument(f"--{name}", action=off_on, default=parameters[name].default, help=help_of[name])
    for action in parser._actions:
        if action.dest in files:
            action.metavar, action.help = "FILE", f"The same as --{action.dest}.file"
    if positional:
        many = get_origin(hints[positional]) in (list, tuple)
        item = next((kind for kind in get_args(hints[positional]) if kind is not NoneType), hints[positional])
        parser.add_argument(positional, nargs="+" if many else "?", type=item, help=help_of[positional])
    return parser


def _load(text: str, files: frozenset[str]) -> Any:
    """A word of the command line or a `--config` file as YAML; `#name` and `&name` are names, not YAML's syntax."""
    from jsonargparse import get_loader

    if any("\ud800" <= character <= "\udfff" for character in text):
        return text  # a file name that is not UTF-8, which YAML cannot be
    value = get_loader("yaml")(text)
    if isinstance(value, dict):  # a file of options
        value = {k: {"file": v} if k in files and isinstance(v, str) else v for k, v in value.items()}
    return text if value is None and text.strip() not in ("null", "~") else value


def _path(text: str) -> Path:
    if not text:
        raise ValueError("empty")
    return Path(text)


def _sentence(message: str, hints: dict[str, Any]) -> str:
    """What the parser complains about, in one line that names the option as it is typed."""
    if message.startswith("Unexpected config"):
        return "the file given to --config holds no options: it is YAML, with lines such as `batch: 8`"
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
