"""Faults of issuers: outages, slow starts, and keys that rotate or are replaced."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from authgate.dev.keys import SigningKey
from tests.chaos.judge import ALLOW, DENY, Outcome
from tests.chaos.stage import document
from tests.support.gate import GateProcess
from tests.support.service import published, written

if TYPE_CHECKING:
    from tests.chaos.stage import Stage

_SETTLED = 6.0
"""Seconds after a successful fetch until an unknown key id starts a fetch at once: `keys.cooldown` and a margin."""


async def issuer_down(stage: Stage) -> None:
    """Stop the issuer. Tokens of known keys are accepted, and those of a key that it published meanwhile get 503."""
    async with published() as (issuer, server):
        file = written(stage.folder, document(issuer, keys={"refresh": "2s"}))
        async with GateProcess(file) as gate:
            await gate.becomes_ready(within=30)
            callers = stage.usual(issuer)
            async with stage.load(callers, gate) as load:
                await stage.lasts(_SETTLED)
                await server.stop()
                forged = next(caller for caller in callers if caller.name == "forged token")
                stage.expect(
                    forged, *DENY, Outcome.UNAVAILABLE
                )  # its key may have been replaced under this key id
                await stage.lasts(3)  # the next refresh fails, so the gate notices the outage
                issuer.rotate(SigningKey.generate("ES256"))
                late = stage.caller(
                    "token of a new key", issuer.mint("web"), Outcome.UNAVAILABLE, user="corp:web"
                )
                load.callers.append(late)
                await stage.lasts(stage.seconds)
                stage.expect(late, Outcome.UNAVAILABLE, *ALLOW)
                await server.start()
                await stage.passes("new key known after the issuer came back", gate, late, within=30)
                stage.expect(forged, *DENY)
                await stage.lasts()


async def cold_start(stage: Stage) -> None:
    """Start the gate while its issuer is down for a long time."""
    async with published() as (issuer, server):
        await server.stop()
        async with GateProcess(written(stage.folder, document(issuer))) as gate:
            callers = stage.usual(issuer)
            async with stage.load(callers, gate):
                stage.tolerate(Outcome.UNAVAILABLE)
                await stage.lasts(stage.seconds)
                await server.start()
                await stage.comes("ready after the issuer came back", gate.ready, within=30)
                stage.tolerate()
                await stage.lasts()


async def key_rotation(stage: Stage) -> None:
    """Sign with a new key every few seconds and remove old ones. Their tokens are accepted and rejected accordingly."""
    async with published() as (issuer, _), GateProcess(written(stage.folder, document(issuer))) as gate:
        await gate.becomes_ready(within=30)
        until_then = time.monotonic() + stage.seconds
        async with stage.load(stage.usual(issuer), gate) as load:
            await stage.lasts(_SETTLED)
            rotations = 0
            while time.monotonic() < until_then or rotations < 1:
                issuer.rotate(SigningKey.generate("ES256"))
                issuer.withdraw(*issuer.keys[2:])
                stage.tolerate(Outcome.UNAVAILABLE)
                load.callers[:] = stage.usual(issuer)
                rotations += 1
                await stage.passes("a rotated key was known", gate, load.callers[0], within=30)
                stage.tolerate()
                await stage.lasts(3)
            stage.figures.append(f"rotations: {rotations}")


async def same_key_id(stage: Stage) -> None:
    """Replace the key under its key id. Only a signature that does not verify shows the change."""
    async with published() as (issuer, _), GateProcess(written(stage.folder, document(issuer))) as gate:
        await gate.becomes_ready(within=30)
        # Without the forged token: it would use the one fetch a minute.
        async with stage.load(stage.usual(issuer)[:12], gate) as load:
            await stage.lasts(_SETTLED)
            issuer.rotate(SigningKey.generate("ES256", kid=issuer.key.kid), overlap=False)
            load.callers[:] = stage.usual(issuer)[:12]
            began = time.monotonic()
            await stage.passes("a replaced key was known", gate, load.callers[0], within=30)
            await asyncio.sleep(max(0.0, began + stage.seconds - time.monotonic()))
