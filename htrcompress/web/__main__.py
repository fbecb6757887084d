"""Serves the page that reads lines, on this machine alone: `python -m htrcompress.web`, which prints its address."""

from dataclasses import dataclass

from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.index import PACKAGED, Entry, read_folder
from htrcompress.cli import console, run_command
from htrcompress.errors import HtrError
from htrcompress.web.server import LOOPBACK, Server, Shelf


@dataclass(frozen=True)
class WebOptions:
    """Serves a page that reads images of lines, on this machine's own address; no image is kept."""

    model: str | None = None
    """The models that the page offers, with commas between: names (see `htrcompress models`) or files; those inside the
    package if not given. The first one reads until another is chosen."""
    port: int = 8020
    """Where to listen; 0 takes a free port."""
    threads: int | None = None
    """CPU threads; one for each core that the process may use if not given."""


def offered(names: str | None) -> tuple[str, ...]:
    """The models that the page offers, the default first.

    Raises:
        HtrError: no name is given.
    """
    if names is None:
        return tuple(sorted(read_folder(PACKAGED, Entry), key=lambda name: (name != DEFAULT, name)))
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not found:
        raise HtrError("--model names no model: leave it out, or write names with commas between")
    return found


def serve(options: WebOptions) -> None:
    """Serves the page until the process is interrupted.

    Raises:
        HtrError: the first model cannot be opened, or the port cannot be used.
    """
    if not 0 <= options.port <= 65535:
        raise HtrError(f"--port must be from 0 to 65535, not {options.port}")
    shelf = Shelf(offered(options.model), options.threads)
    for name in shelf.names:  # so that a wrong name is an error now, not at the first image
        shelf.recognizer(name)
    with Server(options.port, shelf) as server:
        console.print(f"reading at http://{LOOPBACK}:{server.port}/ (Ctrl-C ends it)")
        server.serve_forever()


if __name__ == "__main__":
    run_command(serve)
