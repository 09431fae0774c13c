"""A cluster's API that is down, slow or forbidden: 503 with a reason, not cached, and over when the fault ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from authgate.dev.kube import Permission
from authgate.dev.kube_api import DISCOVERY_PATH, JWKS_PATH, TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import (
    Answer,
    CutOff,
    Delay,
    Drop,
    Fault,
    Flood,
    Hold,
    broken_json,
    failing,
    html,
    json_answer,
    redirect,
)
from tests.support.process import until
from tests.support.service import cluster, of_cluster, reviews_at_rest, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate
    from tests.support.scenario import Scenario

UNAVAILABLE, FORBIDDEN = "review_unavailable", "review_forbidden"
GATE = "system:serviceaccount:authgate:authgate"


def reviewed(**status: object) -> Answer:
    """Return a TokenReview with this status."""
    return json_answer(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}, 201
    )


FAULTS: dict[str, tuple[Fault, str, str]] = {
    "401": (failing(401), FORBIDDEN, "unauthorized"),
    "403": (failing(403), FORBIDDEN, "forbidden"),
    "404": (failing(404), UNAVAILABLE, "bad_answer"),
    "429": (failing(429, retry_after=3), UNAVAILABLE, "rate_limited"),
    "500": (failing(500), UNAVAILABLE, "server_error"),
    "503": (failing(503), UNAVAILABLE, "server_error"),
    "hangs": (Hold(), UNAVAILABLE, "timeout"),
    "html": (html(), UNAVAILABLE, "bad_answer"),
    "empty": (Answer(201), UNAVAILABLE, "bad_answer"),
    "broken-json": (broken_json(), UNAVAILABLE, "bad_answer"),
    "other-kind": (json_answer({"kind": "Status", "status": "Success"}), UNAVAILABLE, "bad_answer"),
    "no-status": (json_answer({"kind": "TokenReview"}), UNAVAILABLE, "bad_answer"),
    "yes-in-words": (reviewed(authenticated="true", user={"username": "x"}), UNAVAILABLE, "bad_answer"),
    "nobody": (reviewed(authenticated=True), UNAVAILABLE, "bad_answer"),
    "nameless": (reviewed(authenticated=True, user={"username": ""}), UNAVAILABLE, "bad_answer"),
    "control-letters": (reviewed(authenticated=True, user={"username": "a\nb"}), UNAVAILABLE, "bad_answer"),
    "redirect": (redirect("/elsewhere", 307), UNAVAILABLE, "bad_answer"),
    "100-mb": (Flood(100_000_000), UNAVAILABLE, "bad_answer"),
    "cut-off": (CutOff(b'{"kind":"TokenReview","status":{"authenticated":true'), UNAVAILABLE, "bad_answer"),
    "dropped": (Drop(), UNAVAILABLE, "unreachable"),
}


@pytest.fixture
async def scenario(tmp_path: Path) -> AsyncIterator[Scenario]:
    """An embedded cluster that answers correctly unless a test sets a fault."""
    async with cluster(tmp_path) as it:
        yield it
        it.server.faults.clear()


@pytest.fixture
async def gate(scenario: Scenario) -> AsyncIterator[Gate]:
    """A gate that has the cluster's keys and reviews opaque tokens."""
    async with reviewing(scenario) as it:
        yield it


@pytest.fixture
async def hasty(scenario: Scenario) -> AsyncIterator[Gate]:
    """The same gate with a short timeout."""
    async with reviewing(scenario, "0.3s") as it:
        yield it


@asynccontextmanager
async def reviewing(scenario: Scenario, timeout: str = "30s") -> AsyncIterator[Gate]:  # noqa: ASYNC109 - the gate's
    """Run a gate with this timeout of reviews."""
    section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout=timeout)
    async with running({"cluster": section}) as it:
        await reviews_at_rest(it, scenario)
        yield it


def timeout_for(fault: Fault) -> str:
    """Return a short timeout for a server that hangs. All other faults are found without one, however slowly."""
    return "0.3s" if isinstance(fault, Hold) else "30s"


def demo_token(scenario: Scenario) -> str:
    """Return a valid token of a ServiceAccount."""
    return scenario.state.account_token(scenario.state.service_account("demo"))


