"""Fetching keys in the background: when it is due, what a change revokes, and what is reported."""

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
    """The reports of each fetch."""
    return []


@pytest.fixture
def keys(source: ScriptedSource, clock: FakeClock, reports: list[FetchReport]) -> RemoteKeySet:
    """A set that has not fetched yet, without jitter."""
    return RemoteKeySet(source, clock, RefreshRules(refresh=300, max_stale=3600), reports.append, lambda: 0.0)


def found(keys: RemoteKeySet, kid: str) -> KeysFound:
    """Return the key of this kid, which must be in memory."""
    lookup = keys.find(kid, "ES256")
    assert isinstance(lookup, KeysFound), kid
    return lookup


def handle_of(keys: RemoteKeySet, kid: str) -> RevocationHandle:
    """Return the handle of verdicts made with this key."""
    return found(keys, kid).keys[0].handle


async def test_the_first_fetch_is_due_at_once(keys: RemoteKeySet, clock: FakeClock) -> None:
    """Keys are available before the first token if the issuer is reachable."""
    assert keys.next_refresh() == 0
    clock.advance(10)
    assert keys.next_refresh() == 0


@pytest.mark.parametrize(
    ("jitter", "due"), [pytest.param(0.0, 300.0, id="latest"), pytest.param(1.0, 270.0, id="earliest")]
)
async def test_keys_are_fetched_again_before_they_are_old(
    source: ScriptedSource, clock: FakeClock, jitter: float, due: float
) -> None:
    """The fetch is due after `refresh` seconds, or up to a tenth earlier."""
    keys = RemoteKeySet(source, clock, RefreshRules(refresh=300), jitter=lambda: jitter)
    await keys.refresh()

    assert keys.next_refresh() == pytest.approx(due)
    clock.advance(due)
    assert keys.next_refresh() == pytest.approx(0)


async def test_the_wait_after_failures_grows(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """It doubles each time while the last valid keys are used, up to the usual refresh."""
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


async def test_the_five_seconds_include_the_time_of_an_attempt(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """After an attempt with its complete timeout, the next one starts a second later."""
    source.error = "no complete response within 5 s"
    source.meanwhile = lambda: clock.advance(5)
    for _ in range(5):
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(1)


async def test_keys_that_become_too_old_are_fetched_as_often_as_missing_ones(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """A wait of up to `refresh` ends at `maxStale`, even if it started before."""
    await keys.refresh()
    source.error = "down"
    clock.advance(3595)
    for _ in range(12):
        await keys.refresh()
    assert keys.next_refresh() == pytest.approx(300)

    clock.advance(6)
    assert keys.next_refresh() == 0


async def test_retries_without_keys_are_jittered(source: ScriptedSource, clock: FakeClock) -> None:
    """Many gates that lost their issuer at the same time do not retry at the same time."""
    keys = RemoteKeySet(source, clock, RefreshRules(), jitter=lambda: 1.0)
    source.error = "down"
    for _ in range(6):
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("asked", "wait"), [pytest.param(20.0, 20.0, id="asked"), pytest.param(1e9, 60.0, id="at most a minute")]
)
async def test_the_retry_after_of_a_429_is_respected(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock, asked: float, wait: float
) -> None:
    """There is no fetch until it is over, neither in the background nor for a token."""
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
    """After five thousand failures the wait is still the usual refresh."""
    await keys.refresh()
    source.error = "down"
    for _ in range(5000):
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(300)


async def test_a_success_resets_the_wait_after_failures(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """The next outage is retried as quickly as the first."""
    for error in ("down", "down", None, "down"):
        source.error = error
        await keys.refresh()

    assert keys.next_refresh() == pytest.approx(1)


async def test_removing_a_key_revokes_its_verdicts(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """Its handle is revoked. The handle of a remaining key is not."""
    await keys.refresh()
    removed, kept = handle_of(keys, "a"), handle_of(keys, "b")
    source.keys = source.keys[1:]
    await keys.refresh()

    assert removed.revoked
    assert not kept.revoked
    assert handle_of(keys, "b") is kept
    assert keys.find("a", "ES256") is None


async def test_new_key_material_with_the_same_kid_is_another_key(
    keys: RemoteKeySet, source: ScriptedSource, pool: KeyPool
) -> None:
    """Signatures of the old key are no longer valid."""
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
async def test_changing_the_set_revokes_verdicts_on_the_whole_set(
    keys: RemoteKeySet, source: ScriptedSource, pool: KeyPool, now_published: list[str], ends: bool
) -> None:
    """A signature that no key verified may be valid with a new key."""
    await keys.refresh()
    handle = found(keys, "a").handle
    source.keys = tuple(pool.key("ES256", ord(kid) - ord("a"), kid=kid) for kid in now_published)
    await keys.refresh()

    assert handle.revoked is ends


async def test_a_failed_fetch_revokes_nothing(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """The last valid keys and their verdicts are kept."""
    await keys.refresh()
    of_key, of_set = handle_of(keys, "a"), found(keys, "a").handle
    source.error = "down"
    await keys.refresh()

    assert (of_key.revoked, of_set.revoked) == (False, False)


async def test_each_fetch_is_reported(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock, reports: list[FetchReport]
) -> None:
    """The report has its error or its keys, and its time."""
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
    """/readyz shows it: from the first attempt, through successes and an outage, to keys that are too old."""
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
    """It runs until it is cancelled. Ten minutes pass after each of the first four fetches, so there are five."""
    five = asyncio.Event()

    def pass_time(_: FetchReport) -> None:
        if source.fetches < 5:
            clock.advance(600)
        else:
            five.set()

    keys = RemoteKeySet(source, clock, RefreshRules(refresh=300), pass_time)
    background = asyncio.create_task(keys.keep_fresh())
    async with asyncio.timeout(60):
        await five.wait()
    background.cancel()
    with pytest.raises(asyncio.CancelledError):
        await background

    assert source.fetches == 5


async def test_closing_cancels_the_fetch_in_progress(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """No task remains after the shutdown."""
    source.held = True
    waiting = asyncio.create_task(keys.refresh())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await keys.close()

    assert source.fetches == 1
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_background_waits_until_it_is_due(source: ScriptedSource, clock: FakeClock) -> None:
    """A fetch that is due later does not start now."""
    keys = RemoteKeySet(source, clock, RefreshRules(refresh=300))
    background = asyncio.create_task(keys.keep_fresh())
    for _ in range(20):
        await asyncio.sleep(0)
    background.cancel()
    with pytest.raises(asyncio.CancelledError):
        await background

    assert source.fetches == 1
