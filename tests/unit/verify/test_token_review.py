"""TokenReview: its budget, shared reviews, and errors that are not rejections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.errors import Reason
from authgate.model import Evidence, Unavailable
from authgate.verify.token_review import TokenReviewer
from tests.support.clock import FakeClock
from tests.support.in_memory_cluster import REFUSED, InMemoryCluster, reviewed

AUDIENCES = ("my-audience",)
EVIDENCE = Evidence("tokenreview", "home")


@dataclass
class Seen:
    """The reports of a reviewer."""

    reviews: list[tuple[str, float]] = field(default_factory=list)
    states: list[str | None] = field(default_factory=list)

    def review(self, result: str, seconds: float) -> None:
        self.reviews.append((result, seconds))


@pytest.fixture
def api() -> InMemoryCluster:
    """An API server that accepts one token."""
    return InMemoryCluster(answers={"good": reviewed()})


@pytest.fixture
def seen() -> Seen:
    """A recorder without reports."""
    return Seen()


def reviewer_of(
    api: InMemoryCluster, clock: FakeClock, seen: Seen | None = None, *, qps: float = 50, burst: int = 100
) -> TokenReviewer:
    """Return a reviewer of the cluster `home`."""
    seen = seen or Seen()
    return TokenReviewer(
        api, clock, name="home", qps=qps, burst=burst, on_review=seen.review, on_state=seen.states.append
    )


async def turns(number: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_the_reviewer_returns_the_servers_answer(api: InMemoryCluster, clock: FakeClock) -> None:
    """This covers accepted and rejected tokens, for the requested audiences."""
    reviewer = reviewer_of(api, clock)

    assert await reviewer.review("good", AUDIENCES, "issuer") == reviewed()
    assert await reviewer.review("bad", AUDIENCES, "opaque") == REFUSED
    assert api.reviewed == [("good", AUDIENCES), ("bad", AUDIENCES)]


async def test_a_thousand_requests_with_one_token_share_one_review(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """This holds even if one of the callers is cancelled."""
    api.held = True
    reviewer = reviewer_of(api, clock, qps=1, burst=1)
    asking = [asyncio.create_task(reviewer.review("good", AUDIENCES, "issuer")) for _ in range(1000)]
    await turns()
    asking.pop().cancel()
    await turns()
    api.release()

    assert await asyncio.gather(*asking) == [reviewed()] * 999
    assert len(api.reviewed) == 1


async def test_other_tokens_and_other_audiences_get_their_own_reviews(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """An answer is used only for its own token and audiences."""
    api.held = True
    reviewer = reviewer_of(api, clock)
    questions = [("good", AUDIENCES), ("bad", AUDIENCES), ("good", ("other",))]
    asking = [asyncio.create_task(reviewer.review(*question, "issuer")) for question in questions]
    await turns()
    api.release()
    await asyncio.gather(*asking)

    assert sorted(api.reviewed) == sorted(questions)


async def test_a_finished_review_is_not_reused(api: InMemoryCluster, clock: FakeClock) -> None:
    """Concurrent callers share an answer. Only the cache keeps answers."""
    reviewer = reviewer_of(api, clock)
    for _ in range(3):
        await reviewer.review("good", AUDIENCES, "issuer")

    assert len(api.reviewed) == 3


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ApiErrorKind.UNAUTHORIZED, Reason.REVIEW_FORBIDDEN),
        (ApiErrorKind.FORBIDDEN, Reason.REVIEW_FORBIDDEN),
        (ApiErrorKind.RATE_LIMITED, Reason.REVIEW_UNAVAILABLE),
        (ApiErrorKind.SERVER_ERROR, Reason.REVIEW_UNAVAILABLE),
        (ApiErrorKind.TIMEOUT, Reason.REVIEW_UNAVAILABLE),
        (ApiErrorKind.UNREACHABLE, Reason.REVIEW_UNAVAILABLE),
        (ApiErrorKind.BAD_ANSWER, Reason.REVIEW_UNAVAILABLE),
    ],
)
async def test_an_error_makes_the_verdict_unavailable(
    api: InMemoryCluster, clock: FakeClock, seen: Seen, kind: ApiErrorKind, reason: Reason
) -> None:
    """It contains the server's message, and is counted by its kind."""
    api.otherwise = ApiError(kind, "what to do")
    api.meanwhile = lambda: clock.advance(0.25)
    reviewer = reviewer_of(api, clock, seen)

    assert await reviewer.review("bad", AUDIENCES, "issuer") == Unavailable(
        reason, f"{kind.value}: what to do", 1, EVIDENCE
    )
    assert seen.reviews == [(kind.value, 0.25)]
    assert seen.states == [f"{kind.value}: what to do"]


