"""The gate: from a credential and a policy name to one decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authgate.errors import Reason
from authgate.gate import Gate
from authgate.model import (
    NO_EVIDENCE,
    Allow,
    Decision,
    Deny,
    Evidence,
    Identity,
    Moment,
    OriginalRequest,
    Rejected,
    Unavailable,
)
from authgate.policy.conditions import Entry, GroupIn, UserIn
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import OpenPaths, Policy
from authgate.verify.router import IssuerRouter, Verifier
from tests.support.clock import FakeClock
from tests.support.cluster_scene import Cluster
from tests.support.in_memory_cluster import reviewed
from tests.support.key_pool import KeyPool
from tests.support.tokens import service_account_claims
from tests.support.verifiers import (
    GOOD,
    RULES,
    Cached,
    Rendered,
    ScriptedVerifier,
    issuer_verifier,
    lookup_cached,
    static,
)

LIMIT = 4096
HEADERS = HeaderMapper("remote", 1000)
POLICIES = {
    policy.name: policy
    for policy in (
        Policy("default"),
        Policy("alice", allow=(Entry([UserIn(frozenset({"alice"}))]),)),
        Policy("not-dev", deny=(Entry([GroupIn(frozenset({"dev"}))]),)),
        Policy(
            "both",
            allow=(Entry([UserIn(frozenset({"user-1"}))]),),
            deny=(Entry([UserIn(frozenset({"user-1"}))]),),
        ),
        Policy("app-a", audiences=frozenset({"app-a"})),
        Policy("app-b", audiences=frozenset({"app-b"})),
        Policy("open", allow=(), open_paths=OpenPaths(["/public/*"])),
    )
}
PUBLIC = OriginalRequest("GET", "/public/x")
USER = Identity("user-1", groups=("dev",), audiences=("app-a",))


def gate_of(verifier: Verifier) -> Gate:
    """Return a gate with a verifier and every policy of this file."""
    return Gate(verifier, POLICIES, HEADERS, LIMIT)


async def decide(
    verifier: Verifier,
    policy: str = "default",
    *values: bytes,
    request: OriginalRequest = PUBLIC,
) -> Decision:
    """Return the decision on a request. The default request has a valid token."""
    return await gate_of(verifier).decide(values or (b"Bearer token",), policy, request)


@pytest.fixture
def verifier() -> ScriptedVerifier:
    """A verifier that returns `USER` for every token."""
    return ScriptedVerifier(replace(GOOD, identity=USER))


async def test_an_allowed_identity_is_allowed(verifier: ScriptedVerifier) -> None:
    """The decision has the identity headers for the app."""
    headers = HEADERS.map(USER)
    assert isinstance(headers, tuple)

    assert await decide(verifier) == Allow(USER, Reason.AUTHENTICATED, GOOD.evidence, headers)
    assert verifier.asked == ["token"]


@pytest.mark.parametrize("policy", ["default", "alice", "unsendable"])
async def test_a_cached_answer_and_its_decision_are_the_same(clock: FakeClock, policy: str) -> None:
    """A verdict stores one of them. The other is created when it is requested."""
    identity = replace(USER, username=" user-1") if policy == "unsendable" else USER
    cached = Cached(ScriptedVerifier(replace(GOOD, identity=identity)), clock)
    gate = Gate(cached.verifier, POLICIES, HEADERS, LIMIT, cache=cached.cache)
    name = policy if policy in POLICIES else "default"
    await gate.decide([b"Bearer token"], name, PUBLIC)
    whole = await gate.decide([b"Bearer token"], name, PUBLIC)
    for _ in range(2):
        answer = lookup_cached(gate, "token", name, PUBLIC)
        assert answer is not None
        assert (answer.decision, answer.reason) == (whole, whole.reason)
        assert lookup_cached(gate, "token", name, PUBLIC) is answer
        assert await gate.decide([b"Bearer token"], name, PUBLIC) == whole
    assert isinstance(whole, Allow) == (policy == "default")


async def test_without_a_cache_lookups_return_nothing() -> None:
    """Explanations and policy tests use no cache."""
    gate = gate_of(ScriptedVerifier())
    assert (
        gate.answer_known(b"", b"", gate.policies["default"], PUBLIC, Rendered, at=Moment(0.0, 0.0)) is None
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("alice", Reason.NOT_ALLOWED),
        ("not-dev", Reason.DENIED),
        ("both", Reason.DENIED),
        ("app-b", Reason.AUDIENCE_MISMATCH),
        ("open", Reason.NOT_ALLOWED),
    ],
)
async def test_a_valid_identity_that_is_not_allowed_is_denied(
    verifier: ScriptedVerifier, policy: str, reason: Reason
) -> None:
    """The decision names the policy and the user. `deny` has precedence over `allow`."""
    assert await decide(verifier, policy) == Deny(reason, f"policy '{policy}'", GOOD.evidence, USER)


@pytest.mark.parametrize(
    ("policy", "private"),
    [("alice", "the user is in too many groups, so the issuer left them out of the token"), ("app-b", "")],
)
async def test_omitted_groups_explain_a_missing_permission(policy: str, private: str) -> None:
    """In the private detail, for the audit log; a wrong audience has nothing to do with groups."""
    verifier = ScriptedVerifier(replace(GOOD, identity=replace(USER, omits_groups=True)))
    decision = await decide(verifier, policy)
    assert isinstance(decision, Deny)
    assert (decision.detail, decision.private) == (f"policy '{policy}'", private)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        pytest.param(replace(USER, username=" user-1"), Reason.IDENTITY_UNSENDABLE, id="unsendable"),
        pytest.param(replace(USER, groups=("g" * 1000,)), Reason.IDENTITY_TOO_LARGE, id="too large"),
    ],
)
async def test_an_identity_that_does_not_fit_into_headers_is_denied(
    verifier: ScriptedVerifier, identity: Identity, reason: Reason
) -> None:
    """It is neither shortened nor changed."""
    verifier.verdict = replace(GOOD, identity=identity)

    assert await decide(verifier) == Deny(reason, "policy 'default'", GOOD.evidence, identity)


async def test_an_invalid_token_is_denied_with_the_verifiers_reason(verifier: ScriptedVerifier) -> None:
    """The decision has the verdict's detail and evidence."""
    evidence = Evidence("jwks", "corp")
    verifier.verdict = Rejected(Reason.TOKEN_EXPIRED, "at noon", evidence)

    assert await decide(verifier) == Deny(Reason.TOKEN_EXPIRED, "at noon", evidence)


