"""A worker as the supervisor sees it: the current process, and how earlier ones ended."""

from __future__ import annotations

import asyncio
import os
import signal
from mmap import mmap
from typing import TYPE_CHECKING, Final

from authgate.backoff import backoff
from authgate.observability.counter_store import SHARED_BYTES, SharedCounterStore
from authgate.server.admin import Check
from authgate.service.channel import (
    Adopt,
    Adopted,
    Answered,
    Ask,
    Channel,
    Drain,
    Failed,
    Keys,
    Status,
    Stop,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from authgate.config import Config
    from authgate.model import Clock
    from authgate.service.channel import Answer, Question, Report

MOST_SILENT: Final = 10.0
"""Seconds without a message after which a worker is stuck."""
_TRIAL_TIMEOUT: Final = 30.0
_STEADY: Final = 60.0
_LONGEST_PAUSE: Final = 30.0
_POLL: Final = 0.05


class Slot:
    """The place of one worker. Its counters are in memory that outlives the process.

    A worker has `trial_timeout` seconds to start with a configuration or to apply another one.
    """

    def __init__(self, index: int, clock: Clock, *, trial_timeout: float = _TRIAL_TIMEOUT) -> None:
        self.name = f"worker/{index}"
        self.memory = mmap(-1, SHARED_BYTES)
        self.counter_store = SharedCounterStore(self.memory)
        self.failure: str | None = None
        """Why the last worker could not start, as it reported."""
        self._clock = clock
        self._trial_timeout = trial_timeout
        self._pid: int | None = None
        self._channel: Channel | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._status = Status(listening=False, checks=())
        self._adopted: asyncio.Future[str | None] | None = None
        self._asked = 0
        self._questions: dict[int, asyncio.Future[Answer | None]] = {}
        self.trial: Config | None = None
        """The configuration that the next worker tries instead of the last good one."""
        self._trying: asyncio.Future[str | None] | None = None
        self._silent = 0.0
        self._stuck = self._claimed = False
        self._began_at = self._due_at = clock.monotonic()
        self._ends = 0
        self._last_end = ""

    @property
    def pid(self) -> int:
        """The worker's process id, or 0 if the worker is not running."""
        return self._pid or 0

    @property
    def starting(self) -> bool:
        """Whether a worker is being started. Its process may already exist."""
        return self._claimed

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._pid is not None

    @property
    def listening(self) -> bool:
        """Whether its worker answers requests."""
        return self.alive and self._status.listening

    @property
    def ready(self) -> bool:
        """Whether its worker answers requests and can decide tokens of at least one issuer or cluster."""
        return self.listening and any(check.good for check in self._status.checks)

    def claim_start(self) -> bool:
        """Return whether a worker must be started now. Each start is claimed once."""
        if self._claimed or self._pid is not None or self._clock.monotonic() < self._due_at:
            return False
        self._claimed = True
        return True

    async def start(self, pid: int, one: socket.socket, on_report: Callable[[Slot, Report], None]) -> None:
        """Use a forked worker. `on_report` gets all its messages."""
        self._pid, self._silent, self._stuck, self._claimed = pid, 0.0, False, False
        self._status, self.failure = Status(listening=False, checks=()), None
        self._began_at = self._clock.monotonic()
        self._channel = await Channel.over(one)
        self._receiving = asyncio.create_task(self._receive(self._channel, on_report))

    def reap(self) -> str | None:
        """Return once how the worker ended: exited, killed or stuck. Return None if nothing has ended.

        After the first end within a minute another worker starts at once. After further ones it waits, each time twice
        as long.
        """
        if self._pid is None:
            return None
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        now = self._clock.monotonic()
        self._ends = 1 if now - self._began_at >= _STEADY else self._ends + 1
        pause = 0.0 if self._ends == 1 else backoff(self._ends - 1, 1.0, _LONGEST_PAUSE)
        self._due_at = now + pause
        code = os.waitstatus_to_exitcode(status)
        self._last_end = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        self._forget()
        if self._stuck:
            self._last_end = f"SIGKILL: it sent nothing for {MOST_SILENT:g} s"
            return "stuck"
        return "exited" if code >= 0 else "killed"

    def pass_time(self, seconds: float) -> None:
        """Count seconds in which the supervisor ran, and kill a worker that was silent for too many of them."""
        if self._pid is None:
            return
        self._silent += seconds
        if self._silent >= MOST_SILENT and not self._stuck:
            self._stuck = True
            self.kill()

    def kill(self) -> None:
        """Kill the worker."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)

    def forward_keys(self, keys: Keys) -> None:
        """Send the worker the keys that another one fetched."""
        if self.listening and self._channel is not None:
            self._channel.send(keys)

    def drain(self) -> None:
        """Make the worker report that it is not ready, while it continues to answer requests."""
        if self._channel is not None:
            self._channel.send(Drain())

    def stop(self) -> None:
        """Let the worker finish its requests and exit."""
        if self._channel is not None:
            self._channel.send(Stop())

    async def adopt(self, config: Config) -> str | None:
        """Let the worker apply a configuration; return the error, or None if it did."""
        if self._channel is None:
            return "the worker has ended"
        self._adopted = asyncio.get_running_loop().create_future()
        self._channel.send(Adopt(config))
        done, _ = await asyncio.wait((self._adopted,), timeout=self._trial_timeout)
        if not done:
            self.kill()  # otherwise it is unknown which configuration the worker uses
            return f"the worker did not apply the configuration within {self._trial_timeout:g} s"
        return self._adopted.result()

    async def start_with(self, config: Config) -> str | None:
        """Start a new worker with a configuration; return the error, or None once it listens.

        A current worker is killed. Later workers start with the last good configuration again.
        """
        self._trying = None
        while self._pid is not None:
            self.kill()
            await asyncio.sleep(_POLL)
        self.trial, self._due_at = config, self._clock.monotonic()
        trying: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._trying = trying
        try:
            done, _ = await asyncio.wait((trying,), timeout=self._trial_timeout)
            if done:
                return trying.result()
            self.kill()
            return f"the worker did not start within {self._trial_timeout:g} s"
        finally:
            self.trial = self._trying = None

    async def ask(self, question: Question, timeout: float) -> Answer | None:  # noqa: ASYNC109 - None, not an error
        """Return the worker's answer, or None if it does not listen or does not answer in time."""
        if not self.listening or self._channel is None:
            return None
        self._asked += 1
        number = self._asked
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        try:
            self._channel.send(Ask(number, question))
            await asyncio.wait((answer,), timeout=timeout)
            return answer.result() if answer.done() else None
        finally:
            del self._questions[number]

    def checks(self) -> list[Check]:
        """Return the worker's state and its checks of issuers and clusters."""
        own = [Check(f"{self.name}/{check.name}", check.good, check.detail) for check in self._status.checks]
        return [Check(self.name, self.listening, self._state()), *own]

    def _state(self) -> str:
        before = f"; the previous worker ended by {self._last_end}" if self._last_end else ""
        if self._pid is None:
            wait = max(0.0, self._due_at - self._clock.monotonic())
            why = " (the log has the reason)" if self.failure else ""
            times = f" {self._ends} times in a row, last" if self._ends > 1 else ""
            return f"ended{times} by {self._last_end}{why}; starts again in {wait:.0f} s"
        return f"process {self._pid} {'listens' if self._status.listening else 'starts'}{before}"

    async def _receive(self, channel: Channel, on_report: Callable[[Slot, Report], None]) -> None:
        while (report := await channel.receive()) is not None:
            self._silent = 0.0
            match report:
                case Status():
                    self._status = report
                    if report.listening:
                        self._tried(None)
                case Adopted(error):
                    self._answer(error)
                case Failed(error):
                    self.failure = error
                    self._tried(error)
                case Answered(number, answer):
                    waiting = self._questions.get(number)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer)
                case Keys():
                    pass
                case Adopt() | Drain() | Stop() | Ask():
                    raise AssertionError("only the supervisor sends these")
            on_report(self, report)

    def _answer(self, error: str | None) -> None:
        if self._adopted is not None and not self._adopted.done():
            self._adopted.set_result(error)

    def _tried(self, error: str | None) -> None:
        if self._trying is not None and not self._trying.done():
            self._trying.set_result(error)

    def _forget(self) -> None:
        self._pid = None
        self._status = Status(listening=False, checks=())
        self._answer("the worker ended while applying it")
        self._tried("the worker ended while starting with it")
        for question in self._questions.values():
            if not question.done():
                question.set_result(None)
        if self._receiving is not None:
            self._receiving.cancel()
        if self._channel is not None:
            self._channel.close()
        self._channel = self._receiving = None
