"""Faults of the configuration file: many changes, invalid files, files that arrive late, no worker to try a file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.chaos.judge import ALLOW, DENY, Outcome
from tests.chaos.stage import document
from tests.support.process import until
from tests.support.service import published, trusting, written
from tests.support.workers import Crew

if TYPE_CHECKING:
    from tests.chaos.stage import Stage

_OFTEN = {"AUTHGATE_SERVER__RELOAD_INTERVAL": "50ms"}
_NOWHERE = {"KUBECONFIG": "/nonexistent/kubeconfig"}
"""Makes a configuration with a cluster valid, but impossible to apply."""
_CHANGE_EVERY = 0.15
_BROKEN = ("{", "jwt: []\n", "policies: {default: {allow: [{group: [x]}]}}\n", "\x00", "")


async def reload_storm(stage: Stage) -> None:
    """Change the file six times a second, every third time to an invalid one. The last one is stricter."""
    async with published() as (issuer, _), Crew(stage.folder, document(issuer), _OFTEN) as crew:
        generous, strict = document(issuer, users=["guest"]), document(issuer)
        guest = stage.caller("guest", issuer.mint("guest"), *DENY, user="corp:guest")
        async with stage.load([*stage.usual(issuer), guest], crew):
            stage.expect(guest, *ALLOW, *DENY)
            until_then = time.monotonic() + stage.seconds
            changes = 0
            while time.monotonic() < until_then:
                if changes % 3 == 2:
                    (stage.folder / "authgate.yaml").write_text(_BROKEN[changes // 3 % len(_BROKEN)])
                else:
                    written(stage.folder, (generous, strict)[changes % 2])
                if changes % 4 == 0:
                    crew.process.send(signal.SIGHUP)
                changes += 1
                await asyncio.sleep(_CHANGE_EVERY)
            await stage.lasts()
            for last in (generous, strict):
                await _apply(stage, crew, last)
            stage.expect(guest, *DENY)
            await stage.lasts()
        stage.figures.append(f"changes of the file: {changes}")


async def late_file(stage: Stage) -> None:
    """Configure a file of keys that arrives two seconds after the configuration, like a Secret after its ConfigMap."""
    late = Issuer("https://late.example.com", SigningKey.generate("ES256"))
    keys = stage.folder / "late.json"
    async with published() as (issuer, _), Crew(stage.folder, document(issuer), _OFTEN) as crew:
        newcomer = stage.caller("token of the late issuer", late.mint("web"), *DENY, user="late:web")
        async with stage.load([*stage.usual(issuer), newcomer], crew):
            stage.expect(newcomer, *ALLOW, *DENY)
            written(stage.folder, document(issuer, trusting(late, "late", staticKeys={"file": str(keys)})))
            await stage.lasts()
            keys.write_text(json.dumps(late.jwks()))
            arrived = time.time()
            await stage.comes("applied after its file arrived", lambda: _applied(crew, arrived), within=30)
            stage.expect(newcomer, *ALLOW)
            await stage.lasts()


async def no_worker_left(stage: Stage) -> None:
    """Write a file that cannot be applied while every worker is dead."""
    async with (
        published() as (issuer, _),
        Crew(stage.folder, document(issuer), {**_OFTEN, **_NOWHERE}) as crew,
        stage.load(stage.usual(issuer), crew),
    ):
        stage.tolerate(Outcome.LOST)
        for _ in range(3):  # after the third exit in a row, a worker starts two seconds later
            await until(crew.ready, within=20)
            await _kill_all(crew)
        nowhere = {"audiences": ["x"]}  # with the KUBECONFIG of the environment
        written(stage.folder, {**document(issuer), "cluster": nowhere})
        began = time.monotonic()
        await stage.lasts(3)
        await stage.comes("ready by the configuration of before", crew.ready, within=30, since=began)
        stage.tolerate()
        await stage.lasts()


async def _kill_all(crew: Crew) -> None:
    killed = {pid for pid in await crew.pids() if pid}
    for pid in killed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def noticed() -> bool:
        return killed.isdisjoint(await crew.pids())

    await until(noticed, within=5)


async def _apply(stage: Stage, crew: Crew, document: dict[str, Any]) -> None:
    began = time.time()
    written(stage.folder, document)
    await stage.comes("a changed file was applied", lambda: _applied(crew, began), within=60)


async def _applied(crew: Crew, since: float) -> bool:
    """Return whether every worker applied a file after this time."""
    return await crew.metric("authgate_config_last_reload_success_timestamp_seconds") > since
