"""Faults of the machine: no descriptors or memory left."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.chaos.judge import DENY, Outcome
from tests.chaos.stage import document
from tests.support.gate import GateProcess
from tests.support.service import published, written
from tests.support.workers import Crew

if TYPE_CHECKING:
    from tests.chaos.stage import Stage
    from tests.support.gate import RunningGate

_SPARE_BYTES = 4 << 20
_REPLACED = 12.0
"""Seconds until a silent worker was replaced, and a margin."""


async def idle_connections(stage: Stage) -> None:
    """Open more connections than the soft limit of descriptors, and send nothing on them."""
    await _with_idle(stage, limit="256:4096", idle=600)


async def no_descriptors(stage: Stage) -> None:
    """Open more connections than the hard limit of descriptors. New ones are closed, and probes succeed."""
    stage.tolerate(Outcome.LOST)
    await _with_idle(stage, limit="256:256", idle=600)


async def _with_idle(stage: Stage, *, limit: str, idle: int) -> None:
    async with published() as (issuer, _):
        file = written(stage.folder, document(issuer, keys={"refresh": "2s"}))
        async with GateProcess(file, prefix=("prlimit", f"--nofile={limit}")) as gate:
            await gate.becomes_ready(within=10)
            async with stage.load(stage.usual(issuer), gate):
                async with AsyncExitStack() as opened:
                    for _ in range(idle):
                        await _open_idle(gate, opened)
                    until_then = time.monotonic() + stage.seconds
                    while time.monotonic() < until_then:
                        await _probe(stage, gate)
                        await asyncio.sleep(1)
                await stage.comes("ready after the clients left", gate.ready, within=10)
                await stage.lasts(1)
                stage.tolerate()
                await stage.lasts()


async def _open_idle(gate: RunningGate, opened: AsyncExitStack) -> None:
    host, _, port = gate.address.rpartition(":")
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(host, int(port))
        opened.callback(writer.close)


async def _probe(stage: Stage, gate: RunningGate) -> None:
    """Request /livez on a new connection, as a kubelet does."""
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            answer = await session.get(f"http://{gate.admin_address}/livez")
            if answer.status != 200:
                stage.tally.fail(f"/livez answers {answer.status}")
    except (aiohttp.ClientError, TimeoutError) as error:
        stage.tally.fail(f"/livez does not answer: {type(error).__name__}")


async def no_memory(stage: Stage) -> None:
    """Allow workers 4 MiB more memory, and send new tokens with 200 groups each until it is used."""
    async with published() as (issuer, _), Crew(stage.folder, document(issuer)) as crew:
        callers = stage.usual(issuer)
        flood = stage.caller("large token of a stranger", "", *DENY)
        async with stage.load([*callers, *[flood] * len(callers)], crew, rate=300):
            stage.tolerate(Outcome.LOST, Outcome.UNAVAILABLE)
            limited = [pid for pid in await crew.pids() if pid]
            for pid in limited:
                _limit_memory(pid, _virtual_bytes(pid) + _SPARE_BYTES)
            until_then = time.monotonic() + stage.seconds
            while time.monotonic() < until_then:
                groups = [f"team-{secrets.token_hex(4)}" for _ in range(200)]
                flood.token = issuer.mint("stranger", claims={"groups": groups})
                await asyncio.sleep(0.005)
            for pid in limited:
                with contextlib.suppress(ProcessLookupError):
                    _limit_memory(pid, resource.RLIM_INFINITY)
            await stage.comes("all workers ready after memory was free", crew.ready, within=40)
            await stage.lasts(_REPLACED)
            stage.tolerate()
            await stage.lasts()
            restarts = await crew.metric("authgate_worker_restarts_total")
            stage.figures.append(f"workers that ended over it: {restarts:g}")


def _virtual_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _limit_memory(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
