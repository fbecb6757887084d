"""The table of commands, and `htrcompress COMMAND ...`, which runs one of them (also `python -m htrcompress`)."""

import difflib
import importlib
import sys
from typing import NamedTuple

from htrcompress.cli import run_command


class Command(NamedTuple):
    """A command: its function as `module:function`, its option without a flag, what it does, and an example."""

    function: str
    positional: str | None
    summary: str
    example: str


COMMANDS = {
    "transcribe": Command("htrcompress.transcribe:transcribe", "images", "read images of lines", "page/*.png"),
    "models": Command("htrcompress.catalogue.__main__:models", "source", "list the models that have a name", "models/"),
    "web": Command("htrcompress.web.__main__:serve", None, "serve a page that reads lines", "--port 8080"),
    "data": Command("htrcompress.data.__main__:look", "path", "show what a dataset holds", "letters/"),
    "train": Command(
        "htrcompress.train:train_command", None, "train a network", "--data letters/ --model teacher --out runs/mine"
    ),
    "distill": Command(
        "htrcompress.distill:distill_command", None, "train a small student", "--data letters/ --teacher runs/mine"
    ),
    "prune": Command(
        "htrcompress.prune:prune_command", None, "make a trained network smaller", "--model runs/mine --flops 0.5"
    ),
    "evaluate": Command(
        "htrcompress.evaluate:evaluate", None, "measure a model's error rates", "--model runs/mine --data letters/"
    ),
    "lm": Command(
        "htrcompress.lm:make_language_model", "texts", "make a character language model", "letters/ --out letters.ngram"
    ),
    "native": Command(
        "htrcompress.native:compile_native", None, "compile the beam search for this machine", "--compiler g++"
    ),
    "calibrate": Command(
        "htrcompress.calibrate:calibrate",
        "model",
        "calibrate a model's confidences",
        "student.onnx --data letters/ --lm letters.ngram",
    ),
    "export": Command(
        "htrcompress.export.commands:export", "run", "write ONNX files and TensorRT engines", "runs/mine --int8"
    ),
    "verify": Command(
        "htrcompress.export.commands:verify",
        "folder",
        "compare exports with their model",
        "runs/mine/export/student --data letters/",
    ),
}


def main() -> None:
    """Runs the command that the first word names."""
    name, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in COMMANDS:
        command = COMMANDS[name]
        module, _, function = command.function.partition(":")
        call = getattr(importlib.import_module(module), function)
        run_command(call, command.positional, words, f"htrcompress {name}")
    print(usage())
    if name not in ("", "-h", "--help"):
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f": did you mean {near[0]}?" if near else ""
        print(f"error: there is no command '{name}'{meant}", file=sys.stderr)
        sys.exit(2)


def usage() -> str:
    """The commands with a line and an example each."""
    lines = []
    for name, command in COMMANDS.items():
        lines += [f"  {name:<12}{command.summary}", f"  {'':<12}    htrcompress {name} {command.example}".rstrip()]
    table = "\n".join(lines)
    return (
        f"usage: htrcompress COMMAND [OPTION ...]\n\n{table}\n\n`htrcompress COMMAND --help` lists a command's options."
    )


if __name__ == "__main__":
    main()
