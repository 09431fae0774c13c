"""An app behind a real proxy and a real gate, all on loopback, with a recording relay before the gate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import trustme

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.tools.snippets import Listen, Options, Upstream
from tests.proxies.app import App, Seen
from tests.proxies.relay import Relay
from tests.support.gate import AUDIENCE
from tests.support.process import ChildProcess, free_port, until
from tests.support.service import knowing, running
from tests.support.wire import Reply, ask, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.proxies.programs import Program

HEALTH = "/healthz"
"""The path that the proxy leaves open."""
UNGUARDED = "/open/*"
"""The paths that the gate's policy leaves open."""
RULES = [{"hosts": ["docs.example.com"], "methods": ["GET"], "paths": ["/pages/*"], "anonymous": True}]
"""The host, method and path that a rule of the policy leaves open."""


@dataclass(frozen=True, slots=True)
class Site:
    """A proxy with the gate and the app behind it."""

    program: Program
    options: Options
    address: str
    gate: Relay
    """The relay from the proxy to the gate."""
    way: Relay
    """The relay from the proxy to the app."""
    app: App
    issuer: Issuer
    process: ChildProcess

    def token(self, name: str = "ada", **claims: Any) -> str:
        """Return a valid token. The policy denies `mallory`."""
        return self.issuer.mint(name, AUDIENCE, claims=claims)

    async def ask(self, *lines: str | bytes, token: str | None = None) -> Reply:
        """Send one request with these lines, the first being the request line, on a new connection."""
        more = ["Host: app.example.com", *([bearer(token)] if token else []), "Connection: close"]
        if any(b"connection:" in _bytes(line).lower() for line in lines):
            more.pop()
        return await ask(self.address, *lines[:1], *more, *lines[1:])

    async def passes(self, *lines: str | bytes, token: str | None = None) -> Seen:
        """Send a request that must be allowed, and return it as the app received it."""
        before = len(self.app.seen)
        reply = await self.ask(*lines, token=token or self.token())
        assert (reply.status, len(self.app.seen) - before) == (200, 1), (reply, self.process.log_tail())
        return self.app.seen[-1]

    async def logged(self, text: str) -> str:
        """Wait until the proxy has logged a request with this text, such as its id; return the only line with it."""

        def found() -> list[str]:
            complete = self.process.output().split("\n")[:-1]
            return [line for line in complete if text in line]

        async def written() -> bool:
            return found() != []

        await until(written, within=30, otherwise=self.process.log_tail)
        [line] = found()
        return line


def certified(folder: Path) -> None:
    """Put a certificate and its key for TLS into a proxy's folder."""
    folder.mkdir(parents=True)
    certificate = trustme.CA().issue_cert("app.example.com", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "tls.crt", append=True)


def _bytes(line: str | bytes) -> bytes:
    return line if isinstance(line, bytes) else line.encode("latin-1")


@asynccontextmanager
async def protected(
    program: Program,
    folder: Path,
    *,
    socket: Path | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> AsyncIterator[Site]:
    """Yield the site with a proxy's snippet for these options; with a `socket` the gate listens there.

    `more` is added to the gate's configuration. The proxy's timeout for the gate is 4 seconds unless `gate_timeout`
    is given, so that the tests of a gate that hangs are short.
    """
    issuer = Issuer("https://issuer.example", SigningKey.generate("ES256"))
    chosen = Options(complete=True, **{"gate_timeout": 4, **options})
    document = {
        "jwt": [knowing(issuer)],
        "headers": {"preset": chosen.preset},
        "server": {"proxy": program.snippet.server_proxy},
        "policies": {
            "default": {"deny": [{"users": ["corp:mallory"]}], "anonymous": [UNGUARDED], "rules": RULES}
            | {"corsPreflight": "allow"}
        },
        **more,
    }
    if program.snippet.grpc:
        document["server"] = {"grpc": "127.0.0.1:0"}
    port = free_port(2)  # Traefik reaches the gate through the next entry point
    async with (
        running(document) as real,
        App() as app,
        Relay(real.grpc_address if program.snippet.grpc else real.address, socket=socket) as gate,
        Relay(app.address) as way,
    ):
        chosen = replace(
            chosen,
            gate=Upstream("", 0, str(socket)) if socket else Upstream("127.0.0.1", gate.port),
            app=options.get("app") or Upstream("127.0.0.1", way.port),
            listen=Listen("127.0.0.1", port),
        )
        async with program.running(folder, chosen) as process:
            yield Site(program, chosen, f"127.0.0.1:{port}", gate, way, app, issuer, process)
