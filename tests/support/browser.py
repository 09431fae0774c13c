"""A real Chromium without a window, controlled over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from tests.support.process import until
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

PATIENCE: Final = 120
"""Seconds; a browser is slow to start on a machine that is busy."""
# Root's browser in a container cannot create the user namespaces of its sandbox.
_AS_ROOT: Final = ["--no-sandbox"] if os.geteuid() == 0 else []


class Page:
    """One tab. It collects its requests and what it writes to the console."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._loaded = False
        self.requests: list[str] = []
        """The URLs that it requested."""
        self.complaints: list[str] = []
        """Errors and warnings, also of the network and of the page's security policy."""

    async def open(self, url: str, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Load a page at this width of the window, in CSS pixels, and with this colour scheme."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.call(f"{domain}.enable")
        mobile = width < 500  # a phone scales a page that is too wide, and a desktop scrolls it
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
        )
        await self.call(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        self._loaded = False
        await self.call("Page.navigate", {"url": url})
        await self.loaded()

    async def loaded(self) -> None:
        """Wait until the next page is loaded, or return at once if it was loaded since the last call."""
        async with asyncio.timeout(PATIENCE):
            while not self._loaded:
                self._note(await self._socket.receive_json())
        self._loaded = False

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = await self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def screenshot(self) -> bytes:
        """Return a PNG of the whole page, however long it is."""
        metrics = await self.call("Page.getLayoutMetrics")
        size = metrics["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = await self.call("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(shot["data"])

    async def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Return the result of a command of the DevTools protocol."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": dict(parameters or {})})
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self._socket.receive_json()
                if message.get("id") == self._number:
                    assert "error" not in message, message
                    return message["result"]
                self._note(message)

    def _note(self, message: Mapping[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Log.entryAdded" if parameters["entry"]["level"] in ("warning", "error"):
                self.complaints.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(str(parameters))
            case "Page.loadEventFired":
                self._loaded = True
            case _:
                pass


@asynccontextmanager
async def browser(folder: Path, why: str) -> AsyncIterator[Page]:
    """Run Chromium with a new profile; yield its only tab."""
    program = require_tool("chromium", why)
    profile = folder / "profile"
    process = await asyncio.create_subprocess_exec(
        str(program),
        *("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--remote-debugging-port=0"),
        *_AS_ROOT,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        async with aiohttp.ClientSession() as session:
            tab = await _tab(session, profile / "DevToolsActivePort")
            async with session.ws_connect(tab, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _tab(session: aiohttp.ClientSession, file: Path) -> str:
    """Return the address of the tab, once Chromium has written its port and opened the tab."""
    found: list[str] = []

    async def opened() -> bool:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) < 2:
            return False
        with suppress(aiohttp.ClientError):
            async with session.get(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                tabs = await answer.json()
                found.extend(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        return bool(found)

    await until(opened, within=PATIENCE)
    return found[0]