async def test_an_unavailable_verdict_is_an_unavailable_decision(verifier: ScriptedVerifier) -> None:
    """The decision has a time to retry after."""
    evidence = Evidence("tokenreview", "home")
    verifier.verdict = Unavailable(Reason.REVIEW_UNAVAILABLE, "down", 7, evidence)

    assert await decide(verifier) == Unavailable(Reason.REVIEW_UNAVAILABLE, "down", 7, evidence)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param([], Reason.NO_CREDENTIAL, id="none"),
        pytest.param([b""], Reason.CREDENTIAL_MALFORMED, id="empty"),
        pytest.param([b"Bearer a", b"Bearer b"], Reason.MULTIPLE_CREDENTIALS, id="two"),
        pytest.param([b"Basic eDp5"], Reason.SCHEME_NOT_BEARER, id="another scheme"),
        pytest.param([b"Bearer " + b"a" * (LIMIT + 1)], Reason.CREDENTIAL_TOO_LARGE, id="too large"),
    ],
)
async def test_a_malformed_credential_is_not_verified(
    verifier: ScriptedVerifier, values: list[bytes], reason: Reason
) -> None:
    """It is denied before any lookup."""
    decision = await gate_of(verifier).decide(values, "default", PUBLIC)

    assert isinstance(decision, Deny)
    assert (decision.reason, decision.evidence) == (reason, NO_EVIDENCE)
    assert verifier.asked == []


async def test_a_token_at_the_limit_is_verified(verifier: ScriptedVerifier) -> None:
    """The limit is the configured one."""
    assert isinstance(await decide(verifier, "default", b"Bearer " + b"a" * LIMIT), Allow)


@pytest.mark.parametrize("policy", ["other", "", "Default", "default/", "../default"])
async def test_an_unknown_policy_is_denied(verifier: ScriptedVerifier, policy: str) -> None:
    """The credential is not read."""
    assert await decide(verifier, policy) == Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)
    assert verifier.asked == []


