"""Introspection in `authgate serve`: several workers, a reload, and no secret in any output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.config import load
from tests.integration.test_introspection import REVOKED, TOKEN, asking, authorization_server
from tests.support.authorization_server import CLIENT, INTROSPECT, SECRET
from tests.support.faults import Answer, Fault, Hold, failing, json_answer
from tests.support.gate import Gate, GateProcess
from tests.support.process import until
from tests.support.service import comes_to, written

if TYPE_CHECKING:
    from pathlib import Path

ECHO = f"{TOKEN} {REVOKED} {SECRET}"
ECHOES: list[Fault] = [
    json_answer({"error": "invalid_client", "error_description": ECHO}, 401),
    json_answer({"error": ECHO}, 400),
    json_answer({"active": ECHO}),
    json_answer({"active": True, "aud": ECHO, "sub": "jane"}),
    json_answer({"active": True, "iss": [ECHO]}),
    Answer(302, b"", {"Location": f"/?token={TOKEN}"}),
    Answer(200, ECHO.encode()),
    failing(500),
    Hold(),
]


@pytest.mark.parametrize("format_", ["json", "text"])
async def test_no_secret_is_written(tmp_path: Path, format_: str) -> None:
    """No output at level debug has the tokens or the client's secret, even if the server echoes them."""
    async with authorization_server() as (site, server):
        document = {
            "introspection": [asking(site, tmp_path, timeout="1s", cache={"ttl": "0s", "negativeTTL": "0s"})],
            "log": {"level": "debug", "audit": "all", "format": format_},
            "shutdown": {"delay": "0s"},
        }
        async with GateProcess(written(tmp_path, document)) as gate:
            await gate.becomes_ready(within=30)
            shown = ""
            for token in (TOKEN, REVOKED):
                await gate.request(token)
                for fault in ECHOES:
                    server.faults.set(INTROSPECT, fault)
                    answer = await gate.request(token)
                    shown += str(answer.headers)
                server.faults.clear()
            for page in ("/metrics", "/status", "/readyz?verbose"):
                shown += (await gate.admin(page)).body
        shown += gate.process.output()
    for secret in (TOKEN, REVOKED, SECRET, CLIENT):
        assert secret not in shown


async def test_workers_and_reloads_keep_the_gate_ready(tmp_path: Path) -> None:
    """Each worker introspects by itself. A reload probes the new endpoint first, so no request fails."""
    async with authorization_server() as (site, _):
        document = {
            "introspection": [asking(site, tmp_path)],
            "server": {"workers": 2, "reloadInterval": "0.2s"},
            "shutdown": {"delay": "0s"},
        }
        async with GateProcess(written(tmp_path, document)) as gate:
            await gate.becomes_ready(within=30)
            assert await gate.verdict(TOKEN) == (200, "")
            changed = asking(site, tmp_path, name="renamed")
            written(tmp_path, {**document, "introspection": [changed]})

            async def reloaded() -> bool:
                answer = await gate.request(TOKEN)
                assert answer.status == 200
                assert await gate.ready()
                return answer.value("X-Auth-Request-User") == "renamed:jane"

            await until(reloaded, within=30)
            await comes_to(gate, 0, "authgate_config_reloads_total", result="failure")


async def test_a_missing_certificate_does_not_stop_the_gate(tmp_path: Path) -> None:
    """It is a warning of `check`, and 503 for each token until it can be read."""
    async with authorization_server() as (site, _):
        where = tmp_path / "missing"
        auth = {
            "method": "tls_client_auth",
            "clientID": CLIENT,
            "certFile": f"{where}.crt",
            "keyFile": f"{where}.key",
        }
        entry = asking(site, tmp_path, endpoint="https://127.0.0.1:1/introspect", clientAuth=auth)
        file = written(tmp_path, {"introspection": [entry]})
        assert [one.path for one in load(file, {}).warnings if "cannot be read" in one.message] == [
            "introspection[0].clientAuth.keyFile",
            "introspection[0].clientAuth.certFile",
        ]
        async with Gate(file) as gate:
            assert await gate.verdict(TOKEN) == (503, "introspection_unavailable")
            assert f"{where}.crt: cannot be read" in (await gate.admin("/readyz?verbose")).body
