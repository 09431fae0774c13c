"""One shared call for many callers."""

from __future__ import annotations

import asyncio

import pytest

from authgate.single_flight import SingleFlight


class Work:
    """A call that counts its starts and ends when `done` is set."""

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
    """Let other tasks run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_thousand_callers_share_one_call() -> None:
    """All callers during the call get its result."""
    flights, work = SingleFlight[str, int](), Work()
    callers = [asyncio.create_task(flights.do("key", work)) for _ in range(1000)]
    await turns()
    work.done.set()

    assert await asyncio.gather(*callers) == [1] * 1000
    assert work.started == 1


async def test_other_keys_have_their_own_calls() -> None:
    """Keys do not wait for each other."""
    flights, slow, quick = SingleFlight[str, int](), Work(), Work()
    waiting = asyncio.create_task(flights.do("slow", slow))
    await turns()
    quick.done.set()

    assert await flights.do("quick", quick) == 1
    slow.done.set()
    await waiting


async def test_the_next_call_runs_again() -> None:
    """A result is shared but not kept."""
    flights, work = SingleFlight[str, int](), Work()
    work.done.set()

    assert [await flights.do("key", work), await flights.do("key", work)] == [1, 2]


async def test_it_reports_whether_a_call_is_in_progress() -> None:
    """It is true from the first caller until the call ends."""
    flights, work = SingleFlight[str, int](), Work()
    assert not flights.in_progress("key")
    caller = asyncio.create_task(flights.do("key", work))
    await turns()
    assert flights.in_progress("key")
    work.done.set()
    await caller
    assert not flights.in_progress("key")


async def test_a_cancelled_caller_does_not_cancel_the_call() -> None:
    """The other callers get their result."""
    flights, work = SingleFlight[str, int](), Work()
    first, second = (asyncio.create_task(flights.do("key", work)) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    work.done.set()

    assert await second == 1
    assert first.cancelled()


async def test_the_call_continues_when_every_caller_is_cancelled() -> None:
    """It completes, and later callers join it."""
    flights, work = SingleFlight[str, int](), Work()
    cancelled = asyncio.create_task(flights.do("key", work))
    await turns()
    cancelled.cancel()
    await turns()
    late = asyncio.create_task(flights.do("key", work))
    await turns()
    work.done.set()

    assert await late == 1
    assert work.started == 1


async def test_an_error_reaches_every_caller_and_is_not_kept() -> None:
    """All callers get it. The next call runs again."""
    flights, work = SingleFlight[str, int](), Work()
    work.error = RuntimeError("broken")
    callers = [asyncio.create_task(flights.do("key", work)) for _ in range(3)]
    await turns()
    work.done.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["broken"] * 3

    work.error = None
    assert await flights.do("key", work) == 2


async def test_closing_cancels_all_calls_and_callers() -> None:
    """When authgate stops, no task keeps running and no caller waits forever."""
    flights, work = SingleFlight[str, int](), Work()
    callers = [asyncio.create_task(flights.do(key, work)) for key in ("a", "a", "b")]
    await turns()
    await flights.close()

    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
    assert not flights.in_progress("a")


async def test_an_error_without_callers_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A call whose callers were all cancelled can fail silently."""
    flights, work = SingleFlight[str, int](), Work()
    cancelled = asyncio.create_task(flights.do("key", work))
    await turns()
    cancelled.cancel()
    await turns()
    work.error = RuntimeError("broken")
    work.done.set()
    await turns()

    assert not flights.in_progress("key")
    assert caplog.records == []