@pytest.mark.parametrize(("fault", "reason", "result"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_failing_review_is_not_cached(
    scenario: Scenario, fault: Fault, reason: str, result: str
) -> None:
    """The answer is 503 with Retry-After. The next request sends a review again."""
    server, token = scenario.server, scenario.state.static_token("operator")
    async with reviewing(scenario, timeout_for(fault)) as gate:
        server.faults.set(TOKEN_REVIEWS_PATH, fault)
        # After a 429 no review is sent for its Retry-After, so the second request is only counted as throttled.
        for asked in (1, 1 if result == "rate_limited" else 2):
            answer = await gate.request(token)
            assert answer.verdict == (503, reason)
            assert int(answer.value("Retry-After")) >= 1
            assert await gate.metric("authgate_tokenreview_requests_total", result=result) == asked
        assert server.counts["/elsewhere"] == 0
        server.faults.clear()
        await gate.passes(token, within=30)
        assert (await gate.request(token)).value("X-Auth-Request-User") == "operator"


async def test_the_servers_retry_after_is_forwarded(scenario: Scenario, gate: Gate) -> None:
    """If an overloaded API server sends Retry-After, authgate sends it to the client."""
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(429, retry_after=7))
    assert (await gate.request(scenario.state.static_token("operator"))).value("Retry-After") == "7"


async def test_a_redirect_is_never_followed(scenario: Scenario, gate: Gate) -> None:
    """A redirect would send the reviewed token and the gate's own token to another host."""
    async with EmbeddedServer() as elsewhere:
        target = elsewhere.url + TOKEN_REVIEWS_PATH
        scenario.server.faults.set(TOKEN_REVIEWS_PATH, redirect(target, 307))
        assert await gate.verdict(scenario.state.static_token("operator")) == (503, UNAVAILABLE)
        assert elsewhere.counts == {}


async def test_local_keys_decide_while_reviews_fail(scenario: Scenario, hasty: Gate) -> None:
    """A ServiceAccount's token needs no review, and does not wait for one."""
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
    waiting = asyncio.create_task(hasty.verdict(scenario.state.static_token("operator")))
    await scenario.server.arrived(TOKEN_REVIEWS_PATH)
    assert (await hasty.request(demo_token(scenario))).status == 200
    assert await waiting == (503, UNAVAILABLE)


async def test_cached_data_is_used_while_the_api_is_down(scenario: Scenario, gate: Gate) -> None:
    """Known keys and cached verdicts are still used. Other tokens get 503, and /readyz succeeds."""
    seen, token = scenario.state.static_token("operator"), demo_token(scenario)
    assert (await gate.request(seen)).status == 200
    await scenario.server.stop()
    assert (await gate.request(seen)).status == 200
    assert (await gate.request(token)).status == 200
    assert await gate.verdict(scenario.state.static_token("other")) == (503, UNAVAILABLE)
    assert await gate.ready()


async def test_a_missing_binding_is_named_once(
    scenario: Scenario, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """One log line names the role and the account, however many requests fail."""
    scenario.state.forbid(GATE, Permission.REVIEW_TOKENS)
    for number in range(5):
        assert await gate.verdict(scenario.state.static_token(f"user-{number}")) == (503, FORBIDDEN)
    told = [vars(record)["attributes"] for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert f"bind the ClusterRole system:auth-delegator to {GATE}" in told[0]["error_message"]
    scenario.state.allow(GATE, Permission.REVIEW_TOKENS)
    assert (await gate.request(scenario.state.static_token("user"))).status == 200


async def test_a_temporary_403_is_forgotten(scenario: Scenario, gate: Gate) -> None:
    """A kube-apiserver that has just started answers 403 to a correctly bound gate."""
    token = scenario.state.static_token("operator")
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(403), times=1)
    assert [(await gate.request(token)).status for _ in range(2)] == [503, 200]


async def test_the_gates_own_token_is_read_again(scenario: Scenario, gate: Gate) -> None:
    """If the API server rejects it, the file is read again. A pod's token is replaced while the pod runs."""
    own = scenario.state.service_account("authgate", "authgate")  # with another UID: the old token is void
    assert await gate.verdict(scenario.state.static_token("one")) == (503, FORBIDDEN)
    fresh = scenario.state.account_token(own, scenario.state.api_audiences)
    (scenario.folder / "authgate.token").write_text(fresh)
    assert (await gate.request(scenario.state.static_token("two"))).status == 200


@pytest.mark.parametrize("path", [DISCOVERY_PATH, JWKS_PATH], ids=["discovery", "jwks"])
@pytest.mark.parametrize("fault", ["403", "500", "html", "100-mb", "hangs", "dropped"])
async def test_without_keys_reviews_decide(scenario: Scenario, path: str, fault: str) -> None:
    """A token gets the same identity from a review as from keys."""
    token = demo_token(scenario)
    async with running({"cluster": of_cluster(scenario)}) as by_keys:
        expected = await by_keys.request(token)
    scenario.server.faults.set(path, FAULTS[fault][0])
    async with running({"cluster": of_cluster(scenario, keys={"timeout": "0.3s"})}) as by_review:
        answer = await by_review.request(token)
        assert await by_review.metric("authgate_verify_requests_total", source="tokenreview") == 1
    assert answer.status == 200
    assert _identity(answer.headers) == _identity(expected.headers)


def _identity(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.startswith("X-Auth-Request-")]


async def test_without_keys_and_reviews_every_token_is_unavailable(scenario: Scenario) -> None:
    """This includes forged tokens. /readyz shows both failures."""
    scenario.server.faults.set(JWKS_PATH, failing(500))
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(403))
    async with running({"cluster": of_cluster(scenario)}) as gate:
        for token in (demo_token(scenario), demo_token(scenario)[:-4] + "AAAA"):
            assert await gate.verdict(token) == (503, FORBIDDEN)
        report = await gate.admin("/readyz?verbose")
    assert report.status == 503
    line = next(line for line in report.body.splitlines() if line.startswith("[-]cluster/home failed: "))
    assert f"{JWKS_PATH}: server_error" in line
    assert "system:auth-delegator" in line


async def test_a_binding_that_is_missing_for_legacy_tokens_is_named(scenario: Scenario) -> None:
    """Keys decide all other tokens, so authgate stays ready. The status recovers with the binding."""
    section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE])
    static = scenario.state.static_token("operator")
    async with running({"cluster": section}) as gate:
        await gate.passes(static, within=30)
        scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(403))
        assert await gate.verdict(scenario.state.static_token("another")) == (503, FORBIDDEN)
        report = await gate.admin("/readyz?verbose")
        assert report.status == 200
        assert (await gate.request(demo_token(scenario))).status == 200
        line = next(
            line
            for line in report.body.splitlines()
            if line.startswith("[-]cluster/home/legacyAudiences failed: ")
        )
        assert "system:auth-delegator" in line
        checks = {check["name"]: check for check in json.loads((await gate.admin("/status")).body)["checks"]}
        assert not checks["cluster/home/legacyAudiences"]["good"]
        assert checks["cluster/home"]["good"]

        scenario.server.faults.clear()

        async def named_no_longer() -> bool:
            return "[+]cluster/home/legacyAudiences ok" in (await gate.admin("/readyz?verbose")).body

        await until(named_no_longer, within=30)


