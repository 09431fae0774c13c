"""How a gate ends: after a signal with status 0, once its requests are answered; with status 1 if it cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.faults import Hold
from tests.support.gate import GateProcess
from tests.support.process import accepts, free_port, until
from tests.support.service import cluster, knowing, of_cluster, written
from tests.support.wire import bearer, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.scenario import Scenario

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
GET, HOST = "GET /verify HTTP/1.1", "Host: gate"


@asynccontextmanager
async def serving(folder: Path, *, delay: str, patience: str = "10s") -> AsyncIterator[GateProcess]:
    """Run `authgate serve` with these shutdown times."""
    times = {"AUTHGATE_SHUTDOWN__DELAY": delay, "AUTHGATE_SHUTDOWN__TIMEOUT": patience}
    async with GateProcess(written(folder, {"jwt": [knowing(ISSUER)]}), times) as gate:
        yield gate


@asynccontextmanager
async def reviewing(
    folder: Path, scenario: Scenario, *, patience: str
) -> AsyncIterator[tuple[GateProcess, asyncio.Task[Any]]]:
    """Run `authgate serve` without a delay, with one open request that waits for a review."""
    section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout="30s")
    times = {"AUTHGATE_SHUTDOWN__DELAY": "0s", "AUTHGATE_SHUTDOWN__TIMEOUT": patience}
    async with GateProcess(written(folder, {"cluster": section}), times) as gate:
        await gate.has_keys(within=30)

        async def probed() -> bool:  # the probe at startup must not be held
            return await gate.metric("authgate_tokenreview_requests_total") >= 1

        await until(probed, within=30)
        scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
        waiting = asyncio.create_task(gate.verdict(scenario.state.static_token("operator")))

        async def held() -> bool:
            return scenario.server.faults.held(TOKEN_REVIEWS_PATH) == 1

        await until(held, within=30)
        yield gate, waiting
        scenario.server.faults.clear()
        await asyncio.gather(waiting, return_exceptions=True)


async def no_longer_ready(gate: GateProcess) -> None:
    """Return once /readyz fails."""

    async def unready() -> bool:
        return (await gate.admin("/readyz")).status == 503

    await until(unready, within=30)


async def no_longer_listening(gate: GateProcess) -> None:
    """Return once the verify port refuses connections."""

    async def closed() -> bool:
        return not await accepts(int(gate.address.rpartition(":")[2]))

    await until(closed, within=30)


async def test_sigterm_gives_load_balancers_time(tmp_path: Path) -> None:
    """/readyz fails at once and shows why, and requests are answered for shutdown.delay."""
    async with serving(tmp_path, delay="60s") as gate, connected(gate.address) as kept:
        gate.process.send(signal.SIGTERM)
        await no_longer_ready(gate)
        assert "[-]shutdown failed: ending" in (await gate.admin("/readyz?verbose")).body
        assert (await gate.request(ISSUER.mint())).status == 200
        await kept.send(GET, HOST, bearer(ISSUER.mint()))
        assert (await kept.reply()).status == 200
        assert (await gate.admin("/livez")).status == 200
        gate.process.send(signal.SIGTERM)  # the second one ends the delay


async def test_the_gate_ends_after_the_delay(tmp_path: Path) -> None:
    """It does not end earlier, and the status is 0."""
    async with serving(tmp_path, delay="1s") as gate:
        began = time.monotonic()
        gate.process.send(signal.SIGTERM)
        assert await gate.process.ended(within=30)
        assert time.monotonic() - began >= 1
        assert gate.process.exit_status == 0


async def test_sigint_ends_the_gate_without_a_delay(tmp_path: Path) -> None:
    """Ctrl-C does not wait for load balancers or idle connections."""
    async with serving(tmp_path, delay="60s") as gate, connected(gate.address) as idle:
        await idle.send(GET, HOST)
        assert (await idle.reply()).status == 401
        gate.process.send(signal.SIGINT)
        assert await idle.rest() == b""
        assert await gate.process.ended(within=30)
        assert gate.process.exit_status == 0
        assert "Traceback" not in gate.process.output()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
async def test_a_second_signal_ends_the_delay(tmp_path: Path, second: signal.Signals) -> None:
    """A person who signals twice does not want to wait."""
    async with serving(tmp_path, delay="60s") as gate:
        gate.process.send(signal.SIGTERM)
        await no_longer_ready(gate)
        gate.process.send(second)
        assert await gate.process.ended(within=30)
        assert gate.process.exit_status == 0


async def test_an_open_request_is_finished(tmp_path: Path) -> None:
    """New connections are refused, and open requests are answered."""
    async with (
        cluster(tmp_path) as scenario,
        reviewing(tmp_path, scenario, patience="60s") as (gate, waiting),
    ):
        gate.process.send(signal.SIGTERM)
        await no_longer_listening(gate)
        assert not waiting.done()
        scenario.server.faults.clear()
        assert await waiting == (200, "")
        assert await gate.process.ended(within=30)
        assert gate.process.exit_status == 0


async def test_a_request_that_does_not_end_is_cancelled(tmp_path: Path) -> None:
    """The gate ends after shutdown.timeout, with status 0."""
    async with (
        cluster(tmp_path) as scenario,
        reviewing(tmp_path, scenario, patience="0.5s") as (gate, _),
    ):
        began = time.monotonic()
        gate.process.send(signal.SIGTERM)
        assert await gate.process.ended(within=30)
        assert time.monotonic() - began >= 0.5
        assert gate.process.exit_status == 0
        assert "Traceback" not in gate.process.output()


async def test_an_unfinished_request_does_not_delay_shutdown(tmp_path: Path) -> None:
    """A client that is still sending headers has no open request."""
    async with serving(tmp_path, delay="0s", patience="60s") as gate, connected(gate.address) as wire:
        await wire.send_raw(b"GET /verify HTTP/1.1\r\n")
        gate.process.send(signal.SIGTERM)
        assert await gate.process.ended(within=30)
        assert gate.process.exit_status == 0


async def serve(folder: Path, document: dict[str, Any]) -> tuple[int | None, str]:
    """Return the exit status and output of `authgate serve` that cannot start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "authgate", "serve", "--config", str(written(folder, document))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ},
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize("role", ["listen", "admin"])
async def test_a_port_in_use_is_reported(tmp_path: Path, role: str) -> None:
    """The exit status is 1. The message has the address, and there is no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        server = {"listen": ["127.0.0.1:0"], "admin": None, role: [taken] if role == "listen" else taken}
        status, output = await serve(tmp_path, {"jwt": [knowing(ISSUER)], "server": server})
    assert status == 1
    assert f"cannot listen on {taken}: " in output
    assert "in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_at_the_first_accepted_connection_ends_the_gate(tmp_path: Path, workers: int) -> None:
    """A port opens only after signals are handled: an orchestrator may stop a gate as soon as its probe connects."""
    verify, admin = free_port(), free_port()
    document = {
        "jwt": [knowing(ISSUER)],
        "server": {"listen": [f"127.0.0.1:{verify}"], "admin": f"127.0.0.1:{admin}", "workers": workers},
        "shutdown": {"delay": "0s"},
    }
    first = verify if workers == 1 else admin  # a supervisor opens the admin port, and its workers the others
    command = [sys.executable, "-m", "authgate", "serve", "--config", str(written(tmp_path, document))]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as gate:
        try:
            while gate.poll() is None:  # without a pause: the moment to hit is short
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", first)) == 0:
                        break
            gate.send_signal(signal.SIGTERM)
            assert gate.wait(60) == 0
        finally:
            gate.kill()


async def test_sighup_without_a_file_is_ignored(tmp_path: Path) -> None:
    """A closed terminal or a unit's reload must not end a gate that is configured by its environment."""
    port, admin = free_port(), free_port()
    environ = {
        **os.environ,
        "AUTHGATE_JWT": json.dumps([knowing(ISSUER)]),
        "AUTHGATE_SERVER__LISTEN": f"127.0.0.1:{port}",
        "AUTHGATE_SERVER__ADMIN": f"127.0.0.1:{admin}",
        "AUTHGATE_SHUTDOWN__DELAY": "0s",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "authgate", "serve", env=environ, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )

    async def answers() -> bool:
        assert process.returncode is None
        return await accepts(port)

    try:
        await until(answers, within=30)
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b"SIGHUP ignored" not in await process.stderr.readline():
                pass
        assert await accepts(port)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
