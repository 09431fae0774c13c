"""Asking TokenReview: within a budget, once at a time, and no error passes for a no."""

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
    """What a reviewer reported."""

    reviews: list[tuple[str, float]] = field(default_factory=list)
    states: list[str | None] = field(default_factory=list)

    def review(self, result: str, seconds: float) -> None:
        self.reviews.append((result, seconds))


@pytest.fixture
def api() -> InMemoryCluster:
    """An API server that knows one token."""
    return InMemoryCluster(answers={"good": reviewed()})


@pytest.fixture
def seen() -> Seen:
    """Nothing reported yet."""
    return Seen()


def reviewer_of(
    api: InMemoryCluster, clock: FakeClock, seen: Seen | None = None, *, qps: float = 50, burst: int = 100
) -> TokenReviewer:
    """A reviewer of cluster "home"."""
    seen = seen or Seen()
    return TokenReviewer(
        api, clock, name="home", qps=qps, burst=burst, on_review=seen.review, on_state=seen.states.append
    )


async def turns(number: int = 5) -> None:
    """Lets whatever is ready run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_an_answer_is_handed_on(api: InMemoryCluster, clock: FakeClock) -> None:
    """Yes and no alike, for the audiences asked for."""
    reviewer = reviewer_of(api, clock)

    assert await reviewer.review("good", AUDIENCES, "issuer") == reviewed()
    assert await reviewer.review("bad", AUDIENCES, "opaque") == REFUSED
    assert api.reviewed == [("good", AUDIENCES), ("bad", AUDIENCES)]


async def test_a_thousand_who_ask_of_one_token_are_one_review(api: InMemoryCluster, clock: FakeClock) -> None:
    """Also where one of them hangs up."""
    api.held = True
    reviewer = reviewer_of(api, clock, qps=1, burst=1)
    asking = [asyncio.create_task(reviewer.review("good", AUDIENCES, "issuer")) for _ in range(1000)]
    await turns()
    asking.pop().cancel()
    await turns()
    api.release()

    assert await asyncio.gather(*asking) == [reviewed()] * 999
    assert len(api.reviewed) == 1


async def test_other_tokens_and_other_audiences_are_other_reviews(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """An answer holds for what was asked and nothing else."""
    api.held = True
    reviewer = reviewer_of(api, clock)
    questions = [("good", AUDIENCES), ("bad", AUDIENCES), ("good", ("other",))]
    asking = [asyncio.create_task(reviewer.review(*question, "issuer")) for question in questions]
    await turns()
    api.release()
    await asyncio.gather(*asking)

    assert sorted(api.reviewed) == sorted(questions)


async def test_a_finished_review_is_not_reused(api: InMemoryCluster, clock: FakeClock) -> None:
    """Answers are shared, not kept: keeping is the cache's part."""
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
async def test_an_error_means_that_nobody_can_tell(
    api: InMemoryCluster, clock: FakeClock, seen: Seen, kind: ApiErrorKind, reason: Reason
) -> None:
    """With the server's words, counted by its kind."""
    api.otherwise = ApiError(kind, "what to do")
    api.meanwhile = lambda: clock.advance(0.25)
    reviewer = reviewer_of(api, clock, seen)

    assert await reviewer.review("bad", AUDIENCES, "issuer") == Unavailable(
        reason, f"{kind.value}: what to do", 1, EVIDENCE
    )
    assert seen.reviews == [(kind.value, 0.25)]
    assert seen.states == [f"{kind.value}: what to do"]


@pytest.mark.parametrize(("wish", "seconds"), [(0, 1), (1, 1), (30, 30)])
async def test_the_servers_own_wish_for_a_pause_is_handed_on(
    api: InMemoryCluster, clock: FakeClock, wish: int, seconds: int
) -> None:
    """At least a second."""
    api.otherwise = ApiError(ApiErrorKind.RATE_LIMITED, "slowly", wish)
    answer = await reviewer_of(api, clock).review("bad", AUDIENCES, "issuer")

    assert isinstance(answer, Unavailable)
    assert answer.retry_after == seconds


