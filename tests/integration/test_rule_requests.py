"""How many requests each rule decided, with and without the fast lane, and from the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.service import knowing, running
from tests.support.workers import Crew

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gate import RunningGate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
RULES = [
    {"paths": ["/open"], "anonymous": True},
    {"paths": ["/jane"], "allow": [{"users": ["corp:jane"]}]},
    {"paths": ["/all"], "allow": [{"users": ["corp:*"]}]},
]
DOCUMENT = {"jwt": [knowing(ISSUER)], "server": {"proxy": "nginx"}, "policies": {"default": {"rules": RULES}}}


async def ask(gate: RunningGate, token: str | None, path: str) -> int:
    """Return the status of the answer to a subrequest for a path."""
    headers = [("X-Original-Method", "GET"), ("X-Original-URI", path), ("X-Original-Host", "app.example")]
    return (await gate.request(token, headers=headers)).status


async def counted(gate: RunningGate) -> dict[str, float]:
    """Return the requests of each rule."""
    samples = await gate.samples()
    return {
        sample.labels["rule"]: sample.value
        for sample in samples
        if sample.name == "authgate_rule_requests_total"
    }


@pytest.mark.parametrize("lane", [True, False], ids=["fast lane", "general path"])
@pytest.mark.parametrize("audit", ["none", "all"])
async def test_each_rule_counts_its_requests(lane: bool, audit: str) -> None:
    """Allowed and denied ones, those of one token under several rules, and those without a token."""
    document = {**DOCUMENT, "server": {"proxy": "nginx", "fastLane": lane}, "log": {"audit": audit}}
    jane, other = ISSUER.mint("jane"), [ISSUER.mint("joe") for _ in range(3)]
    async with running(document) as gate:
        for _ in range(3):
            assert await ask(gate, jane, "/jane") == 200
            assert await ask(gate, jane, "/all") == 200
            assert await ask(gate, jane, "/elsewhere") == 200
            assert await ask(gate, None, "/open") == 200
            for token in other:
                assert await ask(gate, token, "/jane") == 403
                assert await ask(gate, token, "/all") == 200
        assert await counted(gate) == {"0": 3, "1": 12, "2": 12}
        assert await gate.metric("authgate_verify_requests_total") == 30
        page = (await gate.admin("/")).body
    assert [page.count(f">{number} requests<") for number in (3, 12)] == [1, 2]


async def test_workers_count_together(tmp_path: Path) -> None:
    """Their numbers are summed."""
    token = ISSUER.mint("jane")
    async with Crew(tmp_path, DOCUMENT, workers=2) as crew:
        for _ in range(10):
            async with type(crew.client)() as client:
                headers = [("X-Original-Method", "GET"), ("X-Original-URI", "/all"), ("X-Original-Host", "a")]
                assert (await client.get(f"http://{crew.address}/verify", token, headers)).status == 200
        assert await counted(crew) == {"2": 10}
