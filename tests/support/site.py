"""An app behind a real nginx and a gate, with the users' configuration from deploy/proxies."""

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
    """The address of nginx, and the app behind it."""

    url: str
    app: EchoApp
    client: Client

    async def get(self, token: str | None = None, headers: Headers = ()) -> Answer:
        """Return nginx's response to a request for the app."""
        return await self.client.get(f"{self.url}/page", token, headers)

    async def verdict(self, token: str | None) -> tuple[int, str]:
        """Return the status and reason of nginx's response."""
        return (await self.get(token)).verdict


@asynccontextmanager
async def site_behind(gate: RunningGate, folder: Path) -> AsyncIterator[Site]:
    """Run an app behind nginx and this gate."""
    port = free_port()
    async with EchoApp() as app:
        text = protected_app(listen=port, gate=gate.address, app=app.address)
        async with Nginx(folder / "nginx", text, port=port) as nginx:
            yield Site(nginx.url, app, gate.client)


def seen_by_app(answer: Answer) -> SeenRequest:
    """Return the request as the app received it. The app's response describes it."""
    assert answer.status == 200, answer
    return SeenRequest.of_answer(json.loads(answer.body))
