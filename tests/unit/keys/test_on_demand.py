"""Keys that are fetched one by one: how long they are kept, and how often unknown key ids start fetches."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from authgate.keys.key_set import (
    KeyMismatch,
    KeyPending,
    KeySetDetails,
    KeysFound,
    KeysUnavailable,
    KeyUnknown,
)
from authgate.keys.on_demand import OnDemandKeySet
from authgate.keys.remote import KeyFetchError, RefreshRules

if TYPE_CHECKING:
    from tests.support.clock import FakeClock
    from tests.support.key_pool import KeyPool

BASE = "https://public-keys.example"
KID = "01234567-89ab-cdef-0123-456789abcdef"


class Site:
    """A `Fetcher` of keys by URL; any other URL is 404, or fails while `down`."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.down = False
        self.status = 500
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        """Return the key at a URL."""
        self.asked.append(url)
        if self.down:
            raise KeyFetchError(f"{url}: answered {self.status}", status=self.status)
        if url not in self.keys:
            raise KeyFetchError(f"{url}: answered 404", status=404)
        return self.keys[url]


@pytest.fixture
def site(pool: KeyPool) -> Site:
    """A site with one key."""
    site = Site()
    site.keys[f"{BASE}/{KID}"] = pool.key("ES256").public_pem()
    return site


@pytest.fixture
def keys(site: Site, clock: FakeClock) -> OnDemandKeySet:
    """The keys of the site."""
    return OnDemandKeySet(BASE, site, clock, RefreshRules())


async def test_a_key_is_fetched_once_and_kept(keys: OnDemandKeySet, site: Site) -> None:
    """It is found only for its own algorithm."""
    assert keys.find(KID, "ES256") is None
    assert isinstance(await keys.resolve(KID, "ES256"), KeysFound)
    assert isinstance(keys.find(KID, "ES256"), KeysFound)
    assert isinstance(keys.find(KID, "RS256"), KeyMismatch)
    assert len(site.asked) == 1
    assert keys.kids == {KID}


@pytest.mark.parametrize("kid", [None, "", "../x", KID + "/x", KID.upper(), f"{KID}\n", "kid-1"])
async def test_other_key_ids_start_no_fetch(keys: OnDemandKeySet, site: Site, kid: str | None) -> None:
    """Only ids in the expected form are used, because the id becomes a part of a URL."""
    assert isinstance(await keys.resolve(kid, "ES256"), KeyUnknown)
    assert site.asked == []


async def test_unknown_key_ids_start_few_fetches(keys: OnDemandKeySet, site: Site, clock: FakeClock) -> None:
    """Four start in a cooldown, and more after it. Known keys are still found."""
    await keys.resolve(KID, "ES256")
    clock.advance(10)
    lookups = [await keys.resolve(str(uuid.uuid4()), "ES256") for _ in range(20)]
    assert sum(isinstance(lookup, KeyUnknown) for lookup in lookups) == 4
    assert sum(isinstance(lookup, KeyPending) for lookup in lookups) == 16
    assert len(site.asked) == 5
    assert isinstance(keys.find(KID, "ES256"), KeysFound)
    clock.advance(5)
    assert isinstance(await keys.resolve(str(uuid.uuid4()), "ES256"), KeyUnknown)


async def test_an_old_key_is_fetched_again(keys: OnDemandKeySet, site: Site, clock: FakeClock) -> None:
    """An unchanged key keeps its verdicts. While fetches fail, it is used up to maxStale."""
    first = await keys.resolve(KID, "ES256")
    assert isinstance(first, KeysFound)
    clock.advance(301)
    assert keys.find(KID, "ES256") is None
    assert await keys.resolve(KID, "ES256") == first
    site.down = True
    clock.advance(86_000)
    assert await keys.resolve(KID, "ES256") == first
    assert "500" in keys.status().detail
    clock.advance(500)
    assert isinstance(await keys.resolve(KID, "ES256"), KeysUnavailable)
    assert not first.handle.revoked


async def test_an_outage_costs_one_fetch_in_the_cooldown(
    keys: OnDemandKeySet, site: Site, clock: FakeClock
) -> None:
    """Of a key in memory: other requests neither wait for a fetch that may time out, nor start one."""
    first = await keys.resolve(KID, "ES256")
    site.down = True
    clock.advance(301)
    for fetches in (2, 3):
        assert keys.find(KID, "ES256") is None
        assert await keys.resolve(KID, "ES256") == first
        assert [keys.find(KID, "ES256") for _ in range(3)] == [first] * 3
        assert len(site.asked) == fetches
        clock.advance(10)
    clock.advance(86_400)
    lookups = [await keys.resolve(KID, "ES256") for _ in range(3)]
    assert all(isinstance(lookup, KeysUnavailable) for lookup in lookups)
    assert len(site.asked) == 4
    site.down = False
    clock.advance(10)
    assert await keys.resolve(KID, "ES256") == first


async def test_a_key_in_memory_survives_a_403(keys: OnDemandKeySet, site: Site, clock: FakeClock) -> None:
    """S3 answers 403 for unknown keys, but a firewall does so for all: that must not become a 401 for good tokens."""
    site.down, site.status = True, 403
    assert isinstance(await keys.resolve(KID, "ES256"), KeyUnknown)
    site.down = False
    found = await keys.resolve(KID, "ES256")
    assert isinstance(found, KeysFound)
    site.down = True
    clock.advance(301)
    assert await keys.resolve(KID, "ES256") == found
    assert not found.handle.revoked


async def test_a_deleted_key_revokes_its_verdicts(keys: OnDemandKeySet, site: Site, clock: FakeClock) -> None:
    """Its load balancer may have been deleted."""
    found = await keys.resolve(KID, "ES256")
    assert isinstance(found, KeysFound)
    site.keys.clear()
    clock.advance(301)
    assert isinstance(await keys.resolve(KID, "ES256"), KeyUnknown)
    assert found.handle.revoked
    assert found.keys[0].handle.revoked


async def test_the_number_of_keys_is_bounded(site: Site, clock: FakeClock, pool: KeyPool) -> None:
    """The least recently used key is removed, and fetched again when it is needed."""
    keys = OnDemandKeySet(BASE, site, clock, RefreshRules(cooldown=0.1))
    kids = [f"{number:08x}-0000-0000-0000-000000000000" for number in range(65)]
    for kid in kids:
        site.keys[f"{BASE}/{kid}"] = pool.key("ES256").public_pem()
        clock.advance(1)
        assert isinstance(await keys.resolve(kid, "ES256"), KeysFound)
    assert keys.kids == set(kids[1:])


async def test_a_document_without_a_key_is_an_outage(keys: OnDemandKeySet, site: Site) -> None:
    """The document may be an error page."""
    site.keys[f"{BASE}/{KID}"] = b"<html>"
    assert isinstance(await keys.resolve(KID, "ES256"), KeysUnavailable)


async def test_keys_show_when_they_were_first_and_last_fetched(
    keys: OnDemandKeySet, clock: FakeClock
) -> None:
    """There is no next fetch: tokens start them."""
    assert keys.details() == KeySetDetails()
    await keys.resolve(KID, "ES256")
    clock.advance(RefreshRules().refresh + 1)
    await keys.resolve(KID, "ES256")
    clock.advance(5)
    details = keys.details()
    assert [(key.kid, key.age) for key in details.keys] == [(KID, 306.0)]
    assert (details.fetched_ago, details.next_fetch_in) == (5.0, None)
