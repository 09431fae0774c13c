"""The rate of reviews, the fair share of a short queue, and the keys that distinguish callers."""

from __future__ import annotations

import pytest

from authgate.verify.budget import RecentTokens, TokenBucket, shape_of


def places(bucket: TokenBucket, now: float, number: int, key: str = "") -> list[float | None]:
    """Return the waits of this number of callers that have one key and arrive at the same time."""
    return [bucket.reserve(now, key) for _ in range(number)]


def test_a_burst_starts_at_once_and_later_callers_wait() -> None:
    """At 8 a second with bursts of 3: three at once, then one every eighth of a second, up to half of the queue."""
    assert places(TokenBucket(8, 3, 0.5), 1000, 7) == [0, 0, 0, 0.125, 0.25, None, None]


def test_a_key_that_floods_leaves_places_for_others() -> None:
    """Of 8 places the first key gets four. The next key, which came after the flood, still gets two."""
    bucket = TokenBucket(8, 1, 1.0)
    assert places(bucket, 1000, 100, "flood")[1:6] == [0.125, 0.25, 0.375, 0.5, None]
    assert places(bucket, 1000, 100, "quiet")[:3] == [0.625, 0.75, None]
    assert bucket.reserve(1000, "third") == 0.875


def test_a_continuous_flood_does_not_exclude_other_keys() -> None:
    """One key sends 1,000 requests a second, another one request a second. The second always gets a place."""
    bucket = TokenBucket(50, 100, 1.0)
    quiet = []
    for second in range(60):
        for tenth in range(10):
            places(bucket, 1000 + second + tenth / 10, 100, "flood")
        quiet.append(bucket.reserve(1000.95 + second, "quiet"))
    assert None not in quiet


def test_a_flood_of_invented_keys_does_not_exclude_a_known_key() -> None:
    """240 keys send 1,000 requests a second, a known key one request a second. The known key always gets a place."""
    bucket = TokenBucket(50, 100, 1.0)
    quiet = []
    for second in range(60):
        for number in range(1000):
            bucket.reserve(1000 + second + number / 1000, number % 240, invented=True)
        quiet.append(bucket.reserve(1001 + second, "known"))
    assert None not in quiet


def test_invented_keys_share_half_of_the_queue() -> None:
    """Of 32 places they get 16: the first key 8, the next one 5, and a later key still gets one."""
    bucket = TokenBucket(32, 1, 1.0)
    bucket.reserve(1000)
    held = []
    for key in ("flood", "second", "third", "fourth"):
        waits = [bucket.reserve(1000, key, invented=True) for _ in range(100)]
        held.append(100 - waits.count(None))
    assert held == [8, 5, 3, 0]
    assert places(bucket, 1000, 100, "known").count(None) == 100 - 32 // 3


def test_a_rejected_caller_uses_no_place() -> None:
    """A flood does not delay the next free place."""
    bucket = TokenBucket(8, 1, 0.0)
    assert places(bucket, 1000, 1000) == [0] + [None] * 999

    assert bucket.reserve(1000.125) == 0


@pytest.mark.parametrize(
    ("pause", "at_once"),
    [
        pytest.param(0.0, 0, id="none"),
        pytest.param(0.125, 1, id="an eighth"),
        pytest.param(0.3, 2, id="more than a quarter"),
        pytest.param(10.0, 3, id="long"),
    ],
)
def test_the_bucket_fills_with_time_up_to_a_burst(pause: float, at_once: int) -> None:
    """It fills with 8 a second and never holds more than 3."""
    bucket = TokenBucket(8, 3, 0.0)
    places(bucket, 1000, 3)

    assert places(bucket, 1000 + pause, 10).count(0) == at_once


@pytest.mark.parametrize("now", [0.0, 0.125, 1e9], ids=["a clock that begins", "just begun", "old"])
def test_the_first_burst_does_not_depend_on_the_clock(now: float) -> None:
    """A monotonic clock may start at any value."""
    assert places(TokenBucket(8, 3, 0.0), now, 5) == [0, 0, 0, None, None]


def test_the_rate_can_be_one_a_minute() -> None:
    """Rates below one per second work."""
    bucket = TokenBucket(1 / 60, 1, 1.0)
    assert places(bucket, 1000, 2) == [0, None]
    assert bucket.reserve(1060) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("per_second", "saturation"), [(5, 0.1), (50, 1.0), (100, 2.0)])
def test_the_saturation_is_the_recent_demand_divided_by_the_rate(per_second: int, saturation: float) -> None:
    """Rejected callers count, too. A value over 1 means that more reviews were requested than can be sent."""
    bucket = TokenBucket(50, 100, 1.0)
    for number in range(600 * per_second):
        bucket.reserve(1000 + number / per_second)
    assert bucket.saturation(1600) == pytest.approx(saturation, rel=0.02)
    assert bucket.saturation(1600 + 600) < 0.001


def test_a_new_bucket_is_not_saturated() -> None:
    """Before the first caller the demand is 0."""
    assert TokenBucket(50, 100, 1.0).saturation(0.0) == 0


def test_recent_tokens_are_limited_in_number_and_age() -> None:
    """The token that was accepted longest ago is removed first. A token that is accepted again is the newest."""
    recent = RecentTokens(2, 60)
    recent.add(b"a", 0)
    recent.add(b"b", 1)
    recent.add(b"a", 2)
    recent.add(b"c", 3)
    assert [recent.has(one, 4) for one in (b"a", b"b", b"c")] == [True, False, True]
    assert not recent.has(b"a", 62)
    recent.discard(b"c")
    assert not recent.has(b"c", 4)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        pytest.param("s3cr3t-token-0001", "s3cr3t-token-0002", True, id="two of one list"),
        pytest.param("abcdefabcdef", "0123456789ab", False, id="letters against hexadecimal digits"),
        pytest.param("AAAA", "aaaa", False, id="upper and lower case"),
        pytest.param("x" * 20, "x" * 2000, False, id="short and long"),
        pytest.param("a.b", "abc", False, id="with and without a dot"),
    ],
)
def test_the_shape_distinguishes_kinds_of_tokens(one: str, other: str, alike: bool) -> None:
    """Tokens of one issuer have the same shape. Most invented tokens have different shapes."""
    assert (shape_of(one) == shape_of(other)) is alike
