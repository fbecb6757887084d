"""The server behind the page: who may ask, what it takes and gives; `test_browser.py` has the page itself."""

import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

import htrcompress
from htrcompress import HtrError
from htrcompress.catalogue import DEFAULT
from htrcompress.web import guard
from htrcompress.web.__main__ import WebOptions, offered, serve
from htrcompress.web.server import FILES, PAGE, Server, Shelf

ROOT = Path(__file__).parent.parent
ROSES = ROOT / "examples" / "roses.png"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(0, Shelf(offered(None), 1)) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPResponse]:
    """An answer's status, content and headers; the request is as the page makes it, but for the headers given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    sent = {"Origin": f"http://127.0.0.1:{server.port}", "Content-Type": "image/png"} if method == "POST" else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {name: value for name, value in sent.items() if value})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer


def test_an_image_is_read_as_from_python(server: Server) -> None:
    status, content, _ = ask(server, "POST", f"/read?model={DEFAULT}", ROSES.read_bytes())
    found = json.loads(content)
    reading = htrcompress.load(threads=1).read([ROSES], spans=True)[0]
    assert status == 200 and found["text"] == reading.text
    assert [(c["text"], c["confidence"]) for c in found["characters"]] == [
        (span.text, pytest.approx(span.confidence)) for span in reading.characters
    ]
    assert found["milliseconds"] > 0 and not found["hint"]


def test_the_page_and_its_files_are_served(server: Server) -> None:
    for path, (name, kind) in FILES.items():
        status, content, answer = ask(server, "GET", path)
        assert status == 200 and content == (PAGE / name).read_bytes() and answer.getheader("Content-Type") == kind
        for header, value in guard.HEADERS.items():
            assert answer.getheader(header) == value
    status, content, _ = ask(server, "GET", "/models")
    assert json.loads(content)[0] == {"name": DEFAULT}


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?:|//[a-z]+\.|style=|<script>|<style|\son\w+=", text), path


@pytest.mark.parametrize("path", ["/../server.py", "/page/index.html", "/..%2fserver.py", "/etc/passwd", "/read"])
def test_nothing_else_is_served(server: Server, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("host", ["evil.test", "evil.test:{port}", "127.0.0.1", "0.0.0.0:{port}", "[::1]:{port}"])
def test_another_host_is_not_answered(server: Server, host: str) -> None:
    """A name that someone lets point to the loopback address arrives in the Host header."""
    for method, path in (("GET", "/"), ("GET", "/models"), ("POST", f"/read?model={DEFAULT}")):
        status, content, _ = ask(server, method, path, b"x", Host=host.format(port=server.port))
        assert status == 421 and b"http://127.0.0.1" in content


@pytest.mark.parametrize("origin", ["", "null", "http://evil.test", "https://127.0.0.1:{port}", "http://127.0.0.1"])
def test_another_sites_page_reads_nothing(server: Server, origin: str) -> None:
    path = f"/read?model={DEFAULT}"
    assert ask(server, "POST", path, ROSES.read_bytes(), Origin=origin.format(port=server.port))[0] == 403


def test_localhost_is_the_same_machine(server: Server) -> None:
    own = f"localhost:{server.port}"
    path = f"/read?model={DEFAULT}"
    assert ask(server, "POST", path, ROSES.read_bytes(), Host=own, Origin=f"http://{own}")[0] == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "image/svg+xml"]
)
def test_what_is_no_image_is_refused(server: Server, kind: str) -> None:
    status, content, _ = ask(server, "POST", f"/read?model={DEFAULT}", b"x", Content_Type=kind)
    assert status == 415 and kind in json.loads(content)["error"]


def test_what_only_says_that_it_is_an_image_is_refused(server: Server) -> None:
    status, content, _ = ask(server, "POST", f"/read?model={DEFAULT}", b"GIF89a, or not")
    assert status == 422 and "image" in json.loads(content)["error"]


@pytest.mark.parametrize("length", [str(guard.MOST_BYTES + 1), "9" * 12, "0"])
def test_a_huge_or_empty_upload_is_refused_before_it_is_read(server: Server, length: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        own = f"127.0.0.1:{server.port}"
        head = f"POST /read?model={DEFAULT} HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
        connection.sendall(f"{head}Content-Type: image/png\r\nContent-Length: {length}\r\n\r\n".encode())
        assert b" 413 " in connection.makefile("rb").readline()


@pytest.mark.parametrize("length", ["", "-1", "ten", "٣", "9" * 40, "0" * 12 + "9" * 12])
def test_an_upload_says_how_long_it_is(length: str) -> None:
    headers = Message()
    headers["Content-Type"] = "image/png"
    if length:
        headers["Content-Length"] = length
    with pytest.raises(guard.Rejected) as refused:
        guard.check_image(headers)
    assert refused.value.status == 411


def test_a_browser_that_leaves_costs_nothing(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    own = f"127.0.0.1:{server.port}"
    head = f"POST /read?model={DEFAULT} HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            )  # ends with a reset
            connection.sendall(f"{head}Content-Type: image/png\r\nContent-Length: 999\r\n\r\nhalf".encode())
    assert ask(server, "GET", "/models")[0] == 200
    assert not capfd.readouterr().err


def test_a_model_that_is_not_offered_is_not_opened(server: Server) -> None:
    for name in ("../../etc/passwd", "", "https://evil.test/model.onnx"):
        status, content, _ = ask(server, "POST", f"/read?model={name}", ROSES.read_bytes())
        assert status == 404 and DEFAULT in json.loads(content)["error"]


def test_many_at_once_read_the_same(server: Server) -> None:
    found: list[bytes] = []

    def read() -> None:
        found.append(json.loads(ask(server, "POST", f"/read?model={DEFAULT}", ROSES.read_bytes())[1])["text"])

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1


def test_a_port_in_use_is_told(server: Server) -> None:
    with pytest.raises(HtrError, match="--port"):
        serve(WebOptions(port=server.port))
    with pytest.raises(HtrError, match="--port"):
        serve(WebOptions(port=70000))


def test_which_models_are_offered() -> None:
    assert offered(None)[0] == DEFAULT
    assert offered("a.onnx, b,a.onnx") == ("a.onnx", "b")
    with pytest.raises(HtrError, match="--model"):
        offered(" , ")
    with pytest.raises(HtrError, match=DEFAULT):
        serve(WebOptions(model=DEFAULT[:-1], port=0))


def test_the_command_says_where_the_page_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "htrcompress.web", "--port", "0", "--model", DEFAULT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=None) as process:
        try:
            assert process.stdout
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            connection.request("GET", "/models")
            assert json.loads(connection.getresponse().read()) == [{"name": DEFAULT}]
            connection.close()
        finally:
            process.terminate()
