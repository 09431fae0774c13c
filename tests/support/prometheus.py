"""A real Prometheus, and queries to it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from tests.support.process import ChildProcess, free_port
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Prometheus:
    """The API of a Prometheus at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def ask(self, what: str, **parameters: str) -> Any:
        """Return the data of the answer to a GET below /api/v1."""
        address = f"{self.url}/api/v1/{what}?{urlencode(parameters)}"
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            document = await answer.json()
        assert document["status"] == "success", document
        return document["data"]

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an expression now."""
        found = (await self.ask("query", query=expression))["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]


@asynccontextmanager
async def prometheus(folder: Path, config: Mapping[str, Any]) -> AsyncIterator[Prometheus]:
    """Run Prometheus with this configuration. Skip the test if it is not installed."""
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    command: list[str | Path] = [require_tool("prometheus", "a real one scrapes and evaluates")]
    command += [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]

    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as session:
                return (await session.get(f"http://127.0.0.1:{port}/-/ready")).status == 200
        except aiohttp.ClientError:
            return False

    async with ChildProcess(command, log=folder / "prometheus.log", ready=ready):
        yield Prometheus(f"http://127.0.0.1:{port}")