async def test_mode_never_sends_no_review(scenario: Scenario) -> None:
    """Without keys its tokens get 503."""
    scenario.server.faults.set(JWKS_PATH, failing(500))
    async with running({"cluster": of_cluster(scenario, mode="never")}) as gate:
        assert await gate.verdict(demo_token(scenario)) == (503, "keys_unavailable")
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == 0


async def test_a_cluster_that_comes_up_later_is_found(scenario: Scenario) -> None:
    """authgate starts without it, and becomes ready without a client's request."""
    token = demo_token(scenario)
    await scenario.server.stop()
    async with running({"cluster": of_cluster(scenario)}) as gate:
        assert (await gate.request(token)).status == 503
        assert not await gate.ready()
        await scenario.server.start()
        await gate.becomes_ready(within=30)
        assert (await gate.request(token)).status == 200


async def test_reviews_alone_make_a_gate_ready(scenario: Scenario) -> None:
    """If keys cannot be fetched, authgate itself sends a TokenReview at startup. No client request is needed."""
    scenario.server.faults.set(JWKS_PATH, failing(500))
    async with running({"cluster": of_cluster(scenario)}) as gate:
        await gate.becomes_ready(within=30)


@pytest.mark.parametrize(("patience", "status"), [("0.3s", 503), ("30s", 200)], ids=["too late", "in time"])
async def test_a_review_may_take_three_seconds(scenario: Scenario, patience: str, status: int) -> None:
    """A slow answer counts if it arrives before tokenReview.timeout. Otherwise the next fast review decides."""
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, Delay(3))
    token = scenario.state.static_token("operator")
    section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout=patience)
    async with running({"cluster": section}) as gate:
        assert (await gate.request(token)).status == status
        scenario.server.faults.clear()
        await gate.passes(token, within=30)


@pytest.mark.parametrize("fault", ["401", "429", "500", "hangs", "cut-off", "dropped"])
async def test_keys_are_fetched_after_an_outage(scenario: Scenario, fault: str) -> None:
    """Without keys and reviews the answer is 503. authgate fetches keys again and then allows, without a restart."""
    scenario.server.faults.set(JWKS_PATH, FAULTS[fault][0])
    section = of_cluster(scenario, keys={"timeout": timeout_for(FAULTS[fault][0])}, mode="never")
    async with running({"cluster": section}) as gate:
        assert await gate.verdict(demo_token(scenario)) == (503, "keys_unavailable")
        scenario.server.faults.clear()
        await gate.becomes_ready(within=30)
        assert (await gate.request(demo_token(scenario))).status == 200
