"""As much of a real browser as tests need: Debian's Chromium, driven through ChromeDriver (W3C WebDriver)."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

from .real import wait_until

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,1000",
]  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """As much of WebDriver as the tests need."""

    def __init__(self, profile):
        for program in ("chromium", "chromedriver"):
            assert shutil.which(program), f"{program} is not installed: apt install chromium chromium-driver"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._base = f"http://127.0.0.1:{port}"
        wait_until(self._is_up)
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        logging = {"goog:loggingPrefs": {"browser": "ALL"}}
        session = self._call(
            "POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options} | logging}}
        )
        self._base += f"/session/{session['sessionId']}"

    def _is_up(self):
        try:
            return self._call("GET", "/status")["ready"]
        except OSError:
            return False

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["value"]

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def find(self, selector):
        return self._call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def has(self, selector):
        return self.script(f"return document.querySelector({json.dumps(selector)}) !== null")

    def click(self, selector):
        self._call("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self._call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def script(self, text):
        return self._call("POST", "/execute/sync", {"script": text, "args": []})

    def text(self, selector):
        return self.script(f"return document.querySelector({json.dumps(selector)}).innerText")

    def press(self, keys):
        """Type where the focus is; names of keys as WebDriver has them."""
        self._call("POST", f"/element/{self._call('GET', '/element/active')[ELEMENT]}/value", {"text": keys})

    def resize(self, width, height=1000):
        """The inside of the window, as a screen of that width has it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme):
        """Light or dark."""
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self._devtools("Emulation.setEmulatedMedia", features)

    def _devtools(self, command, parameters):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def shoot(self, path):
        """A picture of what is shown, as PNG."""
        Path(path).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def complaints(self):
        return [entry for entry in self._call("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def close(self):
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)
