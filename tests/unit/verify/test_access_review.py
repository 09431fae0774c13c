"""Access reviews: cached answers and their lifetime, shared reviews, and errors."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from authgate.cluster.api import (
    AccessAnswer,
    AccessAttributes,
    ApiError,
    ApiErrorKind,
    NonResourceAttributes,
    ResourceAttributes,
)
from authgate.errors import Reason
from authgate.model import Identity, Pending, Unavailable
from authgate.verify.access_review import AccessReviewer, AccessReviewers
from tests.support.clock import FakeClock

METRICS = NonResourceAttributes("/metrics", "get")
ALICE = Identity("alice", "uid-1", ("dev",), (("k", ("v",)),))


class Authorizer:
    """An `AccessAPI` that allows what is in `allowed` and records its requests. While `held`, it does not answer."""

    def __init__(self) -> None:
        self.allowed: set[AccessAttributes] = set()
        self.error: ApiError | None = None
        self.asked: list[tuple[Identity, AccessAttributes]] = []
        self.released = asyncio.Event()
        self.released.set()

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """Return the scripted answer."""
        self.asked.append((identity, attributes))
        await self.released.wait()
        if self.error is not None:
            raise self.error
        return AccessAnswer(attributes in self.allowed, "because")


class Scene:
    """A reviewer with its authorizer and clock, and what it reported."""

    def __init__(self, *, qps: float = 1000.0, burst: int = 1000, max_entries: int = 10) -> None:
        self.api, self.clock = Authorizer(), FakeClock()
        self.results: list[str] = []
        self.lookups: list[str] = []
        self.states: list[str | None] = []
        self.evictions = 0
        self.reviewer = AccessReviewer(
            self.api,
            self.clock,
            qps=qps,
            burst=burst,
            max_entries=max_entries,
            on_review=lambda result, _: self.results.append(result),
            on_lookup=self.lookups.append,
            on_eviction=self.evict,
            on_state=self.states.append,
        )

    def evict(self) -> None:
        """Count the evictions."""
        self.evictions += 1

    async def ask(
        self, attributes: AccessAttributes = METRICS, identity: Identity = ALICE
    ) -> AccessAnswer | Unavailable:
        """Return the answer. Wait for it if it is not cached."""
        answer = self.reviewer.try_review(identity, attributes, allowed_ttl=300, denied_ttl=30)
        return await answer.finish() if isinstance(answer, Pending) else answer


async def test_the_cluster_is_asked_with_the_identity() -> None:
    """It returns the API server's answer."""
    scene = Scene()

    assert await scene.ask() == AccessAnswer(False, "because")
    assert scene.api.asked == [(ALICE, METRICS)]
    assert scene.results == ["denied"]


@pytest.mark.parametrize(("allowed", "ttl"), [(True, 300), (False, 30)], ids=["yes", "no"])
async def test_an_answer_is_cached_for_its_ttl(allowed: bool, ttl: float) -> None:
    """Allowed and denied answers have different lifetimes."""
    scene = Scene()
    scene.api.allowed = {METRICS} if allowed else set()
    for wait in (0, ttl - 1, 1):
        scene.clock.advance(wait)
        assert await scene.ask() == AccessAnswer(allowed, "because")

    assert len(scene.api.asked) == 2
    assert scene.lookups == ["miss", "hit", "miss"]


async def test_a_new_answer_replaces_the_old_one() -> None:
    """This also holds if an allowed answer becomes a denied one, and back."""
    scene = Scene()
    answers = []
    for allowed in (True, False, True):
        scene.api.allowed = {METRICS} if allowed else set()
        scene.clock.advance(300)
        answers += [await scene.ask(), await scene.ask()]

    assert [isinstance(answer, AccessAnswer) and answer.allowed for answer in answers] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert len(scene.reviewer) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(ALICE, username="bob"),
        replace(ALICE, uid="uid-2"),
        replace(ALICE, groups=()),
        replace(ALICE, groups=("dev", "ops")),
        replace(ALICE, extra=()),
        replace(ALICE, extra=(("k", ("v", "w")),)),
        replace(ALICE, username="alice', 'uid-1", uid=""),
    ],
    ids=["name", "uid", "no group", "more groups", "no extra", "more extra", "quotes"],
)
async def test_another_identity_gets_its_own_review(other: Identity) -> None:
    """A difference in any part of the identity is enough."""
    scene = Scene()
    await scene.ask()
    await scene.ask(identity=other)

    assert len(scene.api.asked) == 2


