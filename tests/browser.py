"""A headless Chromium, driven over two pipes by its DevTools protocol: no port, no package.

https://chromedevtools.github.io/devtools-protocol/ : messages are JSON, each with a NUL behind it.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# the protocol is spoken on file descriptors 3 and 4, and any of ours may have these numbers
BEGIN = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
SECONDS_TO_ANSWER = 30.0
SECONDS_BETWEEN_LOOKS = 0.25


def program() -> str | None:
    """The browser's file; None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page of the browser. Every wait ends with an AssertionError that says what the page showed."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest = write, read, b""
        self._number = 0
        self._session = self._attached(self._call("Target.createTarget", url="about:blank")["targetId"])
        self._call("Page.enable")

    def size(self, width: int, height: int) -> None:
        """Of the window, in CSS pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        """A new document, even where only what is behind the # differs."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)

    def first(self, script: str) -> None:
        """What every document runs before anything of its own."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def ask(self, script: str, framed: bool = False) -> Any:
        """The value of a JavaScript expression; framed: in the page's iframe of another origin, None without one."""
        session = self._frame() if framed else self._session
        if session is None:
            return None
        said = self._call("Runtime.evaluate", session, expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def text(self, framed: bool = False) -> str:
        return str(self.ask("document.body ? document.body.innerText : ''", framed) or "")

    def wait(self, script: str, seconds: float, framed: bool = False) -> Any:
        """The expression's value once it is true."""
        until = time.monotonic() + seconds
        while not (value := self.ask(script, framed)):
            assert time.monotonic() < until, f"not so: {script}; the page: {self.text()[:2000]}"
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return value

    def settle(self, seconds: float = 2.0) -> None:
        """Until no animation moves any more: for a picture."""
        time.sleep(seconds)

    def save(self, file: Path) -> None:
        """What the window shows, as PNG."""
        shot = self._call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def _frame(self) -> str | None:
        found = [one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "iframe"]
        return self._attached(found[0]["targetId"]) if found else None

    def _attached(self, target: str) -> str:
        return str(self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        of = {} if method.startswith("Target.") else {"sessionId": session or self._session}
        message = {"id": self._number, "method": method, "params": parameters, **of}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS_TO_ANSWER
        while True:
            said = self._message(until)
            if said.get("id") == self._number:
                assert "error" not in said, (method, said["error"])
                return dict(said["result"])

    def _message(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A browser with its profile in `folder`, and one page; ended with the block."""
    found = program()
    assert found is not None
    (read_here, write_there), (read_there, write_here) = os.pipe(), os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    options += ["--disable-dev-shm-usage", "--disable-background-networking", f"--user-data-dir={folder}"]
    ends = [str(read_there), str(write_there)]
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, *ends, found, *options, "--remote-debugging-pipe", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(read_there, write_there),
    )
    for given in (read_there, write_there):
        os.close(given)
    try:
        yield Page(write_here, read_here)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(write_here)
        os.close(read_here)
