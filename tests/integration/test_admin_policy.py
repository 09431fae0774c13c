"""With `admin.policy`, the admin port shows nothing to requests that the policy does not allow."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.gate import GateProcess
from tests.support.process import until
from tests.support.service import cluster, knowing, of_cluster, running, trusting, written
from tests.support.workers import Crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
SCRAPER, OTHER = ISSUER.mint("prometheus"), ISSUER.mint("jane")
PROTECTED = ("/", "/reasons", "/status", "/metrics", "/jwks", "/elsewhere")


def protected(**sections: Any) -> dict[str, Any]:
    """Return a configuration with an admin port that only the user `corp:prometheus` may read."""
    return {
        "jwt": [knowing(ISSUER)],
        "policies": {"default": {}, "metrics": {"allow": [{"users": ["corp:prometheus"]}]}},
        "admin": {"policy": "metrics"},
        **sections,
    }


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gate with such a port."""
    async with running(protected()) as it:
        yield it


@pytest.mark.parametrize("path", PROTECTED)
async def test_a_token_is_needed(gate: Gate, path: str) -> None:
    """Without one the answer is 401 with a challenge; a user whom the policy does not allow gets 403."""
    answer = await gate.admin(path)
    assert answer.verdict == (401, "no_credential")
    assert answer.value("WWW-Authenticate") == 'Bearer realm="authgate"'
    assert answer.body == "401 no_credential: the request has no token\n"
    assert (await gate.admin(path, OTHER)).verdict == (403, "not_allowed")
    assert (await gate.admin(path, ISSUER.mint("prometheus", lifetime=-600))).verdict == (
        401,
        "token_expired",
    )


async def test_the_policy_s_user_may_read(gate: Gate) -> None:
    """The answer has no identity headers."""
    for path in ("/", "/reasons", "/status", "/metrics"):
        answer = await gate.admin(path, SCRAPER)
        assert (answer.status, answer.headers_from("X-Auth")) == (200, [])
    assert (await gate.admin("/elsewhere", SCRAPER)).status == 404
    assert "[+]issuer/corp ok" in (await gate.admin("/readyz?verbose", SCRAPER)).body


async def test_probes_show_no_reason_without_a_token(gate: Gate) -> None:
    """The kubelet has no token."""
    for path in ("/livez", "/healthz", "/readyz", "/readyz?verbose"):
        for token in (None, OTHER):
            answer = await gate.admin(path, token)
            assert (answer.status, answer.body) == (200, "ok")


async def test_a_healthcheck_can_send_a_token(gate: Gate, tmp_path: Path) -> None:
    """Without one it succeeds as well, but shows no check."""
    file = tmp_path / "token"
    file.write_text(SCRAPER)
    url = f"http://{gate.admin_address}"
    for arguments, shown in (((), "ok\n"), (("--token-file", str(file)), "[+]issuer/corp ok: ")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "authgate", "healthcheck", "--ready", "--url", url, *arguments),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        assert shown in printed.decode()


async def test_two_credentials_are_ambiguous(gate: Gate) -> None:
    """As on the verify port."""
    headers = [("Authorization", f"Bearer {token}") for token in (SCRAPER, SCRAPER)]
    assert (await gate.admin("/metrics", headers=headers)).verdict == (401, "multiple_credentials")


async def test_admin_requests_are_not_counted_as_decisions(gate: Gate) -> None:
    """The metrics are about the verify port."""
    before = await gate.metric("authgate_verify_requests_total")
    await gate.admin("/metrics", SCRAPER)
    await gate.admin("/metrics", OTHER)
    assert await gate.metric("authgate_verify_requests_total") == before


