"""A gate with few file descriptors: clients cannot use the descriptors that the gate itself needs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.support.gate import GateProcess
from tests.support.process import until
from tests.support.service import published, trusting, written
from tests.support.wire import ask, bearer, connected

if TYPE_CHECKING:
    from pathlib import Path

GET = "GET /verify HTTP/1.1"
HOST = "Host: gate"
LIMITS = ("-Sn 256", "-Hn 1024")


async def test_idle_connections_leave_descriptors_for_probes_and_keys(tmp_path: Path) -> None:
    """With 1,024 descriptors and 1,100 idle clients, those beyond the limit are refused, counted and logged."""
    async with published() as (issuer, _):
        file = written(tmp_path, {"jwt": [trusting(issuer, keys={"cooldown": "0.1s"})]})
        async with GateProcess(file, limits=LIMITS) as gate, AsyncExitStack() as stack:
            await gate.has_keys(within=30)
            first = await stack.enter_async_context(connected(gate.address))
            await first.send(GET, HOST, bearer(issuer.mint()))
            assert (await first.reply()).status == 200
            for _ in range(1100):
                await stack.enter_async_context(connected(gate.address))

            for path in ("/livez", "/readyz", "/status", "/metrics"):
                probe = await ask(gate.admin_address, f"GET {path} HTTP/1.1", HOST, "Connection: close")
                assert probe.status == 200
            issuer.rotate()
            token = bearer(issuer.mint())

            async def fetched() -> bool:
                await first.send(GET, HOST, token)
                return (await first.reply()).status == 200

            await until(fetched, within=30)
            assert await gate.metric("authgate_connections_refused_total") >= 1100 - 1024 + 256
            assert await gate.metric("authgate_descriptors_exhausted_total") == 0
        output = gate.process.output()
        assert output.count("connections are refused: the limit of open connections is reached") == 1
        assert "10000 is more than 1024 file descriptors allow; 768 connections" in output
