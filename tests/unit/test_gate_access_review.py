"""A policy with an access review: the review comes last, and its answer is cached separately from the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from authgate.cluster.api import AccessAnswer, AccessAttributes, ApiError, ApiErrorKind, ResourceAttributes
from authgate.errors import Reason
from authgate.gate import Gate
from authgate.model import (
    Allow,
    Decision,
    Deny,
    Identity,
    OriginalRequest,
    Pending,
    Rejected,
    Unavailable,
)
from authgate.policy.access_review import AccessRule, RequestAttributes, ResourceTemplates
from authgate.policy.conditions import Entry, UserIn
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import OpenPaths, Policy
from authgate.verify.access_review import AccessReviewer, AccessReviewers
from tests.support.clock import FakeClock
from tests.support.verifiers import GOOD, Cached, ScriptedVerifier, lookup_cached

USER = Identity("user-1", groups=("dev",), audiences=("app-a",), cluster="home")
BY_REQUEST = AccessRule(RequestAttributes())
BY_NAMESPACE = AccessRule(
    ResourceTemplates(ResourceAttributes("get", "services", namespace="{{ .Namespace }}"))
)
OTHERS = (Entry([UserIn(frozenset({"user-2"}))]),)
POLICIES = {
    policy.name: policy
    for policy in (
        Policy("plain"),
        Policy("request", access=BY_REQUEST, open_paths=OpenPaths(["/open"])),
        Policy("services", access=AccessRule(ResourceTemplates(ResourceAttributes("get", "services")))),
        Policy("namespace", access=BY_NAMESPACE),
        Policy("listed", allow=OTHERS, access=BY_REQUEST),
        Policy("denied", deny=(Entry([UserIn(frozenset({"user-1"}))]),), access=BY_REQUEST),
        Policy("other-audience", audiences=frozenset({"app-b"}), access=BY_REQUEST),
    )
}
METRICS = OriginalRequest("GET", "/metrics")


@dataclass
class Authorizer:
    """An `AccessAPI` with the same answer to every review."""

    answer: AccessAnswer | ApiError = field(default_factory=lambda: AccessAnswer(True))
    asked: list[tuple[Identity, AccessAttributes]] = field(default_factory=list)

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """Return the scripted answer."""
        self.asked.append((identity, attributes))
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer


class Scene:
    """A gate whose verifier returns `USER` for every token."""

    def __init__(self) -> None:
        self.api = Authorizer()
        clock = FakeClock()
        self.scripted = ScriptedVerifier(replace(GOOD, identity=USER))
        cached = Cached(self.scripted, clock)
        reviewer = AccessReviewer(self.api, clock, qps=100, burst=100)
        self.gate = Gate(
            cached.verifier,
            POLICIES,
            HeaderMapper("remote", 1000),
            4096,
            AccessReviewers({"home": reviewer}),
            cache=cached.cache,
        )

    async def decide(self, policy: str, request: OriginalRequest = METRICS, *values: bytes) -> Decision:
        """Return the decision on a request. The default request has a valid token."""
        return await self.gate.decide(values or (b"Bearer token",), policy, request)


async def test_a_request_that_the_cluster_allows_is_allowed() -> None:
    """The headers are the same as without a review."""
    scene = Scene()
    decision = await scene.decide("request")

    assert isinstance(decision, Allow)
    assert decision == replace(await scene.decide("plain"), evidence=decision.evidence)
    assert [(who.username, str(what)) for who, what in scene.api.asked] == [
        ("user-1", "NonResourceAttributes(path='/metrics', verb='get')")
    ]


async def test_a_request_that_the_cluster_denies_is_denied() -> None:
    """The API server's reason is only in the audit log."""
    scene = Scene()
    scene.api.answer = AccessAnswer(False, "no rule")

    assert await scene.decide("request") == Deny(
        Reason.ACCESS_DENIED, "policy 'request'", GOOD.evidence, USER, "get /metrics: no rule"
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ApiErrorKind.TIMEOUT, Reason.ACCESS_REVIEW_UNAVAILABLE),
        (ApiErrorKind.FORBIDDEN, Reason.ACCESS_REVIEW_FORBIDDEN),
    ],
)
async def test_a_failed_review_is_unavailable(kind: ApiErrorKind, reason: Reason) -> None:
    """It is neither allowed nor denied. The next request sends a review again."""
    scene = Scene()
    scene.api.answer = ApiError(kind, "it said", 7)
    for _ in range(2):
        decision = await scene.decide("request")
        assert isinstance(decision, Unavailable)
        assert (decision.reason, decision.detail, decision.retry_after) == (
            reason,
            f"{kind.value}: it said",
            7,
        )

    assert len(scene.api.asked) == 2


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("listed", Reason.NOT_ALLOWED),
        ("denied", Reason.DENIED),
        ("other-audience", Reason.AUDIENCE_MISMATCH),
    ],
)
async def test_an_identity_that_a_list_denies_is_not_reviewed(policy: str, reason: Reason) -> None:
    """The denial needs no review, neither the first time nor from the cache."""
    scene = Scene()
    decisions = [await scene.decide(policy) for _ in range(2)]

    assert [decision.reason for decision in decisions] == [reason, reason]
    assert scene.api.asked == []


