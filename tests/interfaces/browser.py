"""Headless Chromium over its DevTools protocol: enough to wait for a text and take a picture."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# SVG labels are not part of innerText.
_SHOWN = """document.body ? document.body.innerText + ' '
+ [...document.querySelectorAll('svg text')].map(t => t.textContent).join(' ') : ''"""


def find() -> str | None:
    """Path of an installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, url: str) -> None:
        from websockets.sync.client import connect

        self._socket = connect(url, max_size=None)
        self._count = 0

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one DevTools command and wait for its answer."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression."""
        return self.command("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, before: str = "") -> None:
        """Load an address; ``before`` runs ahead of the page's own scripts."""
        self.command("Page.enable")
        if before:
            self.command("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.command("Page.navigate", url=url)

    def wait_for(self, *texts: str, seconds: float = 60) -> str:
        """Wait until all texts are on the page; returns all its text."""
        deadline = time.monotonic() + seconds
        while True:
            # SVG labels are not part of innerText.
            shown = (
                self.evaluate("document.body ? document.body.innerText + ' ' + document.body.textContent : ''") or ""
            )
            missing = [text for text in texts if text not in shown]
            if not missing:
                return str(shown)
            assert time.monotonic() < deadline, f"the page never showed {missing}; it shows: {shown[:2000]}"
            time.sleep(0.3)

    def picture(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(profile: Path, width: int = 1600, height: int = 1000) -> Iterator[Page]:
    """A fresh headless browser with one tab."""
    chromium = find()
    assert chromium is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    ports = [f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--window-size={width},{height}"]
    process = subprocess.Popen([chromium, *flags, *ports, "about:blank"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        port = next(
            m.group(1) for line in process.stderr if (m := re.search(r"DevTools listening on ws://[^:]+:(\d+)", line))
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(t for t in json.load(answer) if t["type"] == "page")
        yield Page(tab["webSocketDebuggerUrl"])
    finally:
        process.terminate()
        process.wait(20)
