"""One shared piece of work for many who wait."""

from __future__ import annotations

import asyncio

import pytest

from authgate.single_flight import SingleFlight


class Work:
    """Counts how often it is started, and ends when it is told to."""

    def __init__(self) -> None:
        self.started = 0
        self.done = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.started += 1
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return self.started


async def turns(number: int = 5) -> None:
    """Lets whatever is ready run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_thousand_callers_share_one_piece_of_work() -> None:
    """All who ask while it is under way get its one result."""
    flights, work = SingleFlight[str, int](), Work()
    callers = [asyncio.create_task(flights.do("key", work)) for _ in range(1000)]
    await turns()
    work.done.set()

    assert await asyncio.gather(*callers) == [1] * 1000
    assert work.started == 1


async def test_other_keys_have_work_of_their_own() -> None:
    """Keys do not wait for one another."""
    flights, slow, quick = SingleFlight[str, int](), Work(), Work()
    waiting = asyncio.create_task(flights.do("slow", slow))
    await turns()
    quick.done.set()

    assert await flights.do("quick", quick) == 1
    slow.done.set()
    await waiting


async def test_the_next_call_starts_anew() -> None:
    """A result is shared, not remembered."""
    flights, work = SingleFlight[str, int](), Work()
    work.done.set()

    assert [await flights.do("key", work), await flights.do("key", work)] == [1, 2]


async def test_it_reports_whether_a_call_is_in_progress() -> None:
    """From the first call until the work is done."""
    flights, work = SingleFlight[str, int](), Work()
    assert not flights.in_progress("key")
    caller = asyncio.create_task(flights.do("key", work))
    await turns()
    assert flights.in_progress("key")
    work.done.set()
    await caller
    assert not flights.in_progress("key")


async def test_a_cancelled_caller_leaves_the_work_to_the_others() -> None:
    """One client that hangs up takes nobody's answer with it."""
    flights, work = SingleFlight[str, int](), Work()
    first, second = (asyncio.create_task(flights.do("key", work)) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    work.done.set()

    assert await second == 1
    assert first.cancelled()


async def test_the_work_goes_on_when_every_caller_has_gone() -> None:
    """What was begun is finished, and whoever comes meanwhile joins it."""
    flights, work = SingleFlight[str, int](), Work()
    gone = asyncio.create_task(flights.do("key", work))
    await turns()
    gone.cancel()
    await turns()
    late = asyncio.create_task(flights.do("key", work))
    await turns()
    work.done.set()

    assert await late == 1
    assert work.started == 1


async def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    """All who wait see it; the next call starts anew."""
    flights, work = SingleFlight[str, int](), Work()
    work.error = RuntimeError("broken")
    callers = [asyncio.create_task(flights.do("key", work)) for _ in range(3)]
    await turns()
    work.done.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["broken"] * 3

    work.error = None
    assert await flights.do("key", work) == 2


async def test_closing_ends_all_work_and_all_waiting() -> None:
    """At the end of the service nothing is left running, and nobody waits for ever."""
    flights, work = SingleFlight[str, int](), Work()
    callers = [asyncio.create_task(flights.do(key, work)) for key in ("a", "a", "b")]
    await turns()
    await flights.close()

    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
    assert not flights.in_progress("a")


async def test_an_error_of_work_that_nobody_awaits_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Work whose callers have all gone may fail in silence."""
    flights, work = SingleFlight[str, int](), Work()
    gone = asyncio.create_task(flights.do("key", work))
    await turns()
    gone.cancel()
    await turns()
    work.error = RuntimeError("broken")
    work.done.set()
    await turns()

    assert not flights.in_progress("key")
    assert caplog.records == []