@pytest.mark.parametrize(("wish", "seconds"), [(0, 1), (1, 1), (30, 30)])
async def test_the_servers_retry_after_is_part_of_the_verdict(
    api: InMemoryCluster, clock: FakeClock, wish: int, seconds: int
) -> None:
    """It is at least a second."""
    api.otherwise = ApiError(ApiErrorKind.RATE_LIMITED, "slowly", wish)
    answer = await reviewer_of(api, clock).review("bad", AUDIENCES, "issuer")

    assert isinstance(answer, Unavailable)
    assert answer.retry_after == seconds


@pytest.mark.parametrize(("token", "result"), [("good", "authenticated"), ("bad", "refused")])
async def test_an_answer_is_counted_with_its_time(
    api: InMemoryCluster, clock: FakeClock, seen: Seen, token: str, result: str
) -> None:
    """The duration is that of the API server's answer, without the wait in the queue."""
    api.meanwhile = lambda: clock.advance(0.5)
    await reviewer_of(api, clock, seen).review(token, AUDIENCES, "issuer")

    assert seen.reviews == [(result, 0.5)]
    assert seen.states == [None]


async def test_the_status_shows_the_last_review(api: InMemoryCluster, clock: FakeClock) -> None:
    """It is unknown at first, then an error, and good again when the server recovers."""
    reviewer = reviewer_of(api, clock)
    told = [reviewer.status()]
    api.otherwise = ApiError(ApiErrorKind.FORBIDDEN, "not bound")
    await reviewer.probe(AUDIENCES)
    told.append(reviewer.status())
    api.otherwise = REFUSED
    await reviewer.probe(AUDIENCES)
    told.append(reviewer.status())

    assert told == [(False, "no review yet"), (False, "forbidden: not bound"), (True, "answers")]


async def test_a_probe_reviews_a_token_that_is_always_invalid(api: InMemoryCluster, clock: FakeClock) -> None:
    """It needs no client's token."""
    await reviewer_of(api, clock).probe(AUDIENCES)

    assert api.reviewed == [("authgate-readiness-probe", AUDIENCES)]


async def test_reviews_beyond_the_budget_are_not_sent(
    api: InMemoryCluster, clock: FakeClock, seen: Seen
) -> None:
    """The verdict is `Unavailable`. The API server's status does not change, and no duration is counted."""
    reviewer = reviewer_of(api, clock, seen, qps=0.5, burst=2)
    answers = [await reviewer.review(f"bad-{number}", AUDIENCES, "issuer") for number in range(4)]

    assert answers == [REFUSED] * 2 + [Unavailable(Reason.REVIEW_THROTTLED, "", 1, EVIDENCE)] * 2
    assert len(api.reviewed) == 2
    assert seen.reviews[2:] == [("throttled", 0.0)] * 2
    assert reviewer.status() == (True, "answers")


async def test_a_budget_is_refilled(api: InMemoryCluster, clock: FakeClock) -> None:
    """At one review in two seconds, the next one is possible after two seconds."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=1)
    await reviewer.review("bad-1", AUDIENCES, "issuer")
    clock.advance(2)

    assert await reviewer.review("bad-2", AUDIENCES, "issuer") == REFUSED


async def test_a_flood_of_opaque_tokens_does_not_use_the_budget_of_issued_ones(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """Any client can invent opaque tokens, so they have their own budget."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=3)
    flood = [await reviewer.review(f"bad-{number}", AUDIENCES, "opaque") for number in range(100)]

    assert sum(isinstance(answer, Unavailable) for answer in flood) == 97
    assert await reviewer.review("good", AUDIENCES, "issuer") == reviewed()


