"""Sharing fetched keys between processes of a gate, and keeping them over a reload."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authgate.keys.jwk import KeyDocument
from authgate.keys.key_set import KeySetDetails, KeysFound
from authgate.keys.remote import FetchReport, KeyFetchError, RefreshRules, RemoteKeySet
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource, document

RULES = RefreshRules(refresh=300, max_stale=3600)


@pytest.fixture
def source(pool: KeyPool) -> ScriptedSource:
    """An issuer that publishes key "a"."""
    return ScriptedSource(pool.key("ES256", 0, kid="a"))


@pytest.fixture
def reports() -> list[FetchReport]:
    """The reports of each fetch."""
    return []


def one(source: ScriptedSource, clock: FakeClock, place: str = "here") -> RemoteKeySet:
    """A set that has not fetched yet, without jitter."""
    return RemoteKeySet(source, clock, RULES, jitter=lambda: 0.0, place=place)


def knows(keys: RemoteKeySet, kid: str) -> bool:
    """Whether a key with this kid is in memory."""
    return isinstance(keys.find(kid, "ES256"), KeysFound)


async def test_each_valid_document_is_reported(source: ScriptedSource, clock: FakeClock) -> None:
    """It is reported unchanged, so that another process can parse it. A failed fetch has no document."""
    keys, reported = one(source, clock), list[KeyDocument]()
    keys.on_document = reported.append
    await keys.refresh()
    source.error = "down"
    await keys.refresh()

    assert [(item.data, item.origin) for item in reported] == [
        (document(*source.keys).data, document(*source.keys).origin)
    ]


async def test_a_document_of_another_process_is_used(
    source: ScriptedSource, clock: FakeClock, reports: list[FetchReport], pool: KeyPool
) -> None:
    """It is used without a fetch, delays the next one, and does not count as a fetch in the metrics."""
    keys = RemoteKeySet(source, clock, RULES, reports.append, lambda: 0.0, place="here")
    await keys.refresh()
    clock.advance(200)
    keys.adopt(document(pool.key("ES256", 1, kid="b")))

    assert (knows(keys, "a"), knows(keys, "b")) == (False, True)
    assert keys.next_refresh() == 300
    assert source.fetches == 1
    assert [report.shared for report in reports] == [False, True]


async def test_a_document_of_another_process_ends_an_outage(
    source: ScriptedSource, clock: FakeClock, pool: KeyPool
) -> None:
    """If one process reaches the issuer, all get its keys."""
    source.error = "down"
    keys = one(source, clock)
    await keys.refresh()
    keys.adopt(document(pool.key("ES256", 0, kid="a")))

    assert keys.status().usable
    assert knows(keys, "a")


async def test_an_own_document_of_the_same_time_is_kept(
    source: ScriptedSource, clock: FakeClock, pool: KeyPool
) -> None:
    """The other document may be older."""
    keys = one(source, clock)
    await keys.refresh()
    clock.advance(0.5)
    keys.adopt(document(pool.key("ES256", 1, kid="b")))

    assert (knows(keys, "a"), knows(keys, "b")) == (True, False)


async def test_a_document_that_the_source_rejects_is_not_used(
    source: ScriptedSource, clock: FakeClock, pool: KeyPool
) -> None:
    """A cluster's issuer is checked as for its own fetch."""

    def refuse(_: KeyDocument) -> None:
        raise KeyFetchError("its issuer is another cluster's")

    keys = RemoteKeySet(source, clock, RULES, place="here", on_shared=refuse)
    keys.adopt(document(pool.key("ES256", 1, kid="b")))

    assert not knows(keys, "b")


@pytest.mark.parametrize(
    ("old", "new", "inherited"),
    [("here", "here", True), ("here", "there", False), ("", "", False)],
    ids=["same place", "another place", "no place"],
)
async def test_keys_are_inherited_only_from_the_same_url(
    source: ScriptedSource, clock: FakeClock, old: str, new: str, inherited: bool
) -> None:
    """A key may have been removed at another URL."""
    before, after = one(source, clock, old), one(source, clock, new)
    await before.refresh()
    after.inherit(before)

    assert knows(after, "a") == inherited


async def test_fetched_keys_are_not_replaced_by_inherited_ones(
    source: ScriptedSource, clock: FakeClock, pool: KeyPool
) -> None:
    """Only a set without keys inherits."""
    before, after = one(source, clock), one(ScriptedSource(pool.key("ES256", 1, kid="b")), clock)
    await before.refresh()
    await after.refresh()
    after.inherit(before)

    assert (knows(after, "a"), knows(after, "b")) == (False, True)


async def test_inherited_keys_keep_their_age(source: ScriptedSource, clock: FakeClock) -> None:
    """A reload does not reset the age."""
    before, after = one(source, clock), one(source, clock)
    await before.refresh()
    clock.advance(3000)
    after.inherit(before)
    assert knows(after, "a")
    clock.advance(601)

    assert not knows(after, "a")


async def test_keys_show_how_long_they_are_known(
    source: ScriptedSource, clock: FakeClock, pool: KeyPool
) -> None:
    """A key that later documents still contain keeps its age, also over a reload; a new key begins at 0."""
    before, after = one(source, clock), one(source, clock)
    assert before.details() == KeySetDetails(next_fetch_in=0.0)
    await before.refresh()
    clock.advance(100)
    source.keys = (*source.keys, pool.key("ES256", 1, kid="b"))
    await before.refresh()
    clock.advance(10)
    after.inherit(before)

    for keys in (before, after):
        details = keys.details()
        assert [(key.kid, key.algorithms, key.age) for key in details.keys] == [
            ("a", ("ES256",), 110.0),
            ("b", ("ES256",), 10.0),
        ]
        assert details.fetched_ago == 10.0


async def test_at_most_twenty_keys_are_shown(clock: FakeClock, pool: KeyPool) -> None:
    """The others are counted."""
    key = pool.key("ES256", 0, kid="a")
    keys = one(ScriptedSource(*(replace(key, kid=f"{number}") for number in range(50))), clock)
    await keys.refresh()
    details = keys.details()
    assert (len(details.keys), details.more) == (20, 30)
