"""A policy with an access review: asked last, and its answer is never mistaken for that of lists and tokens."""

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
    """An `AccessAPI` with one answer for all."""

    answer: AccessAnswer | ApiError = field(default_factory=lambda: AccessAnswer(True))
    asked: list[tuple[Identity, AccessAttributes]] = field(default_factory=list)

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """That answer."""
        self.asked.append((identity, attributes))
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer


class Scene:
    """A gate whose verifier takes every token for that of `USER`."""

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
        """The decision on a request with a good token, unless other values are given."""
        return await self.gate.decide(values or (b"Bearer token",), policy, request)


async def test_whom_the_cluster_allows_may_pass() -> None:
    """With the same headers as without a review."""
    scene = Scene()
    decision = await scene.decide("request")

    assert isinstance(decision, Allow)
    assert decision == replace(await scene.decide("plain"), evidence=decision.evidence)
    assert [(who.username, str(what)) for who, what in scene.api.asked] == [
        ("user-1", "NonResourceAttributes(path='/metrics', verb='get')")
    ]


async def test_whom_it_does_not_allow_may_not() -> None:
    """The API server's words are for the audit log, not for the client."""
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
async def test_where_it_does_not_say_nobody_can_tell(kind: ApiErrorKind, reason: Reason) -> None:
    """Neither a yes nor a no, and asked again next time."""
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
async def test_whom_a_list_refuses_is_not_asked_about(policy: str, reason: Reason) -> None:
    """A refusal costs the cluster nothing, the first time and from the cache."""
    scene = Scene()
    decisions = [await scene.decide(policy) for _ in range(2)]

    assert [decision.reason for decision in decisions] == [reason, reason]
    assert scene.api.asked == []


async def test_a_bad_token_is_not_asked_about() -> None:
    """There is nobody to ask about."""
    scene = Scene()
    scene.scripted.verdict = Rejected(Reason.TOKEN_EXPIRED)

    assert (await scene.decide("request")).reason is Reason.TOKEN_EXPIRED
    assert scene.api.asked == []


async def test_headers_that_cannot_be_sent_are_noticed_first() -> None:
    """That refusal needs no cluster either."""
    scene = Scene()
    scene.scripted.verdict = replace(GOOD, identity=replace(USER, username=" user-1"))

    assert (await scene.decide("request")).reason is Reason.IDENTITY_UNSENDABLE
    assert scene.api.asked == []


async def test_an_open_path_is_not_asked_about() -> None:
    """Nobody shows a token there, so nobody is known."""
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
async def test_what_cannot_be_asked_is_refused(
    policy: str, request_: OriginalRequest, reason: Reason, detail: str
) -> None:
    """Without a guess."""
    scene = Scene()

    assert await scene.decide(policy, request_) == Deny(reason, detail, GOOD.evidence, USER)
    assert scene.api.asked == []


async def test_one_request_opens_no_other() -> None:
    """The verdict is cached, the review's answer is each request's own."""
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


async def test_one_policy_opens_no_other() -> None:
    """A yes under a policy without review is none under one that has it."""
    scene = Scene()
    scene.api.answer = AccessAnswer(False)
    decisions = [await scene.decide(name) for name in ("plain", "services", "plain", "services")]

    assert [isinstance(decision, Allow) for decision in decisions] == [True, False, True, False]


async def test_what_is_remembered_needs_no_waiting() -> None:
    """Both verdict and answer come from memory."""
    scene = Scene()
    await scene.decide("services")
    decision = scene.gate.try_decide([b"Bearer token"], "services", OriginalRequest())

    assert not isinstance(decision, Pending)
    assert isinstance(decision, Allow)


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "plain"])
async def test_no_answer_to_a_token_is_recalled(policy: str) -> None:
    """Neither a yes nor a no: the fast lane knows nothing of reviews."""
    scene = Scene()
    for name in ("plain", policy):
        await scene.decide(name)

    assert lookup_cached(scene.gate, "token", "plain") is not None
    assert lookup_cached(scene.gate, "token", policy) is None
    assert scene.gate.reviews_access(policy)


def test_who_looks_at_the_request() -> None:
    """Those alone need it that ask about it, or have open paths."""
    gate = Scene().gate

    assert [name for name in POLICIES if gate.looks_at_request(name)] == [
        "request",
        "listed",
        "denied",
        "other-audience",
    ]
    assert not gate.reviews_access("plain")
    assert not gate.reviews_access("unknown")


def test_a_review_needs_somebody_to_ask() -> None:
    """A gate that could only fail is not made."""
    with pytest.raises(ValueError, match="no cluster is configured"):
        Gate(ScriptedVerifier(GOOD), POLICIES, HeaderMapper("remote", 1000), 4096)