async def test_a_flood_of_new_tokens_does_not_use_the_budget_of_known_valid_ones(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """A static token that was accepted a moment ago is reviewed again, however many invented ones arrive."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=3)
    assert await reviewer.review("good", AUDIENCES, "opaque") == reviewed()
    for number in range(100):
        await reviewer.review(f"bad-{number}", AUDIENCES, "opaque")

    assert await reviewer.review("good", AUDIENCES, "opaque") == reviewed()


async def test_a_rejected_token_is_no_longer_a_known_one(api: InMemoryCluster, clock: FakeClock) -> None:
    """It waits in the queue of new tokens again."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=2)
    await reviewer.review("good", AUDIENCES, "opaque")
    del api.answers["good"]
    assert await reviewer.review("good", AUDIENCES, "opaque") == REFUSED
    await reviewer.review("bad", AUDIENCES, "opaque")

    assert isinstance(await reviewer.review("good", AUDIENCES, "opaque"), Unavailable)


async def test_known_tokens_stay_known_in_the_next_reviewer(api: InMemoryCluster, clock: FakeClock) -> None:
    """After a reload, tokens in use do not enter the queue of new ones."""
    before, after = (reviewer_of(api, clock, qps=0.5, burst=1) for _ in range(2))
    await before.review("good", AUDIENCES, "opaque")
    after.inherit(before)
    await after.review("bad", AUDIENCES, "opaque")

    assert await after.review("good", AUDIENCES, "opaque") == reviewed()


async def test_one_namespace_cannot_use_the_reviews_of_another(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """A tenant that creates many tokens leaves places in the queue for other tenants."""
    reviewer = reviewer_of(api, clock, qps=10_000, burst=1)
    minted = [reviewer.review(f"minted-{number}", AUDIENCES, "signed", "greedy") for number in range(12_000)]
    *answers, last = await asyncio.gather(*minted, reviewer.review("good", AUDIENCES, "signed", "modest"))

    assert any(isinstance(answer, Unavailable) for answer in answers)
    assert last == reviewed()


@pytest.mark.parametrize("reloaded", [False, True], ids=["same reviewer", "after a reload"])
async def test_invented_shapes_cannot_use_the_reviews_of_a_known_shape(
    api: InMemoryCluster, clock: FakeClock, reloaded: bool
) -> None:
    """Invented tokens of more shapes than the queue has places leave places for a new token of a known shape."""
    api.answers["new"] = reviewed()
    reviewer = reviewer_of(api, clock, qps=10_000, burst=1)
    await reviewer.review("good", AUDIENCES, "opaque", "known shape")
    if reloaded:
        before, reviewer = reviewer, reviewer_of(api, clock, qps=10_000, burst=1)
        reviewer.inherit(before)
    invented = [reviewer.review(f"bad-{number}", AUDIENCES, "opaque", number) for number in range(12_000)]
    *answers, last = await asyncio.gather(
        *invented, reviewer.review("new", AUDIENCES, "opaque", "known shape")
    )

    assert any(isinstance(answer, Unavailable) for answer in answers)
    assert last == reviewed()


async def test_a_rejected_token_does_not_make_its_shape_known(api: InMemoryCluster, clock: FakeClock) -> None:
    """Only an accepted token does. All unknown shapes together share one part of the queue."""
    reviewer = reviewer_of(api, clock, qps=10_000, burst=6_000)
    for number in range(6_000):
        await reviewer.review(f"first-{number}", AUDIENCES, "opaque", number)
    invented = [reviewer.review(f"bad-{number}", AUDIENCES, "opaque", number) for number in range(6_000)]
    answers = await asyncio.gather(*invented)

    assert sum(isinstance(answer, Unavailable) for answer in answers) >= 1_000


async def test_no_review_is_sent_before_the_servers_retry_after(
    api: InMemoryCluster, clock: FakeClock, seen: Seen
) -> None:
    """`Retry-After` of a 429 applies to all tokens. The verdicts contain the remaining time."""
    reviewer = reviewer_of(api, clock, seen)
    api.otherwise = ApiError(ApiErrorKind.RATE_LIMITED, "slowly", 7)
    await reviewer.review("bad", AUDIENCES, "issuer")
    clock.advance(4)
    answer = await reviewer.review("good", AUDIENCES, "signed")
    assert answer == Unavailable(Reason.REVIEW_UNAVAILABLE, "rate_limited: slowly", 3, EVIDENCE)
    assert seen.reviews[-1] == ("throttled", 0.0)
    assert len(api.reviewed) == 1
    clock.advance(3)
    assert await reviewer.review("good", AUDIENCES, "signed") == reviewed()


async def test_each_budget_has_its_own_saturation(api: InMemoryCluster, clock: FakeClock) -> None:
    """It shows which kind of tokens needs more reviews than its budget allows."""
    reviewer = reviewer_of(api, clock, qps=1, burst=1)
    for number in range(120):
        await reviewer.review(f"bad-{number}", AUDIENCES, "opaque")
    saturation = reviewer.saturation()
    assert saturation["opaque"] == pytest.approx(2.0)
    assert saturation["signed"] == saturation["renewal"] == 0


async def test_a_short_wait_delays_the_review(api: InMemoryCluster, clock: FakeClock, seen: Seen) -> None:
    """The wait is a tenth of a millisecond. The review is sent late instead of being rejected."""
    reviewer = reviewer_of(api, clock, seen, qps=10_000, burst=1)
    answers = [await reviewer.review(token, AUDIENCES, "issuer") for token in ("bad", "good")]

    assert answers == [REFUSED, reviewed()]


async def test_reports_are_optional(api: InMemoryCluster, clock: FakeClock) -> None:
    """A reviewer works without a recorder."""
    reviewer = TokenReviewer(api, clock, name="home", qps=1, burst=1)

    assert await reviewer.review("good", AUDIENCES, "issuer") == reviewed()


async def test_closing_cancels_reviews_in_progress(api: InMemoryCluster, clock: FakeClock) -> None:
    """No caller hangs when authgate stops."""
    api.held = True
    reviewer = reviewer_of(api, clock)
    asking = asyncio.create_task(reviewer.review("good", AUDIENCES, "issuer"))
    await turns()
    await reviewer.close()

    assert [type(end) for end in await asyncio.gather(asking, return_exceptions=True)] == [
        asyncio.CancelledError
    ]
