"""When and how often authgate sends a TokenReview, by the request count of the test cluster."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from authgate.dev.compact import OMIT, json_bytes, segment
from authgate.dev.keys import SigningKey
from authgate.dev.kube import LEGACY_ISSUER
from authgate.dev.kube_api import JWKS_PATH, TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.faults import Hold, failing
from tests.support.process import until
from tests.support.service import cluster, comes_to, of_cluster, published, reviews_at_rest, running, trusting
from tests.support.wire import bearer, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.scenario import Scenario

LEGACY: dict[str, Any] = {"legacyAudiences": [LEGACY_AUDIENCE]}


@pytest.fixture
async def scenario(tmp_path: Path) -> AsyncIterator[Scenario]:
    """An embedded cluster."""
    async with cluster(tmp_path) as it:
        yield it
        it.server.faults.clear()


def account_token(scenario: Scenario, **changes: Any) -> str:
    """Return a token of a ServiceAccount, valid unless it is changed."""
    return scenario.state.account_token(scenario.state.service_account("demo"), **changes)


def unsigned(scenario: Scenario, alg: str) -> str:
    """Return a token whose signature needs no private key."""
    _, payload, _ = account_token(scenario).split(".")
    header = {"alg": alg, "kid": scenario.state.issuer.key.kid}
    return f"{segment(json_bytes(header))}.{payload}." + ("" if alg == "none" else segment(b"x" * 32))


def past(scenario: Scenario) -> str:
    """Return a token that expired an hour ago, including leeway."""
    return account_token(scenario, claims={"exp": int(time.time()) - 3600})


def future(scenario: Scenario) -> str:
    """Return a token that becomes valid in an hour."""
    return account_token(scenario, claims={"nbf": int(time.time()) + 3600})


ANYHOW: dict[str, tuple[Callable[[Scenario], str], str]] = {
    "expired": (past, "token_expired"),
    "not-yet": (future, "token_not_yet_valid"),
    "other-audience": (lambda it: account_token(it, audiences=("other",)), "audience_mismatch"),
    "no-audience": (lambda it: account_token(it, claims={"aud": OMIT}), "audience_mismatch"),
    "alg-none": (lambda it: unsigned(it, "none"), "algorithm_not_allowed"),
    "alg-hmac": (lambda it: unsigned(it, "HS256"), "algorithm_not_allowed"),
    "critical": (lambda it: account_token(it, headers={"crit": ["x"]}), "critical_header"),
    "type": (lambda it: account_token(it, headers={"typ": "logout+jwt"}), "type_not_accepted"),
    "sender-constrained": (
        lambda it: account_token(it, claims={"cnf": {"jkt": "x"}}),
        "token_sender_constrained",
    ),
    "malformed": (lambda it: account_token(it)[:-1] + "!", "credential_malformed"),
    "two-segments": (lambda _: "eyJhbGciOiJSUzI1NiJ9.e30", "token_malformed"),
    "no-expiry": (lambda it: account_token(it, claims={"exp": OMIT}), "claim_malformed"),
    "opaque": (lambda it: it.state.static_token("operator"), "token_opaque"),
    "legacy-issuer": (lambda it: account_token(it, claims={"iss": LEGACY_ISSUER}), "audience_mismatch"),
}
"""Tokens that are invalid with any keys, and why."""

BY_KEY: dict[str, tuple[Callable[[Scenario], str], str]] = {
    "other-issuer": (lambda it: account_token(it, claims={"iss": "https://other.example"}), "issuer_unknown"),
    "forged": (
        lambda it: account_token(
            it, key=SigningKey.generate("ES256"), headers={"kid": it.state.issuer.key.kid}
        ),
        "signature_invalid",
    ),
    "confused": (lambda it: account_token(it, headers={"alg": "RS256"}), "algorithm_not_allowed"),
}
"""Tokens that are invalid according to the cluster's own keys and discovery, and why."""


@pytest.mark.parametrize("mode", ["fallback", "always"])
@pytest.mark.parametrize(("make", "reason"), (ANYHOW | BY_KEY).values(), ids=ANYHOW | BY_KEY)
async def test_invalid_tokens_are_not_reviewed(
    scenario: Scenario, mode: str, make: Callable[[Scenario], str], reason: str
) -> None:
    """They are rejected without a request to the API server."""
    async with running({"cluster": of_cluster(scenario, mode=mode)}) as gate:
        before = await reviews_at_rest(gate, scenario)
        assert await gate.verdict(make(scenario)) == (401, reason)
        assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before


