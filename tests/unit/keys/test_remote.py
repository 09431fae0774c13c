"""Fetched keys: when they are fetched, and the answers for unknown kids."""

from __future__ import annotations

import asyncio
import random

import pytest

from authgate.keys.key_set import KeyMismatch, KeyPending, KeysFound, KeysUnavailable, KeyUnknown, Lookup
from authgate.keys.remote import FetchReport, RefreshRules, RemoteKeySet
from authgate.model import RevocationHandle
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource

RULES = RefreshRules(refresh=300, max_stale=3600, cooldown=5)


class Scene:
    """A key set, its issuer, and their clock; keys are named by their kid."""

    def __init__(self, pool: KeyPool, clock: FakeClock) -> None:
        self.pool = pool
        self.clock = clock
        self.reports: list[FetchReport] = []
        self.source = ScriptedSource()
        self.jitter = 0.0
        self.publish("a")
        self.keys = RemoteKeySet(
            self.source, clock, RULES, self.reports.append, lambda: self.jitter, sleep=clock.sleep
        )

    def publish(self, *kids: str) -> None:
        """Publish exactly these keys from now on."""
        self.source.keys = tuple(self.pool.key("ES256", ord(kid[0]) - ord("a"), kid=kid) for kid in kids)
        self.source.error = None

    def fail(self, error: str = "the issuer is down") -> None:
        """Make every fetch fail from now on."""
        self.source.error = error

    async def ask(self, kid: str | None, *, patient: bool = True) -> Lookup:
        """Return the set's answer for a token with this kid, after a fetch if one is needed."""
        return await self.keys.resolve(kid, "ES256", patient=patient)

    def knows(self, kid: str | None) -> bool:
        """Whether the key is in memory."""
        return isinstance(self.keys.find(kid, "ES256"), KeysFound)


@pytest.fixture
def scene(pool: KeyPool, clock: FakeClock) -> Scene:
    """An issuer that publishes key "a", and a set that has not fetched yet."""
    return Scene(pool, clock)


