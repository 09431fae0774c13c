"""An app behind a real nginx that asks a gate, with the configuration that deploy/proxies gives users."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.gate import Answer, Client, Headers, RunningGate
from tests.support.nginx import EchoApp, Nginx, SeenRequest, protected_app
from tests.support.process import free_port


@dataclass(frozen=True, slots=True)
class Site:
    """What a client reaches: nginx, and behind it the app."""

    url: str
    app: EchoApp
    client: Client

    async def get(self, token: str | None = None, headers: Headers = ()) -> Answer:
        """What nginx answers to a request for the app."""
        return await self.client.get(f"{self.url}/page", token, headers)

    async def verdict(self, token: str | None) -> tuple[int, str]:
        """The status and reason of nginx' answer."""
        return (await self.get(token)).verdict


@asynccontextmanager
async def site_behind(gate: RunningGate, folder: Path) -> AsyncIterator[Site]:
    """The site of a running gate."""
    port = free_port()
    async with EchoApp() as app:
        text = protected_app(listen=port, gate=gate.address, app=app.address)
        async with Nginx(folder / "nginx", text, port=port) as nginx:
            yield Site(nginx.url, app, gate.client)


def seen_by_app(answer: Answer) -> SeenRequest:
    """The request as it reached the app, which answers with what it saw."""
    assert answer.status == 200, answer
    return SeenRequest.of_answer(json.loads(answer.body))
