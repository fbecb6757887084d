"""The page that reads lines, in headless Chromium: `make test-browser`.

It is served by the package, and as a folder of files. In the folder the browser computes, whose INT8 kernels round
otherwise than a processor's own in the last bit: what the default model reads in these ten lines is the same in both.
"""

import base64
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, DRIVER, Browser, browser
from PIL import Image

import htrcompress
from htrcompress.data.synthetic import FONTS, Scan, render
from htrcompress.image import resize_to_height
from htrcompress.image_files import read_grey
from htrcompress.transcribe import TranscribeOptions, transcribe
from htrcompress.web.__main__ import offered
from htrcompress.web.server import Server, Shelf

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium: apt-get install chromium-driver"),
]
ROOT = Path(__file__).parent.parent
SENTENCES = ("Read the whole letter first.", "Nine ships (of 12) came back!", "Le chat dort sur la table.")
READ = "[...document.querySelectorAll('.readings > :nth-child(%d) .text')].map(e => e.textContent)"
DONE = "document.getElementById('status').textContent.includes('done')"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as session:
        yield session


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten lines: the three examples and seven that are drawn."""
    folder = tmp_path_factory.mktemp("lines")
    found = sorted((ROOT / "examples").glob("*.png"))
    for number in range(7):
        scan = Scan(SENTENCES[number % 3], FONTS["train"][number], writer=number, seed=number)
        found.append(folder / f"line {number}.png")
        Image.fromarray(render(scan)).save(found[-1])
    return found


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of the page that the package serves."""
    with Server(0, Shelf(offered(None), 1)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.port}/"
        server.shutdown()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page as a folder of files."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "export" / "web" / "build.py"), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(params=["served", "static"])
def page(request: pytest.FixtureRequest, chrome: Browser) -> Iterator[Browser]:
    """The page, in both forms; whatever a test does, nothing is complained of in the console."""
    chrome.width(1100)
    chrome.open(request.getfixturevalue(request.param))
    assert chrome.run("document.body.dataset.ready") == "yes"
    yield chrome
    assert chrome.console() == []


def keep(page: Browser, name: str) -> None:
    """A picture of the page, for people, where `HTRCOMPRESS_PICTURES` names a folder."""
    if folder := os.environ.get("HTRCOMPRESS_PICTURES"):
        kind = "static" if "browser" in page.run("document.getElementById('where').textContent") else "served"
        page.picture(Path(folder) / f"{name}-{kind}.png")


def test_two_models_read_ten_lines_as_transcribe_does(page: Browser, images: list[Path]) -> None:
    names = page.run("[...document.getElementById('first').options].map(o => o.value)")
    page.type("#second", names[1])
    page.type("#files", "\n".join(map(str, images)))
    page.wait(DONE)
    computed_here = page.run("document.getElementById('where').textContent").startswith("Images go to")
    for place, name in enumerate(names[: 1 + computed_here], 1):
        expected = [line.text for line in transcribe(TranscribeOptions(images, name)).images]
        assert page.run(READ % place) == expected
    assert len(page.run(READ % 2)) == len(images)
    assert page.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    keep(page, "wide")


def test_it_fits_a_narrow_screen(page: Browser, images: list[Path]) -> None:
    page.width(360)
    page.type("#second", page.run("document.getElementById('first').options[1].value"))
    page.type("#files", "\n".join(map(str, images[:3])))
    page.wait(DONE)
    assert page.run("document.documentElement.scrollWidth") <= 360
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.run("document.documentElement.scrollWidth") <= 360
    small = "[...document.querySelectorAll('button, select, .drop label')].filter(e => e.offsetHeight < 24).length"
    assert page.run(small) == 0
    keep(page, "narrow")


def test_keys_are_enough(page: Browser, images: list[Path]) -> None:
    tab, reached = "\ue004", []
    page.run("document.body.focus()")
    page.type("#files", str(images[0]))
    page.wait(DONE)
    for _ in range(12):
        page.press(tab)
        reached.append(page.run("document.activeElement.id || document.activeElement.tagName"))
    assert {"first", "second", "files", "copy", "clear"} <= set(reached)
    while page.run("document.activeElement.id") != "clear":
        page.press(tab)
    page.press("\ue007")
    page.wait("document.getElementById('lines').children.length === 0")
    assert page.run("document.activeElement.id") == "files"


def test_a_screen_reader_is_told_everything(page: Browser, images: list[Path]) -> None:
    page.type("#files", str(images[0]))
    page.wait(DONE)
    nodes = page.devtools("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node.get("ignored")]
    named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in shown if "role" in n}
    controls = [(role, name) for role, name in named if role in ("button", "combobox", "textbox", "image", "heading")]
    assert controls and all(name for _, name in controls), controls
    assert ("image", f"The line in {images[0].name}") in named
    assert any(role == "status" for role, _ in named)
    assert any(role == "combobox" and name.startswith("Model") for role, name in named)
    assert any("Choose images" in name for role, name in named if role == "button")
    assert page.run("document.documentElement.lang") == "en"