async def test_an_open_path_needs_no_token(verifier: ScriptedVerifier) -> None:
    """The app gets every identity header with an empty value."""
    assert await gate_of(verifier).decide((), "open", PUBLIC) == Allow(
        None, Reason.ANONYMOUS, NO_EVIDENCE, HEADERS.anonymous()
    )


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(OriginalRequest("GET", "/secret"), id="another path"),
        pytest.param(OriginalRequest("GET", "/public/../secret"), id="a path that leads out"),
        pytest.param(OriginalRequest("GET", None), id="an unknown path"),
        pytest.param(OriginalRequest(), id="an unknown request"),
    ],
)
async def test_any_other_path_needs_a_token(verifier: ScriptedVerifier, request_: OriginalRequest) -> None:
    """This also holds if the proxy did not send the path."""
    assert await gate_of(verifier).decide((), "open", request_) == Deny(Reason.NO_CREDENTIAL, "", NO_EVIDENCE)


async def test_a_path_is_open_under_its_own_policy_only(verifier: ScriptedVerifier) -> None:
    """The anonymous paths of one policy are not open under another."""
    assert isinstance(await gate_of(verifier).decide((), "default", PUBLIC), Deny)


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [
        pytest.param(b"", None, Reason.CREDENTIAL_MALFORMED, id="empty header"),
        pytest.param(b"Basic eDp5", None, Reason.SCHEME_NOT_BEARER, id="another scheme"),
        pytest.param(b"Bearer x", Rejected(Reason.TOKEN_EXPIRED), Reason.TOKEN_EXPIRED, id="bad token"),
        pytest.param(b"Bearer x", None, Reason.NOT_ALLOWED, id="somebody who is not allowed"),
        pytest.param(
            b"Bearer x", Unavailable(Reason.KEYS_UNAVAILABLE), Reason.KEYS_UNAVAILABLE, id="unavailable"
        ),
    ],
)
async def test_a_credential_on_an_open_path_is_verified(
    verifier: ScriptedVerifier, value: bytes, verdict: Rejected | Unavailable | None, reason: Reason
) -> None:
    """As in kube-apiserver, a request with an invalid token is never anonymous."""
    if verdict is not None:
        verifier.verdict = verdict
    decision = await decide(verifier, "open", value)

    assert not isinstance(decision, Allow)
    assert decision.reason is reason


def test_only_policies_with_open_paths_read_the_request(verifier: ScriptedVerifier) -> None:
    """Other policies do not need the original request."""
    gate = gate_of(verifier)

    assert [name for name in (*POLICIES, "unknown") if gate.looks_at_request(name)] == ["open"]
    assert gate.policies == POLICIES


@pytest.mark.parametrize("way", ["keys", "tokenreview"])
async def test_a_token_for_one_app_is_denied_for_another(pool: KeyPool, clock: FakeClock, way: str) -> None:
    """This holds for local keys, TokenReview and cached verdicts."""
    key = pool.key("ES256", kid="key-1")
    cluster = Cluster(key, clock, "never" if way == "keys" else "always", audiences=("app-a", "app-b"))
    cluster.api.otherwise = reviewed("system:serviceaccount:prod:web", audiences=("app-a",))
    cached = Cached(IssuerRouter({}, [cluster.verifier]), clock)
    value = b"Bearer " + key.sign(service_account_claims(aud="app-a")).encode()
    decisions = [
        await decide(cached.verifier, policy, value) for policy in ("app-b", "app-a", "app-b", "app-a")
    ]

    assert [decision.reason for decision in decisions] == [
        Reason.AUDIENCE_MISMATCH,
        Reason.AUTHENTICATED,
        Reason.AUDIENCE_MISMATCH,
        Reason.AUTHENTICATED,
    ]
    assert [decision.evidence.source for decision in decisions] == [
        "jwks" if way == "keys" else "tokenreview",
        "cache",
        "cache",
        "cache",
    ]


async def test_a_token_for_two_apps_is_allowed_for_both(pool: KeyPool, clock: FakeClock) -> None:
    """This includes tokens of `jwt` issuers."""
    key = pool.key("ES256", kid="key-1")
    rules = replace(RULES, audiences=frozenset({"app-a", "app-b"}))
    router = IssuerRouter({"https://issuer.example": issuer_verifier(static(key), clock, rules=rules)})
    value = b"Bearer " + key.sign(service_account_claims(aud=["app-b", "app-a"])).encode()

    for policy in ("app-a", "app-b"):
        assert isinstance(await decide(router, policy, value), Allow)
