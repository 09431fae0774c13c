"""Fetched keys within the cooldown: nobody is refused for a kid that the next fetch may bring."""

from __future__ import annotations

import asyncio

import pytest

from authgate.keys.key_set import KeyPending, KeysFound, KeysUnavailable, KeyUnknown, Lookup
from authgate.keys.remote import RefreshRules, RemoteKeySet
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource

RULES = RefreshRules(refresh=300, cooldown=5, patience=1.5)


class Scene:
    """An issuer, the set that has fetched its key "a" just now, and the clock of both."""

    def __init__(self, pool: KeyPool, clock: FakeClock) -> None:
        self.pool = pool
        self.clock = clock
        self.source = ScriptedSource()
        self.sleeping = 0
        self.awake = asyncio.Event()
        self.publish("a")
        self.keys = RemoteKeySet(self.source, clock, RULES, jitter=lambda: 0.0, sleep=self.sleep)

    def publish(self, *kids: str) -> None:
        """Publishes these keys and no others from now on."""
        self.source.keys = tuple(self.pool.key("ES256", ord(kid[0]) - ord("a"), kid=kid) for kid in kids)

    async def sleep(self, seconds: float) -> None:
        """Block callers that wait for the next fetch until `wake`."""
        self.sleeping += 1
        await self.awake.wait()
        self.clock.advance(seconds)

    async def ask(self, kid: str) -> Lookup:
        """What the set says of a kid, with patience."""
        return await self.keys.resolve(kid, "ES256")

    async def asking(self, *kids: str) -> list[asyncio.Task[Lookup]]:
        """Asks for each kid at the same time, and lets them all come as far as they can."""
        tasks = [asyncio.create_task(self.ask(kid)) for kid in kids]
        for _ in range(5):
            await asyncio.sleep(0)
        return tasks

    async def woken(self, tasks: list[asyncio.Task[Lookup]]) -> list[Lookup]:
        """The answers, once the cooldown is over."""
        self.awake.set()
        return await asyncio.gather(*tasks)


@pytest.fixture
async def scene(pool: KeyPool, clock: FakeClock) -> Scene:
    """A set that has fetched key "a"."""
    scene = Scene(pool, clock)
    await scene.keys.refresh()
    return scene


async def test_a_new_kid_waits_for_a_fetch_that_is_near(scene: Scene) -> None:
    """A rotation within the cooldown costs a moment, and no login."""
    scene.publish("a", "b")
    scene.clock.advance(4)
    waiting = await scene.asking("b")

    assert isinstance((await scene.woken(waiting))[0], KeysFound)
    assert scene.source.fetches == 2


async def test_a_new_kid_is_pending_where_the_fetch_is_far(scene: Scene) -> None:
    """Retry-After is the time to the next fetch, rounded up."""
    scene.publish("a", "b")
    scene.clock.advance(1.2)

    answer = await scene.ask("b")
    assert isinstance(answer, KeyPending)
    assert answer.retry_after == 4
    assert scene.source.fetches == 1


async def test_all_who_wait_share_the_next_fetch(scene: Scene) -> None:
    """Those of an invented kid are refused by it, since it did not bring theirs."""
    scene.publish("a", "b")
    scene.clock.advance(4)
    answers = await scene.woken(await scene.asking(*["b", "invented"] * 50))

    assert [type(answer) for answer in answers[:2]] == [KeysFound, KeyUnknown]
    assert scene.source.fetches == 2
    assert scene.sleeping == 1


async def test_the_number_of_those_who_wait_is_bounded(scene: Scene) -> None:
    """The first 256 wait; the others get an answer at once that says when to retry."""
    scene.clock.advance(4)
    tasks = await scene.asking(*(f"invented-{number}" for number in range(300)))
    assert sum(task.done() for task in tasks) == 44
    answers = await scene.woken(tasks)

    assert [type(answer) for answer in answers] == [KeyUnknown] * 256 + [KeyPending] * 44


async def test_who_hangs_up_makes_room_for_another(scene: Scene) -> None:
    """A place among those who wait is given back."""
    scene.clock.advance(4)
    tasks = await scene.asking(*(f"invented-{number}" for number in range(256)))
    tasks[0].cancel()
    more = await scene.asking("one-more")

    assert not more[0].done()
    await scene.woken(tasks[1:] + more)


async def test_a_fetch_of_the_background_is_as_good(scene: Scene) -> None:
    """Those who wait see its keys and start no fetch of their own."""
    scene.publish("a", "b")
    scene.clock.advance(4)
    waiting = await scene.asking("b")
    await scene.keys.refresh()

    assert isinstance((await scene.woken(waiting))[0], KeysFound)
    assert scene.source.fetches == 2


async def test_an_outage_ends_the_wait_with_its_own_answer(scene: Scene) -> None:
    """The fetch that was waited for has failed: that is an outage."""
    scene.source.error = "down"
    scene.clock.advance(4)
    answers = await scene.woken(await scene.asking("b"))

    assert answers == [KeysUnavailable("down", retry_after=5)]


async def test_a_kid_that_was_pending_is_refused_after_any_fetch_without_it(scene: Scene) -> None:
    """Its fetch need not be its own: the client that comes back is refused, also within the next cooldown."""
    scene.clock.advance(1)
    assert isinstance(await scene.ask("invented"), KeyPending)
    scene.clock.advance(10)
    await scene.keys.refresh()
    scene.clock.advance(1)

    assert await scene.ask("invented") == KeyUnknown("the issuer's keys were fetched for this kid before")
    assert isinstance(await scene.ask("another"), KeyPending)


async def test_a_refresh_that_is_due_before_the_cooldown_ends_is_waited_for(
    pool: KeyPool, clock: FakeClock
) -> None:
    """A set that is refreshed more often than its cooldown does not keep a kid pending forever."""
    source = ScriptedSource(pool.key("ES256", 0, kid="a"))
    rules = RefreshRules(refresh=1, cooldown=5)
    keys = RemoteKeySet(source, clock, rules, jitter=lambda: 0.0, sleep=clock.sleep)
    await keys.refresh()

    assert isinstance(await keys.resolve("invented", "ES256"), KeyUnknown)
    assert source.fetches == 2


async def test_one_answer_without_a_published_kid_refuses_nobody(scene: Scene) -> None:
    """It may come from a replica of the issuer that is behind; the key does not verify, but its tokens are not bad."""
    scene.publish("a", "b")
    scene.clock.advance(300)
    await scene.keys.refresh()
    scene.publish("a")
    scene.clock.advance(300)
    await scene.keys.refresh()
    assert scene.keys.find("b", "ES256") is None
    assert isinstance(await scene.ask("b"), KeyPending)

    scene.publish("a", "b")
    scene.clock.advance(5)
    assert isinstance(await scene.ask("b"), KeysFound)


async def test_a_second_answer_without_a_published_kid_confirms_its_withdrawal(scene: Scene) -> None:
    """Then the kid is unknown, as any other."""
    scene.publish("b")
    scene.clock.advance(300)
    await scene.keys.refresh()
    assert isinstance(await scene.ask("a"), KeyPending)
    scene.clock.advance(5)

    assert await scene.ask("a") == KeyUnknown("the issuer publishes 1 key")


async def test_closing_ends_the_wait(scene: Scene) -> None:
    """A gate that ends or reloads leaves nobody waiting."""
    scene.clock.advance(4)
    waiting = await scene.asking("b")
    await scene.keys.close()

    assert isinstance((await asyncio.gather(*waiting, return_exceptions=True))[0], asyncio.CancelledError)