def test_what_is_no_image_is_told(page: Browser, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page.type("#files", f"{tmp_path / 'notes.txt'}\n{images[0]}")
    page.wait(DONE)
    errors = page.run("[...document.querySelectorAll('[role=alert]')].map(e => e.textContent)")
    assert len(errors) == 1 and "no image" in errors[0]
    assert len(page.run(READ % 1)) == 1


def test_a_damaged_image_is_told(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    page.type("#files", str(tmp_path / "broken.png"))
    page.wait(DONE)
    [error] = page.run("[...document.querySelectorAll('[role=alert]')].map(e => e.textContent)")
    assert "image" in error
    page.console()  # the server's refusal and the picture that cannot be shown are there


def test_an_image_is_pasted(page: Browser, images: list[Path]) -> None:
    paste = """(() => {
        const canvas = document.createElement("canvas");
        canvas.width = 300; canvas.height = 60;
        const context = canvas.getContext("2d");
        context.fillStyle = "white"; context.fillRect(0, 0, 300, 60);
        context.fillStyle = "black"; context.font = "40px serif"; context.fillText("maison", 20, 42);
        canvas.toBlob((blob) => {
            const data = new DataTransfer();
            data.items.add(new File([blob], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        });
    })()"""
    page.run(paste)
    page.wait(DONE)
    assert page.run("document.querySelector('figcaption').textContent") == "pasted.png"
    assert page.run(READ % 1)[0]


def test_doubtful_characters_are_marked(page: Browser, images: list[Path]) -> None:
    page.type("#files", "\n".join(map(str, images)))
    page.wait(DONE)
    shown = page.run("document.querySelectorAll('details table tr:first-child td').length")
    assert shown == sum(map(len, page.run(READ % 1)))
    assert page.run("[...document.querySelectorAll('mark[title]')].every(m => m.title.endsWith(' %'))")


PICTURES = {
    "grey": ((61, 400), "L", "PNG"),
    "colour": ((133, 777), "RGB", "PNG"),
    "small": ((9, 31), "RGB", "PNG"),
    "cut out": ((70, 500), "RGBA", "PNG"),
    "JPEG": ((90, 450), "L", "JPEG"),
    "colour JPEG": ((90, 450), "RGB", "JPEG"),
    "WebP": ((90, 450), "RGB", "WEBP"),
    "its own height": ((64, 300), "L", "PNG"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_are_those_of_python(chrome: Browser, static: str, name: str) -> None:
    (shape, mode, kind), random = PICTURES[name], np.random.default_rng(len(name))
    pixels = random.integers(0, 256, (*shape, len(mode)), dtype=np.uint8)
    if mode == "RGBA":  # a browser mixes what is partly transparent before a page sees it
        pixels[..., 3] = 255 * (random.random(shape) < 0.7)
    file = BytesIO()
    Image.fromarray(pixels.squeeze(), mode).save(file, kind)
    chrome.open(static)
    script = """import("./picture.js").then(async (module) => {
        const bytes = Uint8Array.from(atob(arguments[0]), (character) => character.charCodeAt(0));
        const file = new File([bytes], "line.png", { type: arguments[1] });
        const { grey, width } = await module.line(file, { height: 64, max_width: 4096 });
        return [[...grey], width];
    })"""
    found, width = chrome.run(script, base64.b64encode(file.getvalue()).decode(), f"image/{kind.lower()}")
    expected = resize_to_height(read_grey(BytesIO(file.getvalue()), name), 64, 4096)
    assert width == expected.shape[1]
    assert np.array_equal(np.array(found).reshape(64, width), expected)


def test_a_browser_without_simd_is_told(chrome: Browser, static: str) -> None:
    script = chrome.devtools("Page.addScriptToEvaluateOnNewDocument", source="WebAssembly.validate = () => false;")
    try:
        chrome.open(static)
        assert "SIMD" in chrome.run("document.getElementById('status').textContent")
        assert chrome.run("document.getElementById('files').disabled")
    finally:
        chrome.devtools("Page.removeScriptToEvaluateOnNewDocument", **script)


def test_light_ink_is_hinted_at(page: Browser, images: list[Path], tmp_path: Path) -> None:
    with Image.open(images[0]) as picture:
        picture.point(lambda value: 255 - value).save(tmp_path / "light.png")
    page.type("#files", str(tmp_path / "light.png"))
    page.wait(DONE)
    hinted = bool(htrcompress.load(threads=1).read([tmp_path / "light.png"])[0].hint)
    assert hinted and "light ink" in page.run("document.querySelector('.hint').textContent")