async def turns(number: int = 5) -> None:
    """Run all tasks that are ready."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_the_first_token_fetches_the_keys(scene: Scene) -> None:
    """There are no keys before. There is no further fetch after."""
    assert not scene.knows("a")
    assert isinstance(await scene.ask("a"), KeysFound)
    assert isinstance(await scene.ask("a"), KeysFound)
    assert scene.source.fetches == 1


async def test_a_hundred_waiting_requests_share_one_fetch(scene: Scene) -> None:
    """This also holds if their tokens have different kids."""
    scene.source.held = True
    asking = [asyncio.create_task(scene.ask(kid)) for kid in ("a", "b", None) * 34]
    await turns()
    scene.source.release()
    answers = await asyncio.gather(*asking)

    assert scene.source.fetches == 1
    assert [type(answer) for answer in answers[:3]] == [KeysFound, KeyUnknown, KeysFound]


async def test_a_cancelled_request_does_not_cancel_the_fetch_of_others(scene: Scene) -> None:
    """All waiting requests share the fetch."""
    scene.source.held = True
    cancelled, waiting = (asyncio.create_task(scene.ask("a")) for _ in range(2))
    await turns()
    cancelled.cancel()
    await turns()
    scene.source.release()

    assert isinstance(await waiting, KeysFound)
    assert scene.source.fetches == 1


async def test_a_key_that_does_not_fit_starts_no_fetch(scene: Scene) -> None:
    """The mismatch of key and algorithm is known at once."""
    await scene.keys.refresh()

    assert await scene.keys.resolve("a", "RS256") == KeyMismatch("a", RevocationHandle())
    assert scene.source.fetches == 1


async def test_a_new_kid_is_found_by_one_fetch(scene: Scene) -> None:
    """The first token of the new key triggers it after a rotation."""
    await scene.keys.refresh()
    scene.publish("a", "b")
    scene.clock.advance(5)

    assert isinstance(await scene.ask("b"), KeysFound)
    assert scene.source.fetches == 2


async def test_an_unknown_kid_starts_no_fetch_in_the_cooldown_after_a_success(scene: Scene) -> None:
    """The next attempt may start 5 s after the last one."""
    await scene.keys.refresh()
    scene.publish("a", "b")
    scene.clock.advance(4.999)
    assert isinstance(await scene.ask("b", patient=False), KeyPending)
    assert scene.source.fetches == 1

    scene.clock.advance(0.001)
    assert isinstance(await scene.ask("b", patient=False), KeysFound)


async def test_an_unknown_kid_starts_no_fetch_in_the_cooldown_after_a_failure(scene: Scene) -> None:
    """The cooldown counts attempts, not successes, so an issuer that is down is not flooded."""
    scene.fail()
    assert await scene.ask("a") == KeysUnavailable("the issuer is down", retry_after=5)
    scene.clock.advance(4.999)
    assert await scene.ask("a") == KeysUnavailable("the issuer is down", retry_after=5)
    assert scene.source.fetches == 1

    scene.publish("a")
    scene.clock.advance(0.001)
    assert isinstance(await scene.ask("a"), KeysFound)


async def test_the_cooldown_starts_when_an_attempt_ends(scene: Scene) -> None:
    """An attempt that fails after its whole timeout is also followed by a complete cooldown."""
    scene.fail("no complete response within 5 s")
    scene.source.meanwhile = lambda: scene.clock.advance(5)
    await scene.ask("a")
    scene.clock.advance(4.9)
    await scene.ask("a")
    assert scene.source.fetches == 1

    scene.clock.advance(0.1)
    await scene.ask("a")
    assert scene.source.fetches == 2


async def test_a_kid_that_a_fetch_did_not_bring_is_rejected_for_a_minute(scene: Scene) -> None:
    """A token of a removed key costs one fetch a minute, however often it is sent."""
    await scene.keys.refresh()
    scene.clock.advance(5)
    assert await scene.ask("z") == KeyUnknown("the issuer publishes 1 key")
    for _ in range(11):
        scene.clock.advance(5)
        assert await scene.ask("z") == KeyUnknown("the issuer's keys were fetched for this kid before")
    assert scene.source.fetches == 2

    scene.clock.advance(5)
    assert await scene.ask("z") == KeyUnknown("the issuer publishes 1 key")
    assert scene.source.fetches == 3


async def test_a_token_without_a_kid_that_fits_no_key_is_rejected_for_a_minute(scene: Scene) -> None:
    """The same minute applies to tokens without a kid."""
    for _ in range(3):
        assert isinstance(await scene.keys.resolve(None, "RS256"), KeyUnknown)
        scene.clock.advance(10)

    assert scene.source.fetches == 1


async def test_a_rejected_kid_is_found_after_any_fetch_with_it(scene: Scene) -> None:
    """A background refresh can end the rejection before the minute is over."""
    await scene.ask("b")
    scene.publish("b")
    await scene.keys.refresh()

    assert isinstance(await scene.ask("b"), KeysFound)


async def test_a_failed_fetch_rejects_no_kid(scene: Scene) -> None:
    """Only an answer of the issuer shows that a key is not published. After an outage the kid is looked up again."""
    await scene.keys.refresh()
    scene.clock.advance(5)
    scene.fail()
    assert isinstance(await scene.ask("b"), KeysUnavailable)
    scene.publish("a")
    await scene.keys.refresh()
    scene.publish("a", "b")
    scene.clock.advance(5)

    assert isinstance(await scene.ask("b"), KeysFound)


async def test_while_fetches_fail_an_unknown_kid_is_unavailable(scene: Scene) -> None:
    """This also holds for a kid that was rejected before the outage."""
    await scene.keys.refresh()
    scene.clock.advance(5)
    assert isinstance(await scene.ask("b"), KeyUnknown)
    scene.fail()
    scene.clock.advance(5)
    await scene.keys.refresh()

    assert isinstance(await scene.ask("b"), KeysUnavailable)
    assert isinstance(await scene.ask("a"), KeysFound)


async def test_a_flood_of_invented_kids_costs_bounded_fetches_and_memory(scene: Scene) -> None:
    """Ten thousand kids in ten seconds cause two fetches, and at most 1,024 of them are remembered."""
    held = []
    for number in range(10_000):
        await scene.ask(f"made-up-{number}", patient=False)
        held.append(len(scene.keys._requested_kids))
        scene.clock.advance(0.001)

    assert scene.source.fetches == 2
    assert max(held) <= 1024


async def test_a_flood_of_kids_evicts_the_oldest(scene: Scene) -> None:
    """The last 1,024 kids are remembered. The cooldown bounds the fetches for the others."""
    for number in range(1025):
        await scene.ask(f"made-up-{number}")
        scene.clock.advance(5)

    assert len(scene.keys._requested_kids) == 1024
    assert "made-up-0" not in scene.keys._requested_kids


async def test_the_last_valid_keys_are_used_while_fetches_fail(scene: Scene) -> None:
    """They are used for exactly max_stale after the last successful fetch. Then keys are unavailable."""
    await scene.keys.refresh()
    scene.fail()
    scene.clock.advance(3600)
    await scene.keys.refresh()
    assert scene.knows("a")

    scene.clock.advance(0.001)
    assert not scene.knows("a")
    assert await scene.ask("a") == KeysUnavailable("the issuer is down", retry_after=5)


async def test_stale_keys_are_used_again_after_a_fetch(scene: Scene) -> None:
    """After an outage no restart is needed."""
    await scene.keys.refresh()
    scene.fail()
    scene.clock.advance(4000)
    await scene.keys.refresh()
    scene.publish("a")
    scene.clock.advance(5)

    assert isinstance(await scene.ask("a"), KeysFound)


async def test_age_counts_from_the_start_of_a_fetch(scene: Scene) -> None:
    """The content of a slow answer may be as old as the request."""
    scene.source.meanwhile = lambda: scene.clock.advance(10)
    await scene.keys.refresh()
    scene.clock.advance(3590)
    assert scene.knows("a")
    scene.clock.advance(1)
    assert not scene.knows("a")


async def test_retry_after_is_at_least_a_second(scene: Scene) -> None:
    """Retry-After has whole seconds (RFC 9110, section 10.2.3)."""
    scene.fail()
    keys = RemoteKeySet(scene.source, scene.clock, RefreshRules(cooldown=0.1))

    assert await keys.resolve("a", "ES256") == KeysUnavailable("the issuer is down", retry_after=1)


async def test_jitter_is_random_unless_it_is_given(scene: Scene) -> None:
    """Gates that start at the same time do not fetch at the same time."""
    random.seed(1)
    keys = RemoteKeySet(scene.source, scene.clock, RULES)
    await keys.refresh()

    assert 270 <= keys.next_refresh() <= 300
    assert keys.next_refresh() != 300
