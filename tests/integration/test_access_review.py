"""Access reviews with the embedded API: the requests to the API server, and the answers to the proxy."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from authgate.cli.explain import explained
from authgate.config import load
from authgate.dev.kube import Permission
from authgate.dev.kube_api import ACCESS_REVIEWS_PATH
from authgate.errors import Step
from authgate.model import OriginalRequest
from authgate.observability.log import AUDIT
from tests.support.faults import CutOff, Drop, Fault, Flood, Hold, failing, json_answer
from tests.support.service import cluster, knowing, of_cluster, published, running, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Answer, Gate
    from tests.support.scenario import Scenario

DEMO = "system:serviceaccount:default:demo"
BY_REQUEST = {"accessReview": {"nonResource": "request"}}
BY_NAMESPACE = {
    "accessReview": {
        "resource": {
            "verb": "get",
            "resource": "services",
            "subresource": "proxy",
            "namespace": "{{ .Namespace }}",
            "name": "{{ .ServiceAccount }}",
        }
    }
}
SERVICE = {
    "verb": "get",
    "resource": "services",
    "subresource": "proxy",
    "namespace": "default",
    "name": "demo",
}


@pytest.fixture
async def scenario(tmp_path: Path) -> AsyncIterator[Scenario]:
    """An embedded cluster."""
    async with cluster(tmp_path) as it:
        yield it


def document(scenario: Scenario, policy: dict[str, Any], **server: Any) -> dict[str, Any]:
    """Return a configuration with this cluster and one policy, behind nginx."""
    return {
        "cluster": of_cluster(scenario),
        "policies": {"default": policy},
        "server": {"proxy": "nginx", **server},
    }


async def asked(
    gate: Gate, token: str, method: str | None = "GET", uri: str | None = "/metrics", path: str = "/verify"
) -> Answer:
    """Return the answer to a subrequest about a client's request."""
    told = [("X-Original-Method", method), ("X-Original-URI", uri)]
    return await gate.request(token, path, [(name, value) for name, value in told if value is not None])


def audited(caplog: pytest.LogCaptureFixture) -> str:
    """Return the detail of the only logged decision."""
    (record,) = [record for record in caplog.records if record.name == AUDIT]
    return str(vars(record)["attributes"]["authgate.detail"])


def demo_token(scenario: Scenario) -> str:
    """Return the token of the account `default/demo`."""
    return scenario.token_file.read_text()


async def test_only_a_granted_request_is_allowed(scenario: Scenario) -> None:
    """Path and method are compared. The query is not."""
    scenario.state.grant(DEMO, path="/metrics", verb="get")
    token = demo_token(scenario)
    async with running(document(scenario, BY_REQUEST)) as gate:
        verdicts = [
            (await asked(gate, token, method, uri)).verdict
            for method, uri in (
                ("GET", "/metrics"),
                ("GET", "/metrics?name=x"),
                ("POST", "/metrics"),
                ("GET", "/metrics/x"),
                ("GET", "/?path=/metrics"),
                ("GET", "/%6Detrics"),
                ("GET", "/x/../metrics"),
                ("GET", None),
                (None, "/metrics"),
            )
        ]

    assert verdicts == [
        (200, ""),
        (200, ""),
        (403, "access_denied"),
        (403, "access_denied"),
        (403, "access_denied"),
        (200, ""),
        (403, "path_ambiguous"),
        (403, "request_unknown"),
        (403, "request_unknown"),
    ]


