"""A gate with every feature that has metrics, as a process with two workers, and the traffic that moves them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from authgate.server.exchange import GRANT, JWT_TYPE
from tests.support.authorization_server import CLIENT, INTROSPECT, SECRET, AuthorizationServer
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import failing
from tests.support.gate import AUDIENCE
from tests.support.process import free_port
from tests.support.service import cluster, of_cluster, published, trusting, written
from tests.support.watch_server import WatchServer
from tests.support.wire import ask
from tests.support.workers import Crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from authgate.dev.issuer import Issuer
    from tests.support.scenario import Scenario

DEMO = "system:serviceaccount:default:demo"
_WATCHED = {f"/api/v1/{resource}" for resource in ("serviceaccounts", "pods", "nodes")}
_FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
_FORWARDED = (("X-Original-Method", "GET"), ("X-Original-URI", "/metrics"))


@dataclass(frozen=True, slots=True)
class Monitored:
    """The gate, the servers that it calls, and its configuration."""

    gate: Crew
    folder: Path
    document: dict[str, Any]
    scenario: Scenario
    issuer: Issuer
    server: AuthorizationServer
    watched: WatchServer

    def rewrite(self, **sections: Any) -> None:
        """Write another configuration, which the gate applies or rejects."""
        written(self.folder, {**self.document, **sections})

    async def traffic(self) -> None:
        """Send each kind of request once, to every source. Then change an object, and interrupt the watches."""
        gate, state, issuer = self.gate, self.scenario.state, self.issuer
        known, fresh = issuer.mint("ada", claims={"groups": ["staff"]}), issuer.mint("eve")
        demo = state.account_token(state.service_account("demo"))
        operator = state.static_token("operator")
        for token in (known, known, fresh, demo, operator, "opaque_good", "opaque_revoked", "guessed", None):
            for path in ("/verify", "/policies/staff/verify", "/policies/rbac/verify"):
                await gate.request(token, path, _FORWARDED)
        await gate.request(issuer.mint("late", lifetime=-1000))
        await gate.request(known, "/policies/unknown/verify")
        await ask(gate.address, "GET /verify HTTP/9.9", "Host: gate")
        for subject in (known, "guessed"):
            form = {"grant_type": GRANT, "subject_token": subject, "subject_token_type": JWT_TYPE}
            body = urlencode({**form, "audience": "reports"}).encode()
            await gate.client.post(f"{self.document['signing']['issuer']}/token", body, _FORM)
        self.scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(500), times=1)
        await gate.request(state.static_token("nobody"))
        self.watched.put("a-pod")
        self.watched.hang_up()


class _Watches:
    """The paths of a cluster's API that watches use."""

    def __init__(self, server: WatchServer) -> None:
        self._server = server

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return a list or a watch, or None for another path."""
        return await self._server.answer(request) if request.path in _WATCHED else None


@asynccontextmanager
async def monitored(folder: Path) -> AsyncIterator[Monitored]:
    """Run the gate and its servers. It is ready when both workers are."""
    exchange = f"127.0.0.1:{free_port()}"
    secret = folder / "client-secret"
    secret.write_text(SECRET)
    key = folder / "signing.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    watched = WatchServer("a-pod")
    async with (
        cluster(folder / "cluster") as scenario,
        published() as (issuer, _),
        EmbeddedServer() as opaque,
    ):
        scenario.server.add(_Watches(watched))
        scenario.state.grant(DEMO, path="/metrics", verb="get")
        server = AuthorizationServer(opaque.url)
        server.tokens["opaque_good"] = {"sub": "jane", "aud": AUDIENCE, "client_id": "app"}
        opaque.add(server)
        document: dict[str, Any] = {
            "cluster": {
                **of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE]),
                "revocation": "watch",
            },
            "jwt": [trusting(issuer)],
            "introspection": [
                {
                    "name": "opaque",
                    "endpoint": opaque.url + INTROSPECT,
                    "prefix": "opaque_",
                    "clientAuth": {"clientID": CLIENT, "secretFile": str(secret)},
                    "audiences": [AUDIENCE],
                    "claimMappings": {"username": {"claim": "sub", "prefix": "opaque:"}},
                    "cache": {"ttl": "0s", "negativeTTL": "0s"},
                }
            ],
            "policies": {
                "default": {},
                "staff": {"allow": [{"groups": ["staff"]}], "shadow": {"allow": [{"users": ["corp:eve"]}]}},
                "rbac": {"accessReview": {"nonResource": "request"}},
            },
            "signing": {"issuer": f"http://{exchange}", "keyFiles": [str(key)]},
            "exchange": {"listen": exchange, "audiences": {"default": ["reports"]}},
            "cache": {"maxEntries": 4},
            "server": {"proxy": "nginx", "reloadInterval": "0.2s"},
        }
        async with Crew(folder, document) as gate:
            yield Monitored(gate, folder, document, scenario, issuer, server, watched)
