"""From a credential and a policy's name to one decision."""

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
    """A gate over a verifier, with every policy of this file."""
    return Gate(verifier, POLICIES, HEADERS, LIMIT)


async def decide(
    verifier: Verifier,
    policy: str = "default",
    *values: bytes,
    request: OriginalRequest = PUBLIC,
) -> Decision:
    """The decision on a request, with a good token unless other values are given."""
    return await gate_of(verifier).decide(values or (b"Bearer token",), policy, request)


@pytest.fixture
def verifier() -> ScriptedVerifier:
    """It takes every token for that of `USER`."""
    return ScriptedVerifier(replace(GOOD, identity=USER))


async def test_who_is_known_and_allowed_may_pass(verifier: ScriptedVerifier) -> None:
    """With the headers that name them to the app."""
    headers = HEADERS.map(USER)
    assert isinstance(headers, tuple)

    assert await decide(verifier) == Allow(USER, Reason.AUTHENTICATED, GOOD.evidence, headers)
    assert verifier.asked == ["token"]


@pytest.mark.parametrize("policy", ["default", "alice", "unsendable"])
async def test_a_rendered_answer_and_its_decision_are_the_same(clock: FakeClock, policy: str) -> None:
    """A verdict keeps one of both; whichever is asked for first, the other one is made again."""
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


async def test_without_a_cache_nothing_is_found_in_one() -> None:
    """Explanations and policy tests decide without it."""
    assert gate_of(ScriptedVerifier()).lookup_cached(b"", "default", PUBLIC, Rendered) is None


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
async def test_who_is_known_but_not_allowed_is_denied_by_name(
    verifier: ScriptedVerifier, policy: str, reason: Reason
) -> None:
    """The decision says by which policy, and who it was; deny wins over allow."""
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
async def test_an_identity_that_headers_cannot_carry_does_not_pass(
    verifier: ScriptedVerifier, identity: Identity, reason: Reason
) -> None:
    """Never cut short, never changed."""
    verifier.verdict = replace(GOOD, identity=identity)

    assert await decide(verifier) == Deny(reason, "policy 'default'", GOOD.evidence, identity)


async def test_a_bad_token_is_denied_with_the_verifiers_reason(verifier: ScriptedVerifier) -> None:
    """The decision has the verdict's detail and evidence."""
    evidence = Evidence("jwks", "corp")
    verifier.verdict = Rejected(Reason.TOKEN_EXPIRED, "at noon", evidence)

    assert await decide(verifier) == Deny(Reason.TOKEN_EXPIRED, "at noon", evidence)


async def test_what_cannot_be_told_is_not_denied(verifier: ScriptedVerifier) -> None:
    """With the time after which to ask again."""
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
async def test_a_bad_credential_is_shown_to_no_verifier(
    verifier: ScriptedVerifier, values: list[bytes], reason: Reason
) -> None:
    """Denied before anything is looked up."""
    decision = await gate_of(verifier).decide(values, "default", PUBLIC)

    assert isinstance(decision, Deny)
    assert (decision.reason, decision.evidence) == (reason, NO_EVIDENCE)
    assert verifier.asked == []


async def test_a_token_at_the_limit_is_verified(verifier: ScriptedVerifier) -> None:
    """The limit is the configured one."""
    assert isinstance(await decide(verifier, "default", b"Bearer " + b"a" * LIMIT), Allow)


@pytest.mark.parametrize("policy", ["other", "", "Default", "default/", "../default"])
async def test_an_unknown_policy_is_no_endpoint(verifier: ScriptedVerifier, policy: str) -> None:
    """Whatever the credential, it is not even looked at."""
    assert await decide(verifier, policy) == Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)
    assert verifier.asked == []


async def test_an_open_path_needs_no_token(verifier: ScriptedVerifier) -> None:
    """The app gets every identity header, empty."""
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
async def test_any_other_path_needs_one(verifier: ScriptedVerifier, request_: OriginalRequest) -> None:
    """Also where the proxy did not say which it is."""
    assert await gate_of(verifier).decide((), "open", request_) == Deny(Reason.NO_CREDENTIAL, "", NO_EVIDENCE)


async def test_a_path_is_open_under_its_own_policy_only(verifier: ScriptedVerifier) -> None:
    """Policies do not lend one another anything."""
    assert isinstance(await gate_of(verifier).decide((), "default", PUBLIC), Deny)


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [
        pytest.param(b"", None, Reason.CREDENTIAL_MALFORMED, id="empty header"),
        pytest.param(b"Basic eDp5", None, Reason.SCHEME_NOT_BEARER, id="another scheme"),
        pytest.param(b"Bearer x", Rejected(Reason.TOKEN_EXPIRED), Reason.TOKEN_EXPIRED, id="bad token"),
        pytest.param(b"Bearer x", None, Reason.NOT_ALLOWED, id="somebody who is not allowed"),
        pytest.param(
            b"Bearer x", Unavailable(Reason.KEYS_UNAVAILABLE), Reason.KEYS_UNAVAILABLE, id="nobody can tell"
        ),
    ],
)
async def test_who_shows_a_credential_on_an_open_path_is_judged_by_it(
    verifier: ScriptedVerifier, value: bytes, verdict: Rejected | Unavailable | None, reason: Reason
) -> None:
    """As the kube-apiserver does: a bad token never becomes anonymous."""
    if verdict is not None:
        verifier.verdict = verdict
    decision = await decide(verifier, "open", value)

    assert not isinstance(decision, Allow)
    assert decision.reason is reason


def test_only_policies_with_open_paths_look_at_the_request(verifier: ScriptedVerifier) -> None:
    """The others need not know it."""
    gate = gate_of(verifier)

    assert [name for name in (*POLICIES, "unknown") if gate.looks_at_request(name)] == ["open"]
    assert gate.policies == POLICIES


@pytest.mark.parametrize("way", ["keys", "tokenreview"])
async def test_a_token_for_one_app_does_not_open_another(pool: KeyPool, clock: FakeClock, way: str) -> None:
    """Behind one gate: by local keys, by TokenReview, and from the cache alike."""
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


async def test_a_token_for_two_apps_opens_both(pool: KeyPool, clock: FakeClock) -> None:
    """Of a `jwt` issuer, too."""
    key = pool.key("ES256", kid="key-1")
    rules = replace(RULES, audiences=frozenset({"app-a", "app-b"}))
    router = IssuerRouter({"https://issuer.example": issuer_verifier(static(key), clock, rules=rules)})
    value = b"Bearer " + key.sign(service_account_claims(aud=["app-b", "app-a"])).encode()

    for policy in ("app-a", "app-b"):
        assert isinstance(await decide(router, policy, value), Allow)