async def test_the_review_contains_the_complete_identity(scenario: Scenario) -> None:
    """Name, uid, groups and extra are those of the token."""
    state = scenario.state
    account = state.service_account("app")
    pod = state.pod(account, "app-0")
    token = state.account_token(account, bound_to=pod)
    async with running(document(scenario, BY_REQUEST)) as gate:
        await asked(gate, token)

    (spec,) = scenario.api.access_reviews
    extra = spec["extra"]
    assert isinstance(extra, dict)
    assert (spec["user"], spec["uid"]) == (account.username, account.uid)
    assert spec["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]
    assert extra["authentication.kubernetes.io/pod-name"] == ["app-0"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [pod.uid]
    assert extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    assert spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}


async def test_attributes_come_from_the_identity(scenario: Scenario) -> None:
    """Each account gets the grants of its own namespace and name. The request cannot change them."""
    scenario.state.grant(DEMO, **SERVICE)
    other = scenario.state.account_token(scenario.state.service_account("demo", namespace="other"))
    async with running(document(scenario, BY_NAMESPACE)) as gate:
        demo = await asked(gate, demo_token(scenario), "DELETE", "/other?namespace=other")
        refused = await asked(gate, other, "GET", "/default?namespace=default")

    assert demo.verdict == (200, "")
    assert refused.verdict == (403, "access_denied")


async def test_an_identity_without_the_attribute_is_denied_without_a_review(scenario: Scenario) -> None:
    """A user of a `jwt` issuer has no namespace."""
    async with published() as (issuer, _):
        token = issuer.mint("jane")
        configured = {**document(scenario, BY_NAMESPACE), "jwt": [knowing(issuer)]}
        async with running(configured) as gate:
            answer = await asked(gate, token)

    assert answer.verdict == (403, "access_denied")
    assert "the identity has no Namespace" in answer.value("WWW-Authenticate")
    assert scenario.server.counts[ACCESS_REVIEWS_PATH] == 0


async def test_users_of_jwt_issuers_are_reviewed(scenario: Scenario) -> None:
    """The review has the username that the configuration gives them."""
    scenario.state.grant("corp:jane", path="/metrics", verb="get")
    async with published() as (issuer, _):
        configured = {**document(scenario, BY_REQUEST), "jwt": [knowing(issuer)]}
        async with running(configured) as gate:
            assert (await asked(gate, issuer.mint("jane"))).verdict == (200, "")
            assert (await asked(gate, issuer.mint("joe"))).verdict == (403, "access_denied")


async def test_answers_are_cached(scenario: Scenario) -> None:
    """They are reused for their lifetime, even if the grants change meanwhile."""
    scenario.state.grant(DEMO, path="/metrics", verb="get")
    token = demo_token(scenario)
    async with running(document(scenario, BY_REQUEST)) as gate:
        await asyncio.gather(*(asked(gate, token) for _ in range(20)))
        scenario.state.revoke(DEMO, path="/metrics", verb="get")
        verdicts = {
            (await asked(gate, token, uri=uri)).verdict for uri in ("/metrics", "/other") for _ in range(3)
        }
        counted = [
            await gate.metric("authgate_accessreview_requests_total", result=result)
            for result in ("allowed", "denied")
        ]
        durations = await gate.metric("authgate_accessreview_duration_seconds_count")
        entries = await gate.metric("authgate_cache_entries", cache="access")

    assert verdicts == {(200, ""), (403, "access_denied")}
    assert scenario.server.counts[ACCESS_REVIEWS_PATH] == 2
    assert (counted, durations, entries) == ([1, 1], 2, 2)


async def test_answers_are_not_cached_if_that_is_disabled(scenario: Scenario) -> None:
    """Each request is reviewed, so a change takes effect at once."""
    review = {**BY_REQUEST["accessReview"], "allowedTTL": "0s", "deniedTTL": "0s"}
    scenario.state.grant(DEMO, path="/metrics", verb="get")
    token = demo_token(scenario)
    async with running(document(scenario, {"accessReview": review})) as gate:
        assert (await asked(gate, token)).status == 200
        scenario.state.revoke(DEMO, path="/metrics", verb="get")
        assert (await asked(gate, token)).verdict == (403, "access_denied")
        scenario.state.grant(DEMO, path="/metrics", verb="get")
        assert (await asked(gate, token)).status == 200


@pytest.mark.parametrize("policy", [BY_REQUEST, BY_NAMESPACE], ids=["request", "resource"])
async def test_the_fast_lane_gives_the_same_answers(scenario: Scenario, policy: dict[str, Any]) -> None:
    """This covers allowed, denied, unknown and invalid tokens, repeatedly, with the same metrics."""
    scenario.state.grant(DEMO, path="/metrics", verb="get")
    scenario.state.grant(DEMO, **SERVICE)
    other = scenario.state.account_token(scenario.state.service_account("other"))
    seen = []
    for lane in (True, False):
        async with running(document(scenario, policy, fastLane=lane)) as gate:
            await gate.has_keys(within=30)
            answers = [
                await asked(gate, token, uri=uri)
                for _ in range(3)
                for token in (demo_token(scenario), other, "bad")
                for uri in ("/metrics", "/other", "//", None)
            ]
            headers = [
                [pair for pair in answer.headers if pair[0].lower() not in ("date", "x-request-id")]
                for answer in answers
            ]
            shown = list(zip([answer.status for answer in answers], headers, strict=True))
            lookups = [
                await gate.metric("authgate_cache_requests_total", cache=cache, result=result)
                for cache in ("verdict", "access")
                for result in ("hit", "miss")
            ]
            seen.append((shown, lookups))

    assert seen[0] == seen[1]


async def test_without_permission_the_answer_is_unavailable(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the missing binding. authgate recovers without a restart."""
    state = scenario.state
    state.grant(DEMO, path="/metrics", verb="get")
    state.forbid("system:serviceaccount:authgate:authgate", Permission.REVIEW_TOKENS)
    token = demo_token(scenario)
    async with running(document(scenario, BY_REQUEST)) as gate:
        with caplog.at_level(logging.INFO, AUDIT):
            answer = await asked(gate, token)
        counted = await gate.metric("authgate_accessreview_requests_total", result="forbidden")
        state.allow("system:serviceaccount:authgate:authgate", Permission.REVIEW_TOKENS)
        recovered = await asked(gate, token)

    assert answer.verdict == (503, "access_review_forbidden")
    assert answer.value("Retry-After")
    assert (counted, recovered.status) == (1, 200)
    assert "bind the ClusterRole system:auth-delegator" in audited(caplog)


FAILURES: dict[str, Fault] = {
    "overloaded": failing(429),
    "broken": failing(500),
    "not served": failing(404),
    "no answer": Hold(),
    "half an answer": CutOff(),
    "no end": Flood(),
    "a closed connection": Drop(),
    "another object": json_answer({"kind": "TokenReview", "status": {"allowed": True}}, 201),
    "a word for yes": json_answer({"kind": "SubjectAccessReview", "status": {"allowed": "true"}}, 201),
}


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
async def test_a_failing_api_server_is_not_a_denial(scenario: Scenario, fault: Fault) -> None:
    """The answer is 503 during the failure, and is not cached."""
    scenario.state.grant(DEMO, path="/metrics", verb="get")
    token = demo_token(scenario)
    configured = document(scenario, BY_REQUEST)
    configured["cluster"]["tokenReview"] = {"timeout": "1s" if isinstance(fault, Hold) else "30s"}
    async with running(configured) as gate:
        await gate.has_keys(within=30)
        scenario.server.faults.set(ACCESS_REVIEWS_PATH, fault)
        failed = await asked(gate, token)
        scenario.server.faults.clear(ACCESS_REVIEWS_PATH)
        recovered = await asked(gate, token)

    assert failed.verdict == (503, "access_review_unavailable")
    assert recovered.status == 200


async def test_the_reason_is_only_in_the_audit_log(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 403 without the reason."""
    async with running(document(scenario, BY_REQUEST)) as gate:
        with caplog.at_level(logging.INFO, AUDIT):
            answer = await asked(gate, demo_token(scenario))

    assert answer.verdict == (403, "access_denied")
    assert "no permission" not in json.dumps(answer.headers)
    assert audited(caplog) == f"policy 'default'; get /metrics: no permission of {DEMO} matches"


@pytest.mark.parametrize(
    ("method", "path", "reason", "words"),
    [
        ("GET", "/metrics", "authenticated", "policy 'default', allowed by SubjectAccessReview"),
        ("POST", "/metrics", "access_denied", "post /metrics: no permission of"),
        ("GET", "//metrics", "path_ambiguous", "the path is ambiguous"),
        ("GET", None, "request_unknown", "the proxy did not send"),
    ],
)
async def test_explain_shows_the_access_review(
    scenario: Scenario, tmp_path: Path, method: str, path: str | None, reason: str, words: str
) -> None:
    """The policy's step has the API server's message and the reviewed attributes."""
    scenario.state.grant(DEMO, path="/metrics", verb="get")
    config = load(written(tmp_path, document(scenario, BY_REQUEST)), {}).config
    told = await explained(config, demo_token(scenario), "default", OriginalRequest(method, path))

    assert told.reason.value == reason
    assert told.steps[-1].step is Step.POLICY
    assert words in told.steps[-1].detail
    facts = {fact.name: fact.values for fact in told.facts}
    asked_for = facts.get("access review of 'default'")
    assert asked_for == (None if reason == "authenticated" else ('{"nonResource":"request"}',))
