"""Fetched keys within the cooldown: a kid that the next fetch may bring is not rejected."""

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
    """An issuer, a set that has just fetched its key "a", and their clock."""

    def __init__(self, pool: KeyPool, clock: FakeClock) -> None:
        self.pool = pool
        self.clock = clock
        self.source = ScriptedSource()
        self.sleeping = 0
        self.awake = asyncio.Event()
        self.publish("a")
        self.keys = RemoteKeySet(self.source, clock, RULES, jitter=lambda: 0.0, sleep=self.sleep)

    def publish(self, *kids: str) -> None:
        """Publish exactly these keys from now on."""
        self.source.keys = tuple(self.pool.key("ES256", ord(kid[0]) - ord("a"), kid=kid) for kid in kids)

    async def sleep(self, seconds: float) -> None:
        """Block callers that wait for the next fetch until `wake`."""
        self.sleeping += 1
        await self.awake.wait()
        self.clock.advance(seconds)

    async def ask(self, kid: str) -> Lookup:
        """Return the set's answer for a kid, waiting for a fetch if necessary."""
        return await self.keys.resolve(kid, "ES256")

    async def asking(self, *kids: str) -> list[asyncio.Task[Lookup]]:
        """Request each kid at the same time, and run the requests until they wait."""
        tasks = [asyncio.create_task(self.ask(kid)) for kid in kids]
        for _ in range(5):
            await asyncio.sleep(0)
        return tasks

    async def woken(self, tasks: list[asyncio.Task[Lookup]]) -> list[Lookup]:
        """Return the answers after the cooldown."""
        self.awake.set()
        return await asyncio.gather(*tasks)


@pytest.fixture
async def scene(pool: KeyPool, clock: FakeClock) -> Scene:
    """A set that has fetched key "a"."""
    scene = Scene(pool, clock)
    await scene.keys.refresh()
    return scene


async def test_a_new_kid_waits_for_a_fetch_that_is_due_soon(scene: Scene) -> None:
    """A rotation within the cooldown causes a short delay, and no denial."""
    scene.publish("a", "b")
    scene.clock.advance(4)
    waiting = await scene.asking("b")

    assert isinstance((await scene.woken(waiting))[0], KeysFound)
    assert scene.source.fetches == 2


async def test_a_new_kid_is_pending_if_no_fetch_is_due_soon(scene: Scene) -> None:
    """Retry-After is the time to the next fetch, rounded up."""
    scene.publish("a", "b")
    scene.clock.advance(1.2)

    answer = await scene.ask("b")
    assert isinstance(answer, KeyPending)
    assert answer.retry_after == 4
    assert scene.source.fetches == 1


async def test_all_waiting_requests_share_the_next_fetch(scene: Scene) -> None:
    """Requests with an invented kid are then denied, because the fetch did not bring it."""
    scene.publish("a", "b")
    scene.clock.advance(4)
    answers = await scene.woken(await scene.asking(*["b", "invented"] * 50))

    assert [type(answer) for answer in answers[:2]] == [KeysFound, KeyUnknown]
    assert scene.source.fetches == 2
    assert scene.sleeping == 1


async def test_the_number_of_waiting_requests_is_bounded(scene: Scene) -> None:
    """The first 256 wait. The others get an answer at once with the time to retry."""
    scene.clock.advance(4)
    tasks = await scene.asking(*(f"invented-{number}" for number in range(300)))
    assert sum(task.done() for task in tasks) == 44
    answers = await scene.woken(tasks)

    assert [type(answer) for answer in answers] == [KeyUnknown] * 256 + [KeyPending] * 44


async def test_a_cancelled_request_frees_its_place(scene: Scene) -> None:
    """Another request can then wait."""
    scene.clock.advance(4)
    tasks = await scene.asking(*(f"invented-{number}" for number in range(256)))
    tasks[0].cancel()
    more = await scene.asking("one-more")

    assert not more[0].done()
    await scene.woken(tasks[1:] + more)


async def test_waiting_requests_use_a_background_fetch(scene: Scene) -> None:
    """They get its keys and start no other fetch."""
    scene.publish("a", "b")
    scene.clock.advance(4)
    waiting = await scene.asking("b")
    await scene.keys.refresh()

    assert isinstance((await scene.woken(waiting))[0], KeysFound)
    assert scene.source.fetches == 2


async def test_an_outage_ends_the_wait_with_unavailable(scene: Scene) -> None:
    """If the fetch fails, keys are unavailable."""
    scene.source.error = "down"
    scene.clock.advance(4)
    answers = await scene.woken(await scene.asking("b"))

    assert answers == [KeysUnavailable("down", retry_after=5)]


async def test_a_pending_kid_is_rejected_after_any_fetch_without_it(scene: Scene) -> None:
    """Another request may have started the fetch. A retry of the client is denied, also within the next cooldown."""
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


async def test_one_answer_without_a_published_kid_rejects_no_token(scene: Scene) -> None:
    """It may come from a stale replica of the issuer. The key is not used, but its tokens are not rejected."""
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


async def test_a_second_answer_without_a_published_kid_removes_it(scene: Scene) -> None:
    """Then the kid is unknown."""
    scene.publish("b")
    scene.clock.advance(300)
    await scene.keys.refresh()
    assert isinstance(await scene.ask("a"), KeyPending)
    scene.clock.advance(5)

    assert await scene.ask("a") == KeyUnknown("the issuer publishes 1 key")


async def test_closing_ends_the_wait(scene: Scene) -> None:
    """After a shutdown or a reload no request waits."""
    scene.clock.advance(4)
    waiting = await scene.asking("b")
    await scene.keys.close()

    assert isinstance((await asyncio.gather(*waiting, return_exceptions=True))[0], asyncio.CancelledError)
