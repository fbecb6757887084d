"""Builds the page that reads lines without a server: `python export/web/build.py --out export/web/site`.

The folder holds the page of `htrcompress.web`, the models, and ONNX Runtime compiled to WebAssembly, which `npm ci` in
`export/web` installs. Any web server can serve it, such as `python -m http.server`; nothing runs on the server's side.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htrcompress.catalogue.find import locate
from htrcompress.cli import run_command
from htrcompress.errors import HtrError
from htrcompress.runtime.onnx_backend import DECODED
from htrcompress.runtime.onnx_session import open_session, stored_card
from htrcompress.utils.io import write_atomic
from htrcompress.web.__main__ import offered
from htrcompress.web.server import FILES, PAGE

HERE = Path(__file__).parent
RUNTIME = HERE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
OWN_FILES = ("engine.js", "picture.js")
NOTICE = HERE.parent.parent / "NOTICE"
"""Names the data that the models were trained on, as its licences ask."""


@dataclass(frozen=True)
class BuildOptions:
    """Builds a folder with the page that reads lines in the browser, without a server."""

    out: Path = HERE / "site"
    """The folder to write; files of an earlier build in it are replaced."""
    model: str | None = None
    """The models that the page offers, with commas between: names or .onnx files; those inside the package if not
    given."""


@dataclass(frozen=True)
class Site:
    """What was built.

    Attributes:
        path: the folder.
        models: the names of the models in it.
        bytes: size of all files together.
    """

    path: Path
    models: list[str]
    bytes: int

    def __rich__(self) -> str:
        return (
            f"{self.path}: {', '.join(self.models)}, {self.bytes / 2**20:.1f} MiB; look at it with\n"
            f"python -m http.server --bind 127.0.0.1 --directory {self.path} 8021"
        )


def build(options: BuildOptions) -> Site:
    """Builds a folder with the page that reads lines in the browser, without a server.

    Raises:
        HtrError: ONNX Runtime for the web is not installed, or a model does not work in a browser.
    """
    missing = [name for name in RUNTIME_FILES if not (RUNTIME / name).is_file()]
    if missing:
        raise HtrError(f"{RUNTIME} lacks {missing[0]}: run `npm ci` in {HERE}, or `make web`")
    entries: list[dict[str, Any]] = []
    content: dict[str, bytes] = {}
    for number, name in enumerate(offered(options.model)):
        path = locate(name)
        if path.suffix != ".onnx":
            raise HtrError(f"{name} cannot be read in a browser: give an .onnx file")
        entries.append(_entry(path, name, number))
        content[entries[-1]["file"]] = path.read_bytes()
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise HtrError(f"two models have one name ({', '.join(names)}): rename a file")
    content["models.json"] = json.dumps(entries, ensure_ascii=False).encode()
    content |= {name: (PAGE / name).read_bytes() for name, _ in FILES.values()}
    content |= {name: (HERE / name).read_bytes() for name in OWN_FILES}  # its engine takes the place of the server's
    content |= {f"ort/{name}": (RUNTIME / name).read_bytes() for name in RUNTIME_FILES}
    content["NOTICE.txt"] = NOTICE.read_bytes()
    for name, data in content.items():
        write_atomic(options.out / name, data)
    return Site(options.out, names, sum(map(len, content.values())))


def _entry(path: Path, name: str, number: int) -> dict[str, Any]:
    """What the browser has to know about a model; it cannot see the card inside the file.

    Raises:
        HtrError: the file has no decoder or no logits inside, or its text would have to be put into another order.
    """
    session, _ = open_session(path, str(path), "cpu", 1)
    card = stored_card(session, str(path))
    if card.characters().reorders:
        raise HtrError(f"{path} reads from right to left, and the page in the browser does not order such text")
    if not {*DECODED, "logits"} <= {output.name for output in session.get_outputs()}:
        raise HtrError(f"{path} has no decoder inside: export it with --decode graph")
    sizes = {"height": card.height, "stride": card.stride, "max_width": card.max_width, "charset": card.charset}
    safe = re.sub(r"[^\w.-]", "-", path.name)
    shown = Path(name).stem if "/" in name or name.endswith(path.suffix) else name
    return {"name": shown, "file": f"models/{number}-{safe}", **sizes}


if __name__ == "__main__":
    run_command(build)