async def test_rules_see_the_admin_request() -> None:
    """Neither rules nor open paths need server.proxy: the gate itself knows the request."""
    rules = [
        {"methods": ["GET"], "paths": ["/metrics"], "allow": [{"users": ["corp:prometheus"]}]},
        {"hosts": ["localhost"], "paths": ["/status"], "anonymous": True},
        {"paths": ["/*"], "allow": [{"users": ["corp:admin"]}]},
    ]
    policies = {"default": {}, "metrics": {"rules": rules}}
    async with running(protected(policies=policies)) as gate:
        assert (await gate.admin("/metrics", SCRAPER)).status == 200
        assert (await gate.admin("/", SCRAPER)).verdict == (403, "not_allowed")
        assert (await gate.admin("/", ISSUER.mint("admin"))).status == 200
        assert (await gate.admin("/status")).verdict == (401, "no_credential")
        assert (await gate.admin("/status", headers=[("Host", "localhost:9090")])).status == 200
        assert (await gate.admin("/metrics?x=1", SCRAPER)).status == 200


async def test_a_token_that_cannot_be_checked_gets_503() -> None:
    """It is not the client's fault that keys are missing. Probes still answer."""
    down = Issuer("https://127.0.0.1:1", SigningKey.generate("ES256"))
    async with running(protected(jwt=[knowing(ISSUER), trusting(down, "down")])) as gate:
        answer = await gate.admin("/metrics", down.mint("prometheus"))
        assert answer.verdict == (503, "keys_unavailable")
        assert int(answer.value("Retry-After")) >= 1
        assert (await gate.admin("/readyz")).status == 200


async def test_other_sources_of_tokens_are_read() -> None:
    """With `basic`, a browser asks for the token as a password."""
    credential = {"sources": [{"basic": {"usernames": ["token"]}}]}
    async with running(protected(credential=credential)) as gate:
        assert (await gate.admin("/")).value("WWW-Authenticate").startswith("Basic ")
        password = base64.b64encode(f"token:{SCRAPER}".encode()).decode()
        assert (await gate.admin("/", headers=[("Authorization", f"Basic {password}")])).status == 200


async def test_the_cluster_s_rbac_may_decide(tmp_path: Path) -> None:
    """As kube-rbac-proxy does: a ClusterRole with nonResourceURLs."""
    async with cluster(tmp_path) as scenario:
        document = protected(
            cluster=of_cluster(scenario),
            policies={"default": {}, "metrics": {"accessReview": {"nonResource": "request"}}},
        )
        async with running(document) as gate:
            await gate.has_keys(within=30)
            answer = await gate.admin("/metrics", OTHER)
            assert answer.verdict == (403, "access_denied")


async def test_decisions_are_in_the_audit_log_without_the_token(tmp_path: Path) -> None:
    """A denied scrape can be found there."""
    async with GateProcess(written(tmp_path, protected())) as gate:
        assert (await gate.admin("/metrics", OTHER)).status == 403

        async def logged() -> bool:
            return '"authgate.policy":"metrics"' in gate.process.output().replace(": ", ":")

        await until(logged, within=30, otherwise=gate.process.log_tail)
    output = gate.process.output()
    assert '"user.name"' in output
    assert OTHER not in output
    assert OTHER.rpartition(".")[2] not in output


async def test_a_reload_protects_the_port(tmp_path: Path) -> None:
    """The address stays the same."""
    often = {"AUTHGATE_SERVER__RELOAD_INTERVAL": "0.1s"}
    async with GateProcess(written(tmp_path, protected(admin={})), often) as gate:
        assert (await gate.admin("/status")).status == 200
        written(tmp_path, protected())

        async def refuses() -> bool:
            return (await gate.admin("/status")).status == 401

        await until(refuses, within=30, otherwise=gate.process.log_tail)
        assert (await gate.admin("/status", SCRAPER)).status == 200


async def test_workers_decide(tmp_path: Path) -> None:
    """The supervisor, which has the port, asks one of them."""
    async with Crew(tmp_path, protected(), workers=2) as crew:
        for path in PROTECTED:
            assert (await crew.admin(path)).verdict == (401, "no_credential")
            assert (await crew.admin(path, OTHER)).verdict == (403, "not_allowed")
        body = (await crew.admin("/", SCRAPER)).body
        assert "Figures of 2 workers" in body
        assert "\nauthgate_workers 2" in (await crew.admin("/metrics", SCRAPER)).body
