"""Fetched keys that do not verify a signature: they are fetched again, and not more often than once a minute."""

from __future__ import annotations

import asyncio

import pytest

from authgate.keys.key_set import KeysFound, KeysUnavailable, Lookup
from authgate.keys.remote import RefreshRules, RemoteKeySet
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource


@pytest.fixture
def source(pool: KeyPool) -> ScriptedSource:
    """An issuer that publishes key "a"."""
    return ScriptedSource(pool.key("ES256", 0, kid="a"))


@pytest.fixture
async def keys(source: ScriptedSource, clock: FakeClock) -> RemoteKeySet:
    """A set that has just fetched key "a"."""
    keys = RemoteKeySet(source, clock, RefreshRules(cooldown=5), jitter=lambda: 0.0)
    await keys.refresh()
    return keys


async def recheck(keys: RemoteKeySet) -> Lookup:
    """Return the set's answer for "a" after its key did not verify a signature."""
    return await keys.recheck("a", "ES256")


def replace_key(source: ScriptedSource, pool: KeyPool) -> None:
    """Publish another key with the same kid."""
    source.keys = (pool.key("ES256", 5, kid="a"),)


async def test_a_replaced_key_is_found_at_once(
    keys: RemoteKeySet, source: ScriptedSource, pool: KeyPool
) -> None:
    """This also holds within the cooldown after a successful fetch."""
    old = keys.find("a", "ES256")
    replace_key(source, pool)
    found = await recheck(keys)

    assert isinstance(found, KeysFound)
    assert isinstance(old, KeysFound)
    assert old.handle.revoked
    assert found.keys != old.keys


async def test_rechecks_fetch_at_most_once_a_minute(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """A thousand forged tokens within two minutes cause two fetches."""
    began = clock.monotonic()
    for _ in range(1000):
        await recheck(keys)
        clock.advance(0.119)

    assert source.fetches == 1 + 2
    assert keys.recheck_at() == pytest.approx(began + 120, abs=0.2)


async def test_all_waiting_requests_share_one_recheck(keys: RemoteKeySet, source: ScriptedSource) -> None:
    """Requests that arrive during the fetch wait for it, too."""
    source.held = True
    first = asyncio.create_task(recheck(keys))
    await asyncio.sleep(0)
    others = [asyncio.create_task(recheck(keys)) for _ in range(50)]
    await asyncio.sleep(0)
    source.release()
    await asyncio.gather(first, *others)

    assert source.fetches == 2


async def test_a_failed_recheck_rejects_no_token(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """While the issuer is down it is unknown whether it has replaced the key. Rechecks are not more frequent then."""
    source.error = "down"
    for _ in range(10):
        assert await recheck(keys) == KeysUnavailable("down", retry_after=5)
        assert keys.recheck_at() == clock.monotonic()
        clock.advance(5)

    assert source.fetches == 2


async def test_a_recheck_respects_the_retry_after_of_a_429(
    keys: RemoteKeySet, source: ScriptedSource, clock: FakeClock
) -> None:
    """An issuer that requests a pause of a minute gets no request."""
    source.error, source.retry_after = "answered 429", 60
    await keys.refresh()
    clock.advance(59)
    await recheck(keys)

    assert source.fetches == 2


async def test_a_reload_does_not_reset_the_minute(source: ScriptedSource, clock: FakeClock) -> None:
    """Forged tokens with reloads cause no more fetches than forged tokens alone."""
    before, after = (RemoteKeySet(source, clock, RefreshRules(), place="here") for _ in range(2))
    await before.refresh()
    await recheck(before)
    after.inherit(before)
    await recheck(after)

    assert source.fetches == 2
