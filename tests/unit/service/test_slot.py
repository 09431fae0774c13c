"""A worker's slot: when a worker is started, and when it counts as stuck."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

from authgate.config import load
from authgate.server.admin import Check
from authgate.server.admin.status import Inspection
from authgate.service.channel import Adopt, Adopted, Answered, Ask, Channel, Failed, Inspect, Status, Stop
from authgate.service.slot import MOST_SILENT, Slot
from tests.support.clock import FakeClock

GOOD = Check("issuer/corp", good=True, detail="1 static key")
CONFIG = load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a"}).config
BAD = Check("issuer/corp", good=False, detail="not fetched yet")


def program(*words: str) -> int:
    """Start a program and return its process id."""
    return os.posix_spawnp(words[0], words, dict(os.environ))


class Place(Slot):
    """A slot whose workers are programs of the test."""

    async def run(self, *words: str) -> Channel:
        """Start a program in the slot, and return the worker's end of the channel."""
        near, far = socket.socketpair()
        await self.start(program(*words), near, lambda _slot, _report: None)
        return await Channel.over(far)

    async def reports(self, worker: Channel, report: Status | Adopted | Failed | Answered) -> None:
        """Send a report as the worker, and let the slot receive it."""
        worker.send(report)
        for _ in range(20):
            await asyncio.sleep(0)

    def ended(self) -> str | None:
        """Wait for its program to end, and return how it ended."""
        assert self._pid is not None
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        return self.reap()


@pytest.fixture
def place(clock: FakeClock) -> Place:
    """An empty slot."""
    return Place(0, clock)


async def test_restarts_wait_longer_each_time(place: Place, clock: FakeClock) -> None:
    """The first restart is immediate, the next one waits 1 s, and each further wait doubles, up to 30 s."""
    assert place.claim_start()
    pauses = []
    for _ in range(9):
        worker = await place.run("false")
        assert place.ended() == "exited"
        worker.close()
        waited = 0.0
        while not place.claim_start():
            clock.advance(0.5)
            waited += 0.5
        pauses.append(waited)

    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_a_worker_that_ran_for_a_while_is_replaced_at_once(place: Place, clock: FakeClock) -> None:
    """A rare crash is not a crash loop."""
    for _ in range(3):
        worker = await place.run("false")
        clock.advance(60)
        place.ended()
        worker.close()
        assert place.claim_start()


async def test_a_start_is_claimed_once(place: Place) -> None:
    """No other start is possible until the worker was started and has ended."""
    assert [place.claim_start() for _ in range(3)] == [True, False, False]
    worker = await place.run("false")
    assert not place.claim_start()
    place.ended()
    worker.close()
    assert [place.claim_start() for _ in range(2)] == [True, False]


async def test_the_state_shows_how_a_worker_ended(place: Place) -> None:
    """The worker's own reason is only logged, since it may quote the configuration."""
    worker = await place.run("sh", "-c", "exit 3")
    await place.reports(worker, Failed("cannot listen on 127.0.0.1:1: Address already in use"))
    assert place.ended() == "exited"
    worker.close()
    (check,) = place.checks()

    assert not check.good
    assert check.detail == "ended by exit status 3 (the log has the reason); starts again in 0 s"
    assert place.failure == "cannot listen on 127.0.0.1:1: Address already in use"


async def test_a_silent_worker_is_stuck(place: Place) -> None:
    """It is killed if it sends nothing for too long. Each message restarts the time."""
    worker = await place.run("sleep", "60")
    place.pass_time(MOST_SILENT - 1)
    await place.reports(worker, Status(listening=True, checks=(GOOD,)))
    place.pass_time(MOST_SILENT - 1)
    assert place.reap() is None
    place.pass_time(1)
    assert place.ended() == "stuck"
    worker.close()


async def test_the_state_names_the_signal_that_killed_a_worker(place: Place) -> None:
    """The signal may be SIGKILL."""
    worker = await place.run("sleep", "60")
    assert place._pid is not None
    os.kill(place._pid, signal.SIGTERM)
    assert place.ended() == "killed"
    worker.close()
    assert "ended by SIGTERM" in place.checks()[0].detail


