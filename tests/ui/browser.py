"""Headless Chromium, by the Chrome DevTools Protocol (https://chromedevtools.github.io)."""

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.polling import poll

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 180


class Page:
    """A tab of the browser."""

    def __init__(self, socket):
        self._socket = socket
        self._last = 0

    def call(self, method, **params):
        """Call a method of the protocol and return its result."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=SECONDS))
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url, *, theme="dark"):
        """Open a page of Prefect, which keeps the theme that its user has chosen."""
        choice = f"localStorage.setItem('color-scheme', '\"{theme}\"')"
        self.call("Page.addScriptToEvaluateOnNewDocument", source=choice)
        self.call("Page.navigate", url=url)

    def evaluate(self, script):
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    def text(self):
        """Return the text that the page shows."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def wait(self, script, what):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(script):
            assert time.monotonic() < end, f"{what} is not on the page:\n{self.text()}"
            time.sleep(0.1)

    def wait_for_text(self, *texts):
        """Wait until the page shows these texts."""
        for text in texts:
            shown = f"document.body.innerText.includes({json.dumps(text)})"
            self.wait(f"document.body && {shown}", text)

    def click(self, text):
        """Click on the innermost element that shows this text, and nothing else."""
        found = f"""[...document.querySelectorAll('a, button, span, div, li')]
            .findLast(e => e.offsetParent && e.innerText.trim() === {json.dumps(text)})"""
        self.wait(f"Boolean({found})", f"an element {text!r}")
        self.evaluate(f"{found}.click()")

    def screenshot(self, name):
        """Keep what the page looks like."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        data = self.call("Page.captureScreenshot", format="png")["data"]
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(data))


@contextmanager
def opened(profile):
    """Yield a page of a new browser."""
    command = [
        _binary(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--window-size=1400,1100",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = _page_address(profile, process)
        options = {"max_size": None, "open_timeout": SECONDS, "ping_interval": None}
        with connect(address, **options) as socket:
            page = Page(socket)
            page.call("Page.enable")
            yield page
    finally:
        process.terminate()
        process.wait(SECONDS)


def _binary():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"there is no browser here; install one of {', '.join(NAMES)}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


def _page_address(profile, process):
    """Return the WebSocket address of the first tab; Chromium writes its port to the profile."""
    file, end = Path(profile) / "DevToolsActivePort", time.monotonic() + SECONDS
    while not (file.exists() and len(file.read_text().splitlines()) == 2):
        assert process.poll() is None, "the browser ended"
        assert time.monotonic() < end, "the browser does not start"
        time.sleep(0.05)
    port = file.read_text().splitlines()[0]
    address = f"http://127.0.0.1:{port}/json/list"

    def tabs():
        targets = httpx.get(address, timeout=SECONDS, trust_env=False).json()
        return [own["webSocketDebuggerUrl"] for own in targets if own["type"] == "page"]

    return poll(tabs, bool, SECONDS)[0]
