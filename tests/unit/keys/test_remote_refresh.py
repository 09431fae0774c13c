"""Fetched keys in the background: when they are due, what a change takes with it, and what is reported."""

from __future__ import annotations

import asyncio

import pytest

from authgate.keys.key_set import KeysFound, KeysUnavailable
from authgate.keys.remote import FetchReport, RefreshRules, RemoteKeySet
from authgate.model import RevocationHandle
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource


@pytest.fixture
def source(pool: KeyPool) -> ScriptedSource:
    """An issuer that publishes keys "a" and "b"."""
    return ScriptedSource(pool.key("ES256", 0, kid="a"), pool.key("ES256", 1, kid="b"))


@pytest.fixture
def reports() -> list[FetchReport]:
    """What was reported of each fetch."""
    return []


@pytest.fixture
def keys(source: ScriptedSource, clock: FakeClock, reports: list[FetchReport]) -> RemoteKeySet:
    """A set that has not fetched yet, without jitter."""
    return RemoteKeySet(source, clock, RefreshRules(refresh=300, max_stale=3600), reports.append, lambda: 0.0)


def found(keys: RemoteKeySet, kid: str) -> KeysFound:
    """The key of this kid, which has to be in memory."""
    lookup = keys.find(kid, "ES256")
    assert isinstance(lookup, KeysFound), kid
    return lookup


def handle_of(keys: RemoteKeySet, kid: str) -> RevocationHandle:
    """The handle of verdicts made with this key."""
    return found(keys, kid).keys[0].handle


async def test_the_first_fetch_is_due_at_once(keys: RemoteKeySet, clock: FakeClock) -> None:
    """Keys are there before the first token is, if the issuer is."""
    assert keys.next_refresh() == 0
    clock.advance(10)
    assert keys.next_refresh() == 0


@pytest.mark.parametrize(
    ("jitter", "due"), [pytest.param(0.0, 300.0, id="latest"), pytest.param(1.0, 270.0, id="earliest")]
)
async def test_good_keys_are_fetched_again_before_they_are_old(
    source: ScriptedSource, clock: FakeClock, jitter: float, due: float
) -> None:
    """After `refresh` seconds less up to a tenth, never later."""
    keys = RemoteKeySet(source, clock, RefreshRules(refresh=300), jitter=lambda: jitter)
    await keys.refresh()

    assert keys.next_refresh() == pytest.approx(due)
    clock.advance(due)
    assert keys.next_refresh() == pytest.approx(0)


async def test_failures_are_retried_ever_more_slowly(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """Twice as long each time while the last good keys serve, up to the usual refresh."""
    await keys.refresh()
    source.error = "down"
    waits = []
    for _ in range(12):
        await keys.refresh()
        waits.append(keys.next_refresh())
        clock.advance(waits[-1])

    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300])