@pytest.mark.parametrize(("token", "result"), [("good", "authenticated"), ("bad", "refused")])
async def test_an_answer_is_counted_with_its_time(
    api: InMemoryCluster, clock: FakeClock, seen: Seen, token: str, result: str
) -> None:
    """How long the API server took, without any wait for a place."""
    api.meanwhile = lambda: clock.advance(0.5)
    await reviewer_of(api, clock, seen).review(token, AUDIENCES, "issuer")

    assert seen.reviews == [(result, 0.5)]
    assert seen.states == [None]


async def test_the_status_is_that_of_the_last_review(api: InMemoryCluster, clock: FakeClock) -> None:
    """From nothing known, to an error, and back by itself when the server recovers."""
    reviewer = reviewer_of(api, clock)
    told = [reviewer.status()]
    api.otherwise = ApiError(ApiErrorKind.FORBIDDEN, "not bound")
    await reviewer.probe(AUDIENCES)
    told.append(reviewer.status())
    api.otherwise = REFUSED
    await reviewer.probe(AUDIENCES)
    told.append(reviewer.status())

    assert told == [(False, "no review yet"), (False, "forbidden: not bound"), (True, "answers")]


async def test_a_probe_is_a_review_of_a_token_that_is_certainly_bad(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """Nobody's token is needed to find out."""
    await reviewer_of(api, clock).probe(AUDIENCES)

    assert api.reviewed == [("authgate-readiness-probe", AUDIENCES)]


async def test_more_than_the_budget_allows_is_not_asked(
    api: InMemoryCluster, clock: FakeClock, seen: Seen
) -> None:
    """The verdict is `Unavailable`; the API server's state does not change, and no duration is counted."""
    reviewer = reviewer_of(api, clock, seen, qps=0.5, burst=2)
    answers = [await reviewer.review(f"bad-{number}", AUDIENCES, "issuer") for number in range(4)]

    assert answers == [REFUSED] * 2 + [Unavailable(Reason.REVIEW_THROTTLED, "", 1, EVIDENCE)] * 2
    assert len(api.reviewed) == 2
    assert seen.reviews[2:] == [("throttled", 0.0)] * 2
    assert reviewer.status() == (True, "answers")


async def test_a_budget_fills_again(api: InMemoryCluster, clock: FakeClock) -> None:
    """After two seconds at one in two seconds."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=1)
    await reviewer.review("bad-1", AUDIENCES, "issuer")
    clock.advance(2)

    assert await reviewer.review("bad-2", AUDIENCES, "issuer") == REFUSED


async def test_a_flood_of_opaque_tokens_leaves_the_issuers_own_their_budget(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """Anybody can make up opaque tokens, so they have a budget of their own."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=3)
    flood = [await reviewer.review(f"bad-{number}", AUDIENCES, "opaque") for number in range(100)]

    assert sum(isinstance(answer, Unavailable) for answer in flood) == 97
    assert await reviewer.review("good", AUDIENCES, "issuer") == reviewed()


async def test_a_flood_of_new_tokens_leaves_known_good_ones_their_budget(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """A static token that was good a moment ago is confirmed, however many made-up ones come between."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=3)
    assert await reviewer.review("good", AUDIENCES, "opaque") == reviewed()
    for number in range(100):
        await reviewer.review(f"bad-{number}", AUDIENCES, "opaque")

    assert await reviewer.review("good", AUDIENCES, "opaque") == reviewed()


async def test_a_token_that_was_refused_is_no_longer_a_known_one(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """It has to wait in the queue of new tokens again."""
    reviewer = reviewer_of(api, clock, qps=0.5, burst=2)
    await reviewer.review("good", AUDIENCES, "opaque")
    del api.answers["good"]
    assert await reviewer.review("good", AUDIENCES, "opaque") == REFUSED
    await reviewer.review("bad", AUDIENCES, "opaque")

    assert isinstance(await reviewer.review("good", AUDIENCES, "opaque"), Unavailable)


async def test_known_tokens_stay_known_in_the_next_reviewer(api: InMemoryCluster, clock: FakeClock) -> None:
    """A reload must not send every token that is in use into the queue of new ones."""
    before, after = (reviewer_of(api, clock, qps=0.5, burst=1) for _ in range(2))
    await before.review("good", AUDIENCES, "opaque")
    after.inherit(before)
    await after.review("bad", AUDIENCES, "opaque")

    assert await after.review("good", AUDIENCES, "opaque") == reviewed()


async def test_one_namespace_cannot_use_up_the_reviews_of_another(
    api: InMemoryCluster, clock: FakeClock
) -> None:
    """Tokens that a tenant mints in any number leave places in the queue for its neighbours."""
    reviewer = reviewer_of(api, clock, qps=10_000, burst=1)
    minted = [reviewer.review(f"minted-{number}", AUDIENCES, "signed", "greedy") for number in range(12_000)]
    *answers, last = await asyncio.gather(*minted, reviewer.review("good", AUDIENCES, "signed", "modest"))

    assert any(isinstance(answer, Unavailable) for answer in answers)
    assert last == reviewed()


@pytest.mark.parametrize("reloaded", [False, True], ids=["same reviewer", "after a reload"])
async def test_invented_shapes_cannot_use_up_the_reviews_of_a_shape_that_was_good(
    api: InMemoryCluster, clock: FakeClock, reloaded: bool
) -> None:
    """Made-up tokens of more shapes than the queue has places leave places for a new token of a known shape."""
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


async def test_a_refused_token_makes_its_shape_no_known_one(api: InMemoryCluster, clock: FakeClock) -> None:
    """Only a token that is good does; refused ones of any number of shapes share the part of unknown ones."""
    reviewer = reviewer_of(api, clock, qps=10_000, burst=6_000)
    for number in range(6_000):
        await reviewer.review(f"first-{number}", AUDIENCES, "opaque", number)
    invented = [reviewer.review(f"bad-{number}", AUDIENCES, "opaque", number) for number in range(6_000)]
    answers = await asyncio.gather(*invented)

    assert sum(isinstance(answer, Unavailable) for answer in answers) >= 1_000


async def test_no_review_is_sent_while_the_api_server_wants_none(
    api: InMemoryCluster, clock: FakeClock, seen: Seen
) -> None:
    """`Retry-After` of a 429 holds for all tokens, and the answers say what is left of it."""
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


async def test_the_saturation_is_that_of_each_budget(api: InMemoryCluster, clock: FakeClock) -> None:
    """An operator sees which kind of tokens wants more reviews than there are."""
    reviewer = reviewer_of(api, clock, qps=1, burst=1)
    for number in range(120):
        await reviewer.review(f"bad-{number}", AUDIENCES, "opaque")
    saturation = reviewer.saturation()
    assert saturation["opaque"] == pytest.approx(2.0)
    assert saturation["signed"] == saturation["renewal"] == 0


async def test_a_short_wait_is_waited(api: InMemoryCluster, clock: FakeClock, seen: Seen) -> None:
    """Here a tenth of a millisecond: the review is late, not refused."""
    reviewer = reviewer_of(api, clock, seen, qps=10_000, burst=1)
    answers = [await reviewer.review(token, AUDIENCES, "issuer") for token in ("bad", "good")]

    assert answers == [REFUSED, reviewed()]


async def test_reports_are_optional(api: InMemoryCluster, clock: FakeClock) -> None:
    """A reviewer works without anybody who counts."""
    reviewer = TokenReviewer(api, clock, name="home", qps=1, burst=1)

    assert await reviewer.review("good", AUDIENCES, "issuer") == reviewed()


async def test_closing_cancels_reviews_in_progress(api: InMemoryCluster, clock: FakeClock) -> None:
    """Nothing hangs at the end of the service."""
    api.held = True
    reviewer = reviewer_of(api, clock)
    asking = asyncio.create_task(reviewer.review("good", AUDIENCES, "issuer"))
    await turns()
    await reviewer.close()

    assert [type(end) for end in await asyncio.gather(asking, return_exceptions=True)] == [
        asyncio.CancelledError
    ]
