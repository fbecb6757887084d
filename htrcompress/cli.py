"""From a typed function to a command: its options dataclass gives the flags and the help.

A command is a function `command(options: Options) -> Result`. `Options` is a frozen dataclass whose attribute
docstrings are the `--help`; a nested dataclass is a group, as in `--train.lr`. `run_command(command)` parses the
command line (`parsing.py`), calls the function and prints the result. `--config FILE.yaml` gives options from a
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
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from htrcompress.errors import HtrError, missing_extra, out_of_memory
from htrcompress.parsing import parse
from htrcompress.utils import machine


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
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata costs no picture; image.py checks sizes itself
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # PyTorch's waiting threads would spin on cores others need
    if sys.stdout is None or sys.stdout.closed:  # as for a service, or under pythonw
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (is open as long as the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal's code page may lack characters that are read, and a file's name may not be UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    result = None
    try:
        arguments, as_json = parse(command, positional, sys.argv[1:] if argv is None else argv, program)
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
        _fail_without(error)
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
    sys.exit(getattr(result, "exit_code", 0))


def _fail(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _on_sigterm(*_: object) -> None:
    """Ends the command through its clean-up code, so that nothing half-made is left."""
    sys.exit(143)


def _fail_without(error: ModuleNotFoundError) -> NoReturn:
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