@pytest.mark.parametrize(
    ("report", "listening", "ready"),
    [
        (Status(listening=False, checks=()), False, False),
        (Status(listening=False, checks=(GOOD,)), False, False),
        (Status(listening=True, checks=()), True, False),
        (Status(listening=True, checks=(BAD,)), True, False),
        (Status(listening=True, checks=(BAD, GOOD)), True, True),
    ],
    ids=["starting", "composed", "no checks", "undecided", "ready"],
)
async def test_a_worker_is_ready_when_it_listens_and_can_decide(
    place: Place, report: Status, listening: bool, ready: bool
) -> None:
    """One usable issuer is enough, as for a single process."""
    worker = await place.run("sleep", "60")
    await place.reports(worker, report)
    assert (place.listening, place.ready) == (listening, ready)
    place.kill()
    place.ended()
    worker.close()
    assert (place.listening, place.ready) == (False, False)


async def test_messages_reach_the_worker(place: Place) -> None:
    """Its answers are received. A worker that ends while it applies a configuration has failed to apply it."""
    worker = await place.run("sleep", "60")
    for error in (None, "no cluster is known"):
        answer = asyncio.create_task(place.adopt(CONFIG))
        assert await worker.receive() == Adopt(CONFIG)
        worker.send(Adopted(error))
        assert await answer == error
    answer = asyncio.create_task(place.adopt(CONFIG))
    await worker.receive()
    place.stop()
    assert await worker.receive() == Stop()
    place.kill()
    place.ended()
    assert await answer == "the worker ended while applying it"
    assert await worker.receive() is None
    worker.close()


async def test_a_trial_without_an_answer_times_out(clock: FakeClock) -> None:
    """The worker is killed, and a new one starts with the last good configuration."""
    place = Place(0, clock, trial_timeout=0.05)
    worker = await place.run("sleep", "60")
    assert await place.adopt(CONFIG) == "the worker did not apply the configuration within 0.05 s"
    assert place.ended() == "killed"
    worker.close()


async def test_a_start_without_an_end_times_out(clock: FakeClock) -> None:
    """A worker that never listens with the configuration on trial is killed."""
    place = Place(0, clock, trial_timeout=2)  # long enough to start the worker
    trying = asyncio.create_task(place.start_with(CONFIG))
    await asyncio.sleep(0)
    assert (place.claim_start(), place.trial) == (True, CONFIG)
    worker = await place.run("sleep", "60")
    assert await trying == "the worker did not start within 2 s"
    assert place.trial is None
    assert place.ended() == "killed"
    worker.close()


async def test_questions_are_answered_by_their_number(place: Place) -> None:
    """Answers may arrive in another order. The worker continues to obey other orders."""
    worker = await place.run("sleep", "60")
    await place.reports(worker, Status(listening=True, checks=()))
    asking = [asyncio.create_task(place.ask(Inspect(decisions=False), timeout=60)) for _ in range(2)]
    numbers = []
    for _ in asking:
        question = await worker.receive()
        assert isinstance(question, Ask)
        numbers.append(question.number)
    answers = [Inspection(verifiers=(), more=more) for more in (0, 1)]
    for number, answer in reversed([*zip(numbers, answers, strict=True)]):
        await place.reports(worker, Answered(number, answer))
    assert await asyncio.gather(*asking) == answers
    await end(place, worker)


async def test_a_worker_that_does_not_answer_in_time_has_no_answer(place: Place) -> None:
    """A late answer is ignored."""
    worker = await place.run("sleep", "60")
    await place.reports(worker, Status(listening=True, checks=()))
    assert await place.ask(Inspect(decisions=False), timeout=0.01) is None
    await place.reports(worker, Answered(1, Inspection(verifiers=())))
    await end(place, worker)


async def test_a_worker_that_ends_has_no_answer(place: Place) -> None:
    """The question is not kept until its time limit. A missing worker is not asked at all."""
    worker = await place.run("sleep", "60")
    await place.reports(worker, Status(listening=True, checks=()))
    asking = asyncio.create_task(place.ask(Inspect(decisions=False), timeout=3600))
    await worker.receive()
    await end(place, worker)
    assert await asking is None
    assert await place.ask(Inspect(decisions=False), timeout=3600) is None


async def end(place: Place, worker: Channel) -> None:
    """Kill the worker, and let the slot notice."""
    place.kill()
    assert place.ended() == "killed"
    worker.close()
