"""`htrcompress COMMAND ...` and `python -m htrcompress COMMAND ...`: the list of the commands, and a way in."""

import runpy
import sys

COMMANDS = {
    "data": "look at a dataset",
    "train": "train a network",
    "distill": "distil a student from a teacher",
    "prune": "make a trained network smaller",
    "evaluate": "score a model on a split",
    "export": "write ONNX files and TensorRT engines",
    "transcribe": "read images",
}


def main() -> None:
    """Runs the module that is named first on the command line."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        lines = "\n".join(f"  {command:<12}{what}" for command, what in COMMANDS.items())
        print(f"usage: htrcompress COMMAND [OPTION ...]\n\n{lines}\n\n`htrcompress COMMAND --help` lists its options.")
        if name not in ("", "-h", "--help"):
            print(f"error: there is no command '{name}'", file=sys.stderr)
            sys.exit(2)
        return
    del sys.argv[1]
    runpy.run_module(f"htrcompress.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
