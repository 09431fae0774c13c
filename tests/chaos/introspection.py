"""Faults of an authorization server that introspects tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.judge import ALLOW, DENY, Outcome
from tests.chaos.stage import document
from tests.support.authorization_server import CLIENT, INTROSPECT, SECRET, AuthorizationServer
from tests.support.embedded_server import EmbeddedServer
from tests.support.gate import AUDIENCE, GateProcess
from tests.support.service import published, written

if TYPE_CHECKING:
    from tests.chaos.stage import Stage


async def introspection_down(stage: Stage) -> None:
    """Stop the server: JWTs pass, opaque tokens get 503 once their answer has ended, and a revoked one never passes."""
    async with published() as (issuer, _), EmbeddedServer() as server:
        site = AuthorizationServer(server.url)
        server.add(site)
        opaque = [
            stage.caller(f"opaque token {number}", f"opaque-{number}", *ALLOW, user=f"opaque:{number}")
            for number in range(6)
        ]
        for number, caller in enumerate(opaque):
            site.tokens[caller.token] = {"sub": str(number), "aud": AUDIENCE}
        strange = stage.caller("unknown opaque token", "nobody-has-this", *DENY)
        secret = stage.folder / "secret"
        secret.write_text(SECRET)
        entry = {
            "name": "opaque",
            "endpoint": server.url + INTROSPECT,
            "clientAuth": {"clientID": CLIENT, "secretFile": str(secret)},
            "audiences": [AUDIENCE],
            "claimMappings": {"username": {"claim": "sub", "prefix": "opaque:"}},
            "timeout": "10s",
            "cache": {"ttl": "3s", "negativeTTL": "1s"},
        }
        configuration = {**document(issuer, users=()), "introspection": [entry]}
        configuration["policies"] = {"default": {"allow": [{"users": ["corp:web", "opaque:*"]}]}}
        async with GateProcess(written(stage.folder, configuration)) as gate:
            await gate.has_keys(within=30)
            signed = stage.usual(issuer)
            async with stage.load(signed, gate), stage.load([*opaque, strange], gate):
                await stage.lasts()
                for caller in (*opaque, strange):
                    stage.expect(caller, *(DENY if caller is strange else ALLOW), Outcome.UNAVAILABLE)
                await server.stop()
                revoked = opaque.pop()
                del site.tokens[revoked.token]
                await stage.lasts(max(stage.seconds, 4))
                stage.expect(revoked, *DENY, Outcome.UNAVAILABLE)
                await server.start()
                await stage.passes(
                    "opaque tokens passed after the server came back", gate, opaque[0], within=30
                )
                await stage.lasts(2)
                for caller in opaque:
                    stage.expect(caller, *ALLOW)
                stage.expect(revoked, *DENY)
                stage.expect(strange, *DENY)
                await stage.lasts()