async def test_an_invalid_token_is_not_reviewed() -> None:
    """It gives no identity to review."""
    scene = Scene()
    scene.scripted.verdict = Rejected(Reason.TOKEN_EXPIRED)

    assert (await scene.decide("request")).reason is Reason.TOKEN_EXPIRED
    assert scene.api.asked == []


async def test_headers_are_checked_before_the_review() -> None:
    """If they are too long, the request is denied without a review."""
    scene = Scene()
    scene.scripted.verdict = replace(GOOD, identity=replace(USER, username=" user-1"))

    assert (await scene.decide("request")).reason is Reason.IDENTITY_UNSENDABLE
    assert scene.api.asked == []


async def test_an_anonymous_request_is_not_reviewed() -> None:
    """It has no identity."""
    scene = Scene()
    decision = await scene.gate.decide((), "request", OriginalRequest("GET", "/open"))

    assert decision.reason is Reason.ANONYMOUS
    assert scene.api.asked == []


@pytest.mark.parametrize(
    ("policy", "request_", "reason", "detail"),
    [
        ("request", OriginalRequest(), Reason.REQUEST_UNKNOWN, "policy 'request'"),
        ("request", OriginalRequest("GET", "/a/../b"), Reason.PATH_AMBIGUOUS, "policy 'request'"),
        ("namespace", METRICS, Reason.ACCESS_DENIED, "policy 'namespace': the identity has no Namespace"),
    ],
)
async def test_an_incomplete_request_is_denied(
    policy: str, request_: OriginalRequest, reason: Reason, detail: str
) -> None:
    """authgate does not guess the missing attributes."""
    scene = Scene()

    assert await scene.decide(policy, request_) == Deny(reason, detail, GOOD.evidence, USER)
    assert scene.api.asked == []


async def test_an_allowed_request_does_not_allow_another() -> None:
    """The verdict is cached for each token. The answer of a review is cached for each request."""
    scene = Scene()
    first = await scene.decide("request")
    scene.api.answer = AccessAnswer(False)
    second = await scene.decide("request", OriginalRequest("POST", "/metrics"))
    again = await scene.decide("request")

    assert [decision.reason for decision in (first, second, again)] == [
        Reason.AUTHENTICATED,
        Reason.ACCESS_DENIED,
        Reason.AUTHENTICATED,
    ]
    assert len(scene.api.asked) == 2
    assert len(scene.scripted.asked) == 1


async def test_an_allowed_policy_does_not_allow_another() -> None:
    """A request that a policy without review allows can be denied by one with a review."""
    scene = Scene()
    scene.api.answer = AccessAnswer(False)
    decisions = [await scene.decide(name) for name in ("plain", "services", "plain", "services")]

    assert [isinstance(decision, Allow) for decision in decisions] == [True, False, True, False]


async def test_a_cached_verdict_and_answer_need_no_waiting() -> None:
    """Both are in memory."""
    scene = Scene()
    await scene.decide("services")
    decision = scene.gate.try_decide([b"Bearer token"], "services", OriginalRequest())

    assert not isinstance(decision, Pending)
    assert isinstance(decision, Allow)


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "plain"])
async def test_the_fast_lane_caches_no_decision_with_a_review(policy: str) -> None:
    """This holds for allowed and denied requests."""
    scene = Scene()
    for name in ("plain", policy):
        await scene.decide(name)

    assert lookup_cached(scene.gate, "token", "plain") is not None
    assert lookup_cached(scene.gate, "token", policy) is None
    assert scene.gate.reviews_access(policy)


def test_only_some_policies_read_the_request() -> None:
    """These are policies with reviews of the request or with open paths."""
    gate = Scene().gate

    assert [name for name in POLICIES if gate.looks_at_request(name)] == [
        "request",
        "listed",
        "denied",
        "other-audience",
    ]
    assert not gate.reviews_access("plain")
    assert not gate.reviews_access("unknown")


def test_a_policy_with_a_review_needs_a_cluster() -> None:
    """Otherwise the gate cannot be created."""
    with pytest.raises(ValueError, match="no cluster is configured"):
        Gate(ScriptedVerifier(GOOD), POLICIES, HeaderMapper("remote", 1000), 4096)