@pytest.mark.parametrize(("make", "reason"), ANYHOW.values(), ids=ANYHOW)
async def test_invalid_tokens_are_not_reviewed_without_keys(
    scenario: Scenario, make: Callable[[Scenario], str], reason: str
) -> None:
    """Time and audience are checked before a review."""
    scenario.server.faults.set(JWKS_PATH, failing(500))
    async with running({"cluster": of_cluster(scenario)}) as gate:
        await gate.becomes_ready(within=30)
        before = scenario.server.counts[TOKEN_REVIEWS_PATH]
        assert await gate.verdict(make(scenario)) == (401, reason)
        assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before


async def test_tokens_of_another_issuer_are_not_reviewed(scenario: Scenario) -> None:
    """This also holds if that issuer cannot be reached."""
    async with published() as (other, server):
        server.faults.set("/jwks", failing(500))
        async with running({"cluster": of_cluster(scenario, **LEGACY), "jwt": [trusting(other)]}) as gate:
            before = await reviews_at_rest(gate, scenario)
            assert await gate.verdict(other.mint()) == (503, "keys_unavailable")
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before


async def test_valid_tokens_need_no_review(scenario: Scenario) -> None:
    """With the cluster's keys in memory and the default mode, the API server gets no token, not even at startup."""
    async with running({"cluster": of_cluster(scenario)}) as gate:
        await reviews_at_rest(gate, scenario)
        assert (await gate.request(account_token(scenario))).status == 200
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == 0


async def test_a_token_with_an_unpublished_key_is_reviewed(scenario: Scenario) -> None:
    """The unknown kid could be that of an external signer of the cluster."""
    hidden = SigningKey.generate("ES256")
    scenario.state.accept_unpublished(hidden)
    async with running({"cluster": of_cluster(scenario)}) as gate:
        before = await reviews_at_rest(gate, scenario)
        assert (await gate.request(account_token(scenario, key=hidden))).status == 200
        stranger = account_token(scenario, key=SigningKey.generate("ES256"))
        assert await gate.verdict(stranger) == (401, "review_rejected")
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before + 2


@pytest.mark.parametrize("kind", ["static", "static with two dots", "legacy", "unbound"])
async def test_legacy_tokens_are_reviewed_if_configured(scenario: Scenario, kind: str) -> None:
    """With tokenReview.legacyAudiences, tokens without an audience are meant for the API server."""
    state, account = scenario.state, scenario.state.service_account("old")
    token = {
        "static": lambda: state.static_token("operator"),
        "static with two dots": lambda: state.static_token("operator", token="a.b.c"),
        "legacy": lambda: state.legacy_token(account, "old-token"),
        "unbound": lambda: state.account_token(account, claims={"aud": OMIT}),
    }[kind]()
    async with running({"cluster": of_cluster(scenario, **LEGACY)}) as gate:
        before = await reviews_at_rest(gate, scenario)
        assert [(await gate.request(token)).status for _ in range(2)] == [200, 200]
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before + 1


