"""Drives a headless Chromium through ChromeDriver's own protocol (W3C WebDriver), which is JSON over HTTP.

Debian's packages are `chromium` and `chromium-driver`. Nothing else is needed for the few commands that
`test_browser.py` gives.
"""

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1100,900"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element's number, by the standard."""
PATIENCE = 60.0


class Browser:
    """One session of a browser."""

    def __init__(self, address: str):
        self._address, self._session = address, ""
        options = {"binary": CHROMIUM, "args": ARGUMENTS}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        connection = HTTPConnection(self._address, timeout=PATIENCE)
        connection.request(method, self._session + path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        value = json.load(answer)["value"]
        connection.close()
        assert answer.status == 200, value["message"]
        return value

    def open(self, url: str) -> None:
        """Goes to a page and waits until it has its models, or says why not."""
        self._send("POST", "/url", {"url": url})
        self.wait("document.body.dataset.ready || document.getElementById('status').textContent")

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression in the page."""
        return self._send("POST", "/execute/sync", {"script": f"return {script}", "args": list(arguments)})

    def wait(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE:.0f} seconds: {script}")

    def find(self, selector: str) -> str:
        """The number of the first element."""
        return str(self._send("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT])

    def type(self, selector: str, text: str) -> None:
        """Types into an element; into a file input, the paths of files, a line each."""
        self._send("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Presses and releases keys, wherever the focus is."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self) -> list[str]:
        """What was written to the console since the last call, warnings and errors alone."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def width(self, pixels: int) -> None:
        """Shows the page as a screen so wide does."""
        sizes = {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **sizes)

    def picture(self, path: Path) -> None:
        """Writes a picture of the whole page."""
        found = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """Ends the session."""
        self._send("DELETE", "")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, with a driver of its own."""
    assert DRIVER
    with subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout
            for line in driver.stdout:
                if found := re.search(r"successfully on port (\d+)", line):
                    break
            session = Browser(f"127.0.0.1:{found[1]}")  # type: ignore[index]
            yield session
            session.close()
        finally:
            driver.terminate()