async def test_without_keys_a_fetch_is_retried_at_least_every_five_seconds(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """A gate that is not ready gets no requests, so nothing else would start a fetch when the issuer is back."""
    source.error = "down"
    waits = []
    for _ in range(12):
        await keys.refresh()
        waits.append(keys.next_refresh())
        clock.advance(waits[-1])

    assert waits == pytest.approx([1, 2, 4] + [5] * 9)


async def test_an_attempt_that_times_out_counts_towards_the_five_seconds(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """The next one follows a second after one that took all of its timeout, not ten seconds after it began."""
    source.error = "no complete response within 5 s"
    source.meanwhile = lambda: clock.advance(5)
    for _ in range(5):
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(1)


async def test_keys_that_become_too_old_are_fetched_as_often_as_missing_ones(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """The wait of up to `refresh` ends with `maxStale`, also where it began before."""
    await keys.refresh()
    source.error = "down"
    clock.advance(3595)
    for _ in range(12):
        await keys.refresh()
    assert keys.next_refresh() == pytest.approx(300)

    clock.advance(6)
    assert keys.next_refresh() == 0


async def test_retries_without_keys_are_jittered(source: ScriptedSource, clock: FakeClock) -> None:
    """Many gates that lost their issuer together do not come back together."""
    keys = RemoteKeySet(source, clock, RefreshRules(), jitter=lambda: 1.0)
    source.error = "down"
    for _ in range(6):
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("asked", "wait"), [pytest.param(20.0, 20.0, id="asked"), pytest.param(1e9, 60.0, id="at most a minute")]
)
async def test_an_issuer_that_asks_to_be_left_alone_is(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock, asked: float, wait: float
) -> None:
    """Nothing is fetched for as long as a 429 asks, neither in the background nor for a token."""
    source.error, source.retry_after = "answered 429", asked
    await keys.refresh()
    assert keys.next_refresh() == pytest.approx(wait)

    clock.advance(wait - 1)
    assert await keys.resolve("a", "ES256") == KeysUnavailable("answered 429", retry_after=5)
    assert source.fetches == 1
    clock.advance(1)
    await keys.resolve("a", "ES256")
    assert source.fetches == 2


async def test_a_very_long_outage_overflows_nothing(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """Five thousand failures later the wait is still the usual refresh."""
    await keys.refresh()
    source.error = "down"
    for _ in range(5000):
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(300)


async def test_a_recovery_forgets_the_failures(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """The next outage is retried as quickly as the first."""
    for error in ("down", "down", None, "down"):
        source.error = error
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(1)


async def test_a_key_that_disappears_takes_its_verdicts_with_it(
    keys: RemoteKeySet, source: ScriptedSource
) -> None:
    """Its handle is revoked; that of a remaining key is not."""
    await keys.refresh()
    removed, kept = handle_of(keys, "a"), handle_of(keys, "b")
    source.keys = source.keys[1:]
    await keys.refresh()

    assert removed.revoked
    assert not kept.revoked
    assert handle_of(keys, "b") is kept
    assert keys.find("a", "ES256") is None


async def test_other_material_under_the_same_kid_is_another_key(
    keys: RemoteKeySet, source: ScriptedSource, pool: KeyPool
) -> None:
    """What the old key signed is no longer good."""
    await keys.refresh()
    old = handle_of(keys, "a")
    source.keys = (pool.key("ES256", 7, kid="a"), source.keys[1])
    await keys.refresh()

    assert old.revoked
    assert not handle_of(keys, "a").revoked


@pytest.mark.parametrize(
    ("now_published", "ends"),
    [
        pytest.param(["a", "b"], False, id="the same"),
        pytest.param(["b", "a"], False, id="in another order"),
        pytest.param(["a", "b", "c"], True, id="one more"),
        pytest.param(["a"], True, id="one less"),
    ],
)
async def test_a_verdict_on_the_whole_set_ends_when_the_set_changes(
    keys: RemoteKeySet, source: ScriptedSource, pool: KeyPool, now_published: list[str], ends: bool
) -> None:
    """A signature that no key verified may verify with a new one."""
    await keys.refresh()
    handle = found(keys, "a").handle
    source.keys = tuple(pool.key("ES256", ord(kid) - ord("a"), kid=kid) for kid in now_published)
    await keys.refresh()

    assert handle.revoked is ends


async def test_a_failed_fetch_takes_nothing_with_it(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """The last good keys stay, with all that rests on them."""
    await keys.refresh()
    of_key, of_set = handle_of(keys, "a"), found(keys, "a").handle
    source.error = "down"
    await keys.refresh()

    assert (of_key.revoked, of_set.revoked) == (False, False)


async def test_each_fetch_is_reported(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock, reports: list[FetchReport]
) -> None:
    """With its error or its keys, and when."""
    begun = clock.now()
    await keys.refresh()
    clock.advance(300)
    source.error = "down"
    await keys.refresh()

    assert reports == [
        FetchReport(keys=2, at=begun),
        FetchReport(error="down", keys=2, at=begun + 300),
    ]


async def test_the_status_shows_age_and_failures(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """For /readyz: from the first attempt, through good times and an outage, to keys that are too old."""
    statuses = [keys.status()]
    source.error = "down"
    await keys.refresh()
    statuses.append(keys.status())
    source.error = None
    await keys.refresh()
    clock.advance(30)
    statuses.append(keys.status())
    source.error = "down again"
    await keys.refresh()
    await keys.refresh()
    statuses.append(keys.status())
    clock.advance(3600)
    statuses.append(keys.status())

    assert [(status.usable, status.detail) for status in statuses] == [
        (False, "not fetched yet"),
        (False, "down"),
        (True, "2 keys, fetched 30 s ago"),
        (True, "2 keys, fetched 30 s ago; 2 failed fetches since: down again"),
        (False, "2 keys, fetched 3630 s ago; 2 failed fetches since: down again"),
    ]


async def test_the_background_fetches_whenever_it_is_due(source: ScriptedSource, clock: FakeClock) -> None:
    """Until it is cancelled; here ten minutes pass after each of the first four, so that five follow one another."""
    five = asyncio.Event()

    def pass_time(_: FetchReport) -> None:
        if source.fetches < 5:
            clock.advance(600)
        else:
            five.set()

    keys = RemoteKeySet(source, clock, RefreshRules(refresh=300), pass_time)
    background = asyncio.create_task(keys.keep_fresh())
    async with asyncio.timeout(10):
        await five.wait()
    background.cancel()
    with pytest.raises(asyncio.CancelledError):
        await background

    assert source.fetches == 5


async def test_closing_cancels_the_fetch_in_progress(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """At the end of the service nothing is left running."""
    source.held = True
    waiting = asyncio.create_task(keys.refresh())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await keys.close()

    assert source.fetches == 1
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_background_waits_until_it_is_due(source: ScriptedSource, clock: FakeClock) -> None:
    """A fetch that is due in the future is not made now."""
    keys = RemoteKeySet(source, clock, RefreshRules(refresh=300))
    background = asyncio.create_task(keys.keep_fresh())
    for _ in range(20):
        await asyncio.sleep(0)
    background.cancel()
    with pytest.raises(asyncio.CancelledError):
        await background

    assert source.fetches == 1
