"""Faults of the gate's own processes: killed or hanging workers, a killed supervisor, signals."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.chaos.judge import Outcome
from tests.chaos.stage import NotPlayedError, document
from tests.chaos.traffic import Load
from tests.support.gate import GateProcess
from tests.support.process import ChildFailedError, until
from tests.support.process_one import AS_PROCESS_ONE, process_one, why_impossible
from tests.support.service import knowing, published, written
from tests.support.workers import Crew, exited

if TYPE_CHECKING:
    from tests.chaos.judge import Caller
    from tests.chaos.stage import Stage

_KILL_EVERY = 2.0
_EARLY = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5)
"""Seconds until SIGTERM has a handler. Before, Python starts, and the kernel drops signals to process 1."""


async def workers_killed(stage: Stage) -> None:
    """Kill a worker every two seconds, as the kernel does if memory runs out. At least one worker always runs."""
    async with (
        published() as (issuer, _),
        Crew(stage.folder, document(issuer), workers=3) as crew,
        stage.load(stage.usual(issuer), crew),
    ):
        stage.tolerate(Outcome.LOST)
        until_then = time.monotonic() + stage.seconds
        while time.monotonic() < until_then:
            alive = [pid for pid in await crew.pids() if pid]
            if len(alive) > 1:
                os.kill(random.choice(alive), signal.SIGKILL)
            await stage.lasts(_KILL_EVERY)
        await stage.comes("all workers ready after the last kill", crew.ready, within=60)
        stage.tolerate()
        await stage.lasts()


async def worker_hangs(stage: Stage) -> None:
    """Suspend one of two workers. The supervisor replaces it after ten seconds of silence."""
    async with (
        published() as (issuer, _),
        Crew(stage.folder, document(issuer)) as crew,
        stage.load(stage.usual(issuer), crew),
    ):
        stage.tolerate(Outcome.LOST)
        began = time.monotonic()
        pid = await crew.kill(0, signal.SIGSTOP)
        await crew.replaced(0, pid, within=30)
        stage.figures.append(f"a hanging worker was replaced: {time.monotonic() - began:.1f} s")
        stage.tolerate()
        await stage.lasts()


async def supervisor_killed(stage: Stage) -> None:
    """Kill the supervisor, and start the gate again on the same ports."""
    await _supervisor_killed(stage, hangs=False)


async def orphan_hangs(stage: Stage) -> None:
    """Kill the supervisor while one of its workers hangs. The worker must not keep the port."""
    await _supervisor_killed(stage, hangs=True)


async def _supervisor_killed(stage: Stage, *, hangs: bool) -> None:
    async with (
        published() as (issuer, _),
        Crew(stage.folder, document(issuer)) as crew,
        stage.load(stage.usual(issuer), crew),
    ):
        pids = await crew.pids()
        stage.tolerate(Outcome.LOST)
        if hangs:
            os.kill(pids[0], signal.SIGSTOP)
        began = time.monotonic()
        crew.process.send(signal.SIGKILL)
        try:
            for pid in pids:
                await exited(pid)
        except ChildFailedError:
            stage.tally.fail("a worker is left 30 s after its supervisor was killed")
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        stage.figures.append(f"no worker was left: {time.monotonic() - began:.1f} s")
        await crew.process.ended(within=30)  # its workers notice its death before it can be waited for
        await crew.process.start()
        await stage.lasts(0.5)  # the last client waits before it retries
        stage.tolerate()
        await stage.lasts()


async def rolling_restart(stage: Stage) -> None:
    """Stop one of two gates with SIGTERM, start it again, then the other. Clients keep their connections."""
    async with published() as (issuer, _):
        gates = []
        for name in ("one", "two"):
            folder = stage.folder / name
            folder.mkdir()
            gates.append(GateProcess(written(folder, document(issuer)), {"AUTHGATE_SHUTDOWN__DELAY": "2s"}))
        async with gates[0], gates[1]:
            for gate in gates:
                await gate.becomes_ready(within=10)
            await _roll(stage, gates, stage.usual(issuer))


async def _roll(stage: Stage, gates: list[GateProcess], callers: list[Caller]) -> None:
    balancer = _Balancer(gates)
    watching = asyncio.create_task(balancer.watch())
    try:
        await until(balancer.complete, within=10)
        async with Load(stage.tally, callers, balancer.address):
            restarts, until_then = 0, time.monotonic() + stage.seconds
            while time.monotonic() < until_then or restarts < len(gates):
                gate = gates[restarts % len(gates)]
                gate.process.send(signal.SIGTERM)
                if not await gate.process.ended(within=20):
                    stage.tally.fail("a gate did not end within 20 s of SIGTERM")
                    await gate.process.stop(grace=0)
                elif gate.process.exit_status != 0:
                    stage.tally.fail(f"a gate ended with status {gate.process.exit_status} after SIGTERM")
                await gate.process.start()
                await until(balancer.complete, within=20)
                restarts += 1
            stage.figures.append(f"restarts under load: {restarts}")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


class _Balancer:
    """Chooses a gate for new connections as a Service does: only those whose last readiness probe succeeded."""

    def __init__(self, gates: list[GateProcess]) -> None:
        self._gates = gates
        self._ready: list[GateProcess] = []

    def address(self) -> str | None:
        return random.choice(self._ready).address if self._ready else None

    async def complete(self) -> bool:
        return len(self._ready) == len(self._gates)

    async def watch(self) -> None:
        while True:
            self._ready = [gate for gate in self._gates if await _ready(gate)]
            await asyncio.sleep(0.1)


async def _ready(gate: GateProcess) -> bool:
    try:
        return await gate.ready()
    except (aiohttp.ClientError, TimeoutError):
        return False


async def early_signals(stage: Stage) -> None:
    """Send SIGTERM to a gate that is process 1 of a container, at different times during its startup."""
    if (why := why_impossible()) is not None:
        raise NotPlayedError(why)
    issuer = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
    file = written(stage.folder, {"jwt": [knowing(issuer)]})
    for delay in _EARLY:
        gate = GateProcess(file, prefix=AS_PROCESS_ONE)
        try:
            await _ends_early(stage, gate, delay)
        finally:
            await gate.process.stop(grace=0)
            await gate.client.close()


async def _ends_early(stage: Stage, gate: GateProcess, delay: float) -> None:
    starting = asyncio.create_task(gate.process.start())
    try:
        inner = await process_one(gate.process)
        await until(partial(_handles_sigterm, inner), within=5)
        await asyncio.sleep(delay)
        os.kill(inner, signal.SIGTERM)
        stage.tally.sent += 1
        began = time.monotonic()
        if not await gate.process.ended(within=5):
            stage.tally.fail(f"process 1 goes on 5 s after a SIGTERM that came {delay:g} s after its handler")
        else:
            stage.tally.longest = max(stage.tally.longest, time.monotonic() - began)
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


async def _handles_sigterm(pid: int) -> bool:
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGTERM - 1)
