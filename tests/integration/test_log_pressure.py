"""Denials write a limited number of log lines, and never wait for the log's reader."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.observability.audit import BURST
from tests.support.gate import Client, GateProcess
from tests.support.process import free_port, until
from tests.support.service import knowing, written

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
REFUSED = BURST + 250


async def test_a_flood_of_denials_writes_a_burst_of_lines_and_a_count(tmp_path: Path) -> None:
    """The limit is per policy and reason. Other denials are in the metrics and in one summary line."""
    async with GateProcess(written(tmp_path, {"jwt": [knowing(ISSUER)]})) as gate:
        stranger = SigningKey.generate("ES256")
        expired = ISSUER.mint(lifetime=-3600)
        for _ in range(REFUSED):
            assert await gate.verdict(expired) == (401, "token_expired")
        forged = ISSUER.mint(key=stranger)
        assert (await gate.verdict(forged))[0] == 401
        suppressed = await gate.metric("authgate_audit_suppressed_total")
    lines = [json.loads(line) for line in gate.process.output().splitlines()]
    audit = [line for line in lines if line["scope"] == "authgate.audit"]
    of_expired = [
        line["attributes"] for line in audit if line["attributes"]["authgate.reason"] == "token_expired"
    ]
    counts = [attributes["suppressed"] for attributes in of_expired if "suppressed" in attributes]
    assert suppressed == sum(counts)
    assert len(of_expired) - len(counts) + suppressed == REFUSED
    assert suppressed > 0


async def test_an_unread_log_does_not_stop_the_gate(tmp_path: Path) -> None:
    """With a full standard error, the gate still answers, serves metrics and ends with status 0."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    ports = free_port(), free_port()
    server = {"listen": [f"127.0.0.1:{ports[0]}"], "admin": f"127.0.0.1:{ports[1]}"}
    file = written(tmp_path, {"jwt": [knowing(ISSUER)], "server": server, "shutdown": {"delay": "0s"}})
    gate = subprocess.Popen([sys.executable, "-m", "authgate", "serve", "--config", file], stderr=writer)
    os.close(writer)
    client = Client()
    try:

        async def answers() -> bool:
            with suppress(aiohttp.ClientError):
                return (await client.get(f"http://127.0.0.1:{ports[1]}/readyz")).status == 200
            return False

        await until(answers, within=30)
        for _ in range(REFUSED):
            assert (await client.get(f"http://127.0.0.1:{ports[0]}/verify")).status == 401
        metrics = (await client.get(f"http://127.0.0.1:{ports[1]}/metrics")).body
        assert f'reason="no_credential",source="none"}} {REFUSED}.0' in metrics
        gate.terminate()

        async def ended() -> bool:
            return gate.poll() is not None

        await until(ended, within=30)
        assert gate.returncode == 0
    finally:
        await client.close()
        gate.kill()
        gate.wait()
        os.close(reader)