@pytest.mark.parametrize(
    "other",
    [
        NonResourceAttributes("/metrics", "post"),
        NonResourceAttributes("/metric", "get"),
        ResourceAttributes("get", "/metrics"),
    ],
    ids=["verb", "path", "kind"],
)
async def test_other_attributes_get_their_own_review(other: AccessAttributes) -> None:
    """A difference in any attribute is enough."""
    scene = Scene()
    scene.api.allowed = {METRICS}

    assert await scene.ask() == AccessAnswer(True, "because")
    assert await scene.ask(other) == AccessAnswer(False, "because")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (kind, Reason.ACCESS_REVIEW_FORBIDDEN)
        if kind in (ApiErrorKind.FORBIDDEN, ApiErrorKind.UNAUTHORIZED)
        else (kind, Reason.ACCESS_REVIEW_UNAVAILABLE)
        for kind in ApiErrorKind
    ],
)
async def test_an_error_is_not_cached(kind: ApiErrorKind, reason: Reason) -> None:
    """The error contains the time after which to retry."""
    scene = Scene()
    scene.api.error = ApiError(kind, "what it said", 7)
    for _ in range(2):
        assert await scene.ask() == Unavailable(reason, f"{kind.value}: what it said", 7)
    scene.api.error = None

    assert await scene.ask() == AccessAnswer(False, "because")
    assert scene.results == [kind.value, kind.value, "denied"]
    assert scene.states[-1] is None


async def test_an_error_does_not_remove_cached_answers() -> None:
    """An allowed answer is used for its whole lifetime, even if the API server fails."""
    scene = Scene()
    scene.api.allowed = {METRICS}
    await scene.ask()
    scene.api.error = ApiError(ApiErrorKind.TIMEOUT, "slow")
    scene.clock.advance(299)

    assert await scene.ask() == AccessAnswer(True, "because")


async def test_concurrent_equal_requests_share_one_review() -> None:
    """All callers get its answer."""
    scene = Scene()
    scene.api.released.clear()
    asking = [asyncio.create_task(scene.ask()) for _ in range(50)]
    await asyncio.sleep(0)
    scene.api.released.set()

    assert set(await asyncio.gather(*asking)) == {AccessAnswer(False, "because")}
    assert len(scene.api.asked) == 1


async def test_reviews_beyond_the_budget_are_not_sent() -> None:
    """Callers wait for at most a second."""
    scene = Scene(qps=0.5, burst=1)
    await scene.ask()
    answer = await scene.ask(NonResourceAttributes("/other", "get"))

    assert answer == Unavailable(Reason.ACCESS_REVIEW_THROTTLED)
    assert scene.results == ["denied", "throttled"]


async def test_denied_answers_do_not_evict_allowed_ones() -> None:
    """Each kind of answer has its own limited number of cache entries."""
    scene = Scene(max_entries=3)
    scene.api.allowed = {METRICS}
    await scene.ask()
    for number in range(5):
        await scene.ask(NonResourceAttributes(f"/{number}", "get"))

    assert (len(scene.reviewer), scene.evictions) == (4, 2)
    await scene.ask()
    await scene.ask(NonResourceAttributes("/4", "get"))
    assert len(scene.api.asked) == 6
    await scene.ask(NonResourceAttributes("/0", "get"))
    assert len(scene.api.asked) == 7


async def test_each_cluster_reviews_its_own_identities() -> None:
    """An identity of no cluster is reviewed by the first cluster, or by the one that a policy names."""
    one, two = Scene().reviewer, Scene().reviewer
    reviewers = AccessReviewers({"one": one, "two": two})

    assert reviewers.of(replace(ALICE, cluster="one")) is one
    assert reviewers.of(replace(ALICE, cluster="two")) is two
    assert reviewers.of(ALICE) is one
    assert reviewers.of(ALICE, "two") is two
    assert reviewers.of(replace(ALICE, cluster="one"), "two") is one
    await reviewers.close()


async def test_closing_cancels_reviews_in_progress() -> None:
    """No caller waits for an answer that will not come."""
    scene = Scene()
    scene.api.released.clear()
    asking = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    await scene.reviewer.close()

    with pytest.raises(asyncio.CancelledError):
        await asking
