"""`admin.recentDecisions`: the page shows who was decided about lately, without tokens and queries."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.gate import GateProcess
from tests.support.process import until
from tests.support.service import knowing, running, written
from tests.support.workers import Crew

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gate import RunningGate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
READER = ISSUER.mint("reader")


def keeping(number: int = 5, **sections: Any) -> dict[str, Any]:
    """Return a configuration that keeps decisions."""
    rules = [{"paths": ["/reports/*"], "allow": [{"users": ["corp:jane"]}]}]
    return {
        "jwt": [knowing(ISSUER)],
        "server": {"proxy": "nginx"},
        "policies": {
            "default": {},
            "ruled": {"rules": rules},
            "admin": {"allow": [{"users": ["corp:reader"]}]},
        },
        "admin": {"recentDecisions": number},
        **sections,
    }


async def ask(
    gate: RunningGate, token: str | None, path: str = "/verify", uri: str = "/reports/1?secret=s3cr3t"
) -> None:
    """Send a subrequest as nginx does."""
    headers = [("X-Original-Method", "GET"), ("X-Original-URI", uri), ("X-Original-Host", "app.example")]
    await gate.request(token, path, headers)


async def rows(gate: RunningGate, token: str | None = None) -> list[str]:
    """Return the text of each kept decision on the page, newest first; none if the page has no such section."""
    page = (await gate.admin("/", token)).body
    section = re.search(r'<section aria-labelledby="recent">.*?</section>', page)
    if section is None:
        return []
    body = section[0].partition("<tbody>")[2]
    texts = (re.sub(r"<[^>]*>", " ", row) for row in re.findall(r"<tr>.*?</tr>", body))
    return [" ".join(html.unescape(text).split()[1:]) for text in texts]


@pytest.mark.parametrize("lane", [True, False], ids=["fast lane", "general path"])
async def test_the_latest_decisions_are_shown(lane: bool) -> None:
    """Also those that are answered from the cache. There is no query, no token and no older decision."""
    document = keeping(4, server={"proxy": "nginx", "fastLane": lane}, log={"audit": "none"})
    jane, joe = ISSUER.mint("jane"), ISSUER.mint("joe")
    async with running(document) as gate:
        for token in (joe, jane, jane):
            await ask(gate, token)
        await ask(gate, None)
        await ask(gate, joe, "/policies/ruled/verify")
        found = [re.sub(r" id \S+", "", row) for row in await rows(gate)]
        request = "GET app.example/reports/1"
        assert found == [
            f"deny not_allowed policy ruled rules[0] corp:joe {request}",
            f"deny no_credential policy default {request}",
            f"allow authenticated policy default corp:jane {request}",
            f"allow authenticated policy default corp:jane {request}",
        ]
        assert await gate.metric("authgate_verify_requests_total") == 5
        body = (await gate.admin("/")).body
    assert "s3cr3t" not in body
    assert jane.rpartition(".")[2] not in body


async def test_the_audit_log_s_fields_apply() -> None:
    """Paths that are not logged are not shown either."""
    async with running(keeping(log={"auditFields": {"path": "none"}})) as gate:
        await ask(gate, None)
        [row] = await rows(gate)
        assert "app.example" in row
        assert "/reports" not in row


async def test_they_are_off_by_default() -> None:
    """Nothing is kept."""
    async with running(keeping(admin={})) as gate:
        await ask(gate, READER)
        assert await rows(gate) == []
        assert "corp:reader" not in (await gate.admin("/")).body


async def test_other_names_of_this_machine_show_no_identity() -> None:
    """A web page elsewhere can give its name the address 127.0.0.1, and have a browser here read the answers."""
    async with running(keeping()) as gate:
        await ask(gate, READER)
        assert len(await rows(gate)) == 1
        answer = await gate.admin(
            "/", headers=[("Host", f"rebound.example:{gate.admin_address.rpartition(':')[2]}")]
        )
        assert (answer.status, "corp:reader" in answer.body) == (200, False)


async def test_with_a_policy_a_token_shows_them(tmp_path: Path) -> None:
    """The port can then listen on any address. A path that the policy opens shows no identity."""
    policies = {
        "default": {},
        "admin": {"anonymous": ["/"], "allow": [{"users": ["corp:reader"]}]},
    }
    document = keeping(policies=policies, admin={"recentDecisions": 5, "policy": "admin"})
    async with running(document) as gate:
        await ask(gate, READER)
        assert len(await rows(gate, READER)) == 1
        assert await rows(gate) == []
        assert (await gate.admin("/")).status == 200


async def test_decisions_of_all_workers_are_shown(tmp_path: Path) -> None:
    """Each worker keeps its own; the page has the latest of all."""
    async with Crew(tmp_path, keeping(30), workers=2) as crew:
        for number in range(20):
            async with type(crew.client)() as client:  # each connection reaches any of the workers
                await client.get(f"http://{crew.address}/verify", ISSUER.mint(f"user-{number}"))
        found = await rows(crew)
        assert [re.search(r"corp:user-(\d+)", row)[1] for row in found] == [str(n) for n in range(19, -1, -1)]  # type: ignore[index]


async def test_a_reload_turns_them_on_and_off(tmp_path: Path) -> None:
    """Cached answers are then kept as well, or no longer."""
    often = {"AUTHGATE_SERVER__RELOAD_INTERVAL": "0.1s"}
    async with GateProcess(written(tmp_path, keeping(admin={})), often) as gate:
        await ask(gate, READER)

        async def kept(some: bool) -> bool:
            await ask(gate, READER)
            return bool(await rows(gate)) is some

        for admin, some in (({"recentDecisions": 3}, True), ({}, False)):
            written(tmp_path, keeping(admin=admin))
            await until(lambda some=some: kept(some), within=30, otherwise=gate.process.log_tail)  # type: ignore[misc]
