"""/metrics: valid text, every decision counted once, and labels only from closed sets and configured names."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import pytest

from authgate import __version__
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE, TOKEN_LIFETIME
from authgate.errors import Reason
from tests.support.faults import Hold, failing
from tests.support.process import until
from tests.support.service import cluster, comes_to, of_cluster, published, running, trusting
from tests.support.tools import require_tool
from tests.support.wire import ask, bearer, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from authgate.dev.issuer import Issuer
    from tests.support.gate import Gate
    from tests.support.scenario import Scenario

MADE_UP = "made-up-by-a-stranger"
SOURCES = {"none", "jwks", "tokenreview", "cache"}
POLICIES = {"", "default", "billing"}


@pytest.fixture
async def scenario(tmp_path: Path) -> AsyncIterator[Scenario]:
    """An embedded cluster."""
    async with cluster(tmp_path) as it:
        yield it
        it.server.faults.clear()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer in addition to the cluster."""
    async with published() as (it, _):
        yield it


@pytest.fixture
async def gate(scenario: Scenario, issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate for both, with two policies."""
    document = {
        "cluster": of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout="20s"),
        "jwt": [trusting(issuer, keys={"cooldown": "0.1s"})],
        "policies": {"default": {}, "billing": {"allow": [{"users": ["corp:invoicer"]}]}},
    }
    async with running(document) as it:
        await comes_to(it, 2, "authgate_jwks_keys")  # one key of each
        yield it


async def use(gate: Gate, scenario: Scenario, issuer: Issuer) -> list[tuple[str, str, str, str]]:
    """Send tokens of every kind; return the expected decision, reason, source and policy of each."""
    good, account = issuer.mint(), scenario.state.service_account("demo")
    stranger = SigningKey.generate("ES256")
    asked = [
        (good, "/verify", ("allow", "authenticated", "jwks", "default")),
        (good, "/verify", ("allow", "authenticated", "cache", "default")),
        (good, "/policies/billing/verify", ("deny", "not_allowed", "cache", "billing")),
        (scenario.state.account_token(account), "/verify", ("allow", "authenticated", "jwks", "default")),
        (
            scenario.state.static_token("operator"),
            "/verify",
            ("allow", "authenticated", "tokenreview", "default"),
        ),
        (None, "/verify", ("deny", "no_credential", "none", "default")),
        (MADE_UP, "/verify", ("deny", "review_rejected", "tokenreview", "default")),
        (issuer.mint(audience=MADE_UP), "/verify", ("deny", "audience_mismatch", "jwks", "default")),
        (issuer.mint(claims={"iss": MADE_UP}), "/verify", ("deny", "issuer_unknown", "none", "default")),
        (issuer.mint(MADE_UP, key=stranger), "/verify", ("deny", "key_unknown", "none", "default")),
        (
            issuer.mint(key=stranger, headers={"kid": MADE_UP}),
            f"/verify/{MADE_UP}",
            ("deny", "key_unknown", "none", "default"),
        ),
        (good, f"/policies/{MADE_UP}/verify", ("deny", "no_such_endpoint", "none", "")),
        (good, f"/{MADE_UP}", ("deny", "no_such_endpoint", "none", "")),
    ]
    for token, path, _ in asked:
        await gate.request(token, path)
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, failing(500))
    await gate.request(scenario.state.static_token(MADE_UP))
    scenario.server.faults.clear()
    return [expected for *_, expected in asked] + [
        ("unavailable", "review_unavailable", "tokenreview", "default")
    ]


async def test_the_text_is_valid(gate: Gate, scenario: Scenario, issuer: Issuer) -> None:
    """`promtool check metrics` reports no problem, before the first request and after many."""
    promtool = require_tool("promtool", "Prometheus itself says whether it can read the metrics")
    for _ in range(2):
        answer = await gate.admin("/metrics")
        process = await asyncio.create_subprocess_exec(
            *(promtool, "check", "metrics"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate(answer.body.encode())
        assert (process.returncode, said.decode()) == (0, "")
        await use(gate, scenario, issuer)


async def test_the_content_type_is_that_of_prometheus(gate: Gate) -> None:
    """It is that of the text format, version 0.0.4."""
    answer = await gate.admin("/metrics")
    assert answer.value("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"


async def test_every_family_has_a_help_text(gate: Gate) -> None:
    """Each has a HELP of one sentence, and no name occurs twice."""
    text = (await gate.admin("/metrics")).body
    types = re.findall(r"^# TYPE (authgate_\S+)", text, re.MULTILINE)
    helped = re.findall(r"^# HELP (authgate_\S+) [A-Z].*\.$", text, re.MULTILINE)
    assert sorted(types) == sorted(helped) == sorted(set(types))


async def test_every_decision_is_counted_once(gate: Gate, scenario: Scenario, issuer: Issuer) -> None:
    """The labels are decision, reason, source and policy."""
    expected = await use(gate, scenario, issuer)
    counted = [
        (sample.labels["decision"], sample.labels["reason"], sample.labels["source"], sample.labels["policy"])
        for sample in await gate.samples()
        if sample.name == "authgate_verify_requests_total"
        for _ in range(int(sample.value))
    ]
    assert sorted(counted) == sorted(expected)


async def test_clients_cannot_create_labels(gate: Gate, scenario: Scenario, issuer: Issuer) -> None:
    """No path, policy, issuer, audience, kid or name from a client becomes a label value."""
    await use(gate, scenario, issuer)
    samples = [sample for sample in await gate.samples() if not sample.name.startswith("authgate_worker_")]
    assert not [sample for sample in samples if MADE_UP in str(sample.labels)]
    values = {
        label: {sample.labels[label] for sample in samples if label in sample.labels}
        for label in ("reason", "source", "policy", "issuer", "decision", "cache")
    }
    assert values["reason"] <= {reason.value for reason in Reason}
    assert values["source"] <= SOURCES
    assert values["policy"] <= POLICIES
    assert values["issuer"] == {"home", "corp"}
    assert values["decision"] == {"allow", "deny", "unavailable"}
    assert values["cache"] == {"verdict"}


async def test_durations_are_counted_with_the_decisions(
    gate: Gate, scenario: Scenario, issuer: Issuer
) -> None:
    """For each source the histogram has as many observations as the counter, and its buckets are cumulative."""
    await use(gate, scenario, issuer)
    for source in SOURCES:
        decided = await gate.metric("authgate_verify_requests_total", source=source)
        assert await gate.metric("authgate_verify_duration_seconds_count", source=source) == decided
    buckets = [
        sample.value
        for sample in await gate.samples()
        if sample.name == "authgate_verify_duration_seconds_bucket" and sample.labels["source"] == "jwks"
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] > 0


async def test_a_long_duration_is_in_its_bucket(gate: Gate, scenario: Scenario) -> None:
    """Durations are in seconds, from the request's headers to the response."""
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
    waiting = asyncio.create_task(gate.request(scenario.state.static_token("operator")))
    await comes_to(gate, 1, "authgate_in_flight_requests")
    began = time.monotonic()

    async def passed() -> bool:
        return time.monotonic() - began > 0.05

    await until(passed, within=30)
    scenario.server.faults.clear()
    await waiting
    assert await gate.metric("authgate_verify_duration_seconds_bucket", le="0.05") == 0
    assert await gate.metric("authgate_verify_duration_seconds_sum", source="tokenreview") >= 0.05


async def test_in_flight_requests_return_to_zero(gate: Gate, scenario: Scenario) -> None:
    """This also holds if the client disconnects."""
    scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
    async with connected(gate.address) as patient:
        async with connected(gate.address) as gone:
            for wire in (patient, gone):
                token = scenario.state.static_token("operator")
                await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
            await comes_to(gate, 2, "authgate_in_flight_requests")
        scenario.server.faults.clear()
        assert (await patient.reply()).status == 200
        await comes_to(gate, 0, "authgate_in_flight_requests")


async def test_the_cache_is_counted(gate: Gate, issuer: Issuer) -> None:
    """There are one miss, then hits, and one entry."""
    token = issuer.mint()
    for _ in range(3):
        await gate.request(token)
    assert await gate.metric("authgate_cache_requests_total", cache="verdict", result="miss") == 1
    assert await gate.metric("authgate_cache_requests_total", cache="verdict", result="hit") == 2
    assert await gate.metric("authgate_cache_entries", cache="verdict") == 1


async def test_a_full_cache_evicts_the_oldest(issuer: Issuer) -> None:
    """cache.maxEntries limits it, and evictions are counted."""
    async with running({"jwt": [trusting(issuer)], "cache": {"maxEntries": 3}}) as gate:
        for number in range(5):
            await gate.passes(issuer.mint(f"user-{number}"), within=30)
        assert await gate.metric("authgate_cache_entries", cache="verdict") == 3
        assert await gate.metric("authgate_cache_evictions_total", cache="verdict") == 2


async def test_keys_are_exposed_by_issuer(gate: Gate, issuer: Issuer) -> None:
    """The metrics are the number of keys, the number of fetches, and the time of the last one."""
    issued_at = await gate.metric("authgate_jwks_last_success_timestamp_seconds", issuer="corp")
    assert abs(issued_at - issuer.clock()) < 60
    for name in ("home", "corp"):
        assert await gate.metric("authgate_jwks_keys", issuer=name) == 1
        assert await gate.metric("authgate_jwks_fetches_total", issuer=name, result="success") == 1


async def test_the_end_of_the_gates_own_token_is_exposed(gate: Gate, scenario: Scenario) -> None:
    """The kubelet, or whatever else writes the token file, may have stopped."""
    labels = {"credential": "cluster token"}
    lifetime = await gate.metric("authgate_credential_lifetime_seconds", **labels)
    ends = await gate.metric("authgate_credential_expiry_timestamp_seconds", **labels)
    assert lifetime == TOKEN_LIFETIME
    assert abs(ends - lifetime - scenario.state.clock()) < 60


async def test_the_version_and_the_configuration_are_exposed(gate: Gate) -> None:
    """The metrics show the version and that the configuration was loaded."""
    assert await gate.metric("authgate_build_info", version=__version__) == 1
    assert await gate.metric("authgate_config_reloads_total", result="success") == 1
    assert await gate.metric("authgate_config_last_reload_success_timestamp_seconds") > 0


async def test_a_malformed_request_is_not_a_decision(gate: Gate) -> None:
    """Answers to malformed requests are counted separately, by status."""
    for line in ("GET /verify HTTP/9.9", f"GET /{'a' * 70_000} HTTP/1.1"):
        await ask(gate.address, line, "Host: gate")
    samples = [sample for sample in await gate.samples() if sample.name == "authgate_http_errors_total"]
    assert {sample.labels["status"]: sample.value for sample in samples if sample.value} == {
        "400": 1,
        "431": 1,
    }
    assert await gate.metric("authgate_verify_requests_total") == 0