@pytest.mark.parametrize("mode", ["fallback", "always"])
async def test_the_servers_audience_is_not_for_clients(
    scenario: Scenario, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """With a wrong legacyAudiences, the audit log has the server's error and the setting, and the client neither."""
    (audience,) = scenario.state.api_audiences
    token = scenario.state.legacy_token(scenario.state.service_account("old"), "old-token")
    section = of_cluster(scenario, mode=mode, legacyAudiences=["a-wrong-guess"])
    caplog.set_level("INFO")
    async with running({"cluster": section, "log": {"audit": "all"}}) as gate:
        answers = [await gate.request(token) for _ in range(2)]  # the second one is cached
    assert [answer.verdict for answer in answers] == [(401, "review_rejected")] * 2
    assert audience not in str(answers)
    assert "a-wrong-guess" not in str(answers)
    lines = [vars(record)["attributes"] for record in caplog.records if hasattr(record, "attributes")]
    details = [line["authgate.detail"] for line in lines if "authgate.detail" in line]
    assert len(details) == 2
    for detail in details:
        assert audience in detail
        assert "cluster.tokenReview.legacyAudiences must contain the API server's audience" in detail


async def test_a_thousand_requests_share_one_review(scenario: Scenario) -> None:
    """All of them wait for one answer, each on its own connection."""
    token = scenario.state.static_token("operator")
    async with (
        running({"cluster": of_cluster(scenario, timeout="30s", **LEGACY)}) as gate,
        AsyncExitStack() as clients,
    ):
        before = await reviews_at_rest(gate, scenario)
        scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
        wires = [await clients.enter_async_context(connected(gate.address)) for _ in range(1000)]
        for wire in wires:
            await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
        await comes_to(gate, 1000, "authgate_in_flight_requests")
        scenario.server.faults.clear()
        assert {(await wire.reply()).status for wire in wires} == {200}
        await comes_to(gate, 0, "authgate_in_flight_requests")
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before + 1


async def test_a_client_that_disconnects_does_not_cancel_a_shared_review(scenario: Scenario) -> None:
    """The second client gets the answer of the review that the first one started."""
    token = scenario.state.static_token("operator")
    async with running({"cluster": of_cluster(scenario, **LEGACY)}) as gate:
        before = await reviews_at_rest(gate, scenario)
        scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
        async with connected(gate.address) as first:
            await first.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
            await scenario.server.arrived(TOKEN_REVIEWS_PATH, before + 1)
            second = asyncio.create_task(gate.request(token))
            await comes_to(gate, 2, "authgate_in_flight_requests")
        scenario.server.faults.clear()
        assert (await second).status == 200
    assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before + 1


async def test_mode_always_reviews_every_token(scenario: Scenario) -> None:
    """With maxAge 0 every request is reviewed, so a deleted account is rejected at once."""
    async with running({"cluster": of_cluster(scenario, mode="always", maxAge="0s")}) as gate:
        before = await reviews_at_rest(gate, scenario)
        account = scenario.state.service_account("demo")
        token = scenario.state.account_token(account)
        assert [(await gate.request(token)).status for _ in range(3)] == [200] * 3
        assert scenario.server.counts[TOKEN_REVIEWS_PATH] == before + 3
        scenario.state.objects.remove(account)
        assert await gate.verdict(token) == (401, "review_rejected")


async def test_mode_always_caches_for_max_age(scenario: Scenario) -> None:
    """The cached verdict is used until its renewal shows that the account was deleted."""
    async with running({"cluster": of_cluster(scenario, mode="always", maxAge="1s")}) as gate:
        account = scenario.state.service_account("demo")
        token = scenario.state.account_token(account)
        began = time.monotonic()
        assert (await gate.request(token)).status == 200
        scenario.state.objects.remove(account)
        assert (await gate.request(token)).status == 200 or time.monotonic() - began > 0.6

        async def refused() -> bool:
            return await gate.verdict(token) == (401, "review_rejected")

        await until(refused, within=30)
        assert time.monotonic() - began >= 0.6


async def test_mode_always_needs_a_review_in_addition_to_keys(scenario: Scenario) -> None:
    """While reviews fail, no token is allowed, even with all keys in memory."""
    async with running({"cluster": of_cluster(scenario, mode="always")}) as gate:
        await gate.becomes_ready(within=30)
        scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(500))
        assert await gate.verdict(account_token(scenario)) == (503, "review_unavailable")
        scenario.server.faults.clear()
        assert (await gate.request(account_token(scenario))).status == 200


async def test_a_static_token_in_use_is_not_affected_by_invented_ones(scenario: Scenario) -> None:
    """A token that was accepted a moment ago has its own budget, and a repeated invalid token needs no new review."""
    token = scenario.state.static_token("operator")
    section = of_cluster(scenario, qps=0.1, burst=3, **LEGACY)
    async with running({"cluster": section, "cache": {"ttl": "0s", "negativeTTL": "10m"}}) as gate:
        await reviews_at_rest(gate, scenario)
        assert await gate.verdict(token) == (200, "")
        junk = [await gate.verdict(f"made-up-{number}") for number in range(20)]
        assert junk[-1] == (503, "review_throttled")
        assert await gate.verdict(token) == (200, "")
        assert await gate.verdict("made-up-0") == (401, "review_rejected")
        assert await gate.metric("authgate_tokenreview_saturation", budget="opaque") > 1


async def test_opaque_tokens_cannot_use_up_all_reviews(scenario: Scenario) -> None:
    """Invented tokens are limited. The cluster's own tokens have a separate budget."""
    hidden = SigningKey.generate("ES256")
    scenario.state.accept_unpublished(hidden)
    async with running({"cluster": of_cluster(scenario, qps=0.1, burst=2, **LEGACY)}) as gate:
        await reviews_at_rest(gate, scenario)
        verdicts = [await gate.verdict(f"made-up-{number}") for number in range(5)]
        assert verdicts == [(401, "review_rejected")] * 2 + [(503, "review_throttled")] * 3
        assert (await gate.request(account_token(scenario, key=hidden))).status == 200
        assert await gate.metric("authgate_tokenreview_requests_total", result="throttled") == 3
