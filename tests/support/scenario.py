"""The cluster of `authgate dev`, with a server that records requests and has faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from authgate.dev.keys import SigningKey
from authgate.dev.kube import DEFAULT_ISSUER
from authgate.dev.scenario import Scenario as PlainScenario
from tests.support.embedded_server import EmbeddedServer
from tests.support.token_requests import TokenRequests


class Scenario(PlainScenario):
    """A demo cluster that also serves TokenRequest."""

    def __init__(self, folder: Path, *, key: SigningKey | None, issuer_url: str, port: int) -> None:
        super().__init__(folder, key=key, issuer_url=issuer_url)
        requests = TokenRequests(self.state)
        self.server = EmbeddedServer(requests, self.api, port=port, certificate=self.certificate)

    @property
    def issuer_url(self) -> str:
        """The `iss` of the cluster's tokens."""
        return self.state.issuer.url

    @property
    def api_url(self) -> str:
        """The base URL of the API server."""
        return self.server.url


@asynccontextmanager
async def running_scenario(
    folder: Path, *, key: SigningKey | None = None, issuer_url: str = DEFAULT_ISSUER, port: int = 0
) -> AsyncIterator[Scenario]:
    """Run a demo cluster and write its files; the files remain when it stops."""
    scenario = Scenario(folder, key=key, issuer_url=issuer_url, port=port)
    async with scenario.server:
        scenario.write_files(scenario.api_url)
        yield scenario
