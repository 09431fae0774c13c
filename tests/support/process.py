"""Run programs as child processes. They are ready when they respond, and end with the test."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Self

_POLL = 0.02  # seconds
_PORTS = range(15000, 32000)
"""Below the ephemeral ports: no outgoing connection can take the port of a stopped server, and no client that
retries such a port can connect to itself."""
_FIRST = random.randrange(len(_PORTS))
_ports: Iterator[int] = cycle([*_PORTS[_FIRST:], *_PORTS[:_FIRST]])
"""The next ports to try. They begin elsewhere in each test run, because several can run at the same time."""


class ChildFailedError(Exception):
    """A child process ended, or was not ready in time. The text has the end of its log."""


def free_port(count: int = 1) -> int:
    """Return a free TCP port of loopback, the first of `count` consecutive ones.

    A run returns no port twice: its server may not have started yet, or may start again.
    """
    for port in islice(_ports, 1000):
        if all(map(_is_free, range(port, port + count))):
            for _ in range(1, count):
                next(_ports)
            return port
    raise ChildFailedError(f"1000 ports tried between {_PORTS.start} and {_PORTS.stop}, none is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def accepts(port: int) -> bool:
    """Return whether this port of loopback accepts connections."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def until(
    holds: Callable[[], Awaitable[bool]],
    *,
    within: float,
    otherwise: Callable[[], str] = lambda: "still false",
) -> None:
    """Wait until `holds` returns True. After `within` seconds raise ChildFailedError with the text of `otherwise`."""
    try:
        async with asyncio.timeout(within):
            while not await holds():  # noqa: ASYNC110 - another process sets no event of ours
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise ChildFailedError(f"not within {within:g} s: {otherwise()}") from None


class ChildProcess:
    """One child process with its output in a file. `async with` runs it, and ends it with its children.

    It uses no event loop of its own, so a fixture's loop may start it and a test's loop stop it. If the test run is
    killed, the kernel sends it `death_signal` (this needs setpriv of util-linux).
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], Awaitable[bool]],
        within: float = 60.0,
        grace: float = 30.0,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Poll `ready` for `within` seconds at each start. A stop waits `grace` seconds before it kills.

        `environment` replaces the inherited one. A restart appends to `log`.
        """
        self.name = Path(command[0]).name
        self.log = log
        self._command = [*_dies_with_parent(death_signal), *map(str, command)]
        self._ready = ready
        self._within = within
        self._grace = grace
        self._environment = None if environment is None else dict(environment)
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The process id. If it does not run, this is a ChildFailedError."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._child is not None and self._child.poll() is None

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for a signal. None before the start and while it runs."""
        return None if self._child is None else self._child.poll()

    async def start(self) -> None:
        """Start it and wait until it is ready. If it is not ready in time, stop it and raise ChildFailedError."""
        if self.running:
            raise ChildFailedError(f"{self.name} is running already")
        with self.log.open("ab") as output:
            # A new session, so that Ctrl-C only ends the tests, which then end their children in order.
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )
        try:
            await until(self._ready_or_dead, within=self._within, otherwise=self._not_ready)
            if not self.running:
                raise ChildFailedError(self._not_ready())
        except BaseException:  # also for a cancellation: the child must not continue to run
            await self.stop(grace=0)
            raise

    async def stop(self, *, grace: float | None = None) -> int | None:
        """End it with SIGTERM, and after `grace` seconds with SIGKILL (0: at once); return its exit status."""
        child = self._child
        if child is None:
            return None
        grace = self._grace if grace is None else grace
        if child.poll() is None and grace > 0:
            child.send_signal(signal.SIGTERM)
            await self.ended(within=grace)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)  # the group includes its own children
            await self.ended(within=30)
        return child.poll()

    async def ended(self, *, within: float) -> bool:
        """Return whether it ends by itself within so many seconds. `exit_status` then has its status."""

        async def has_ended() -> bool:
            return not self.running

        try:
            await until(has_ended, within=within)
        except ChildFailedError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Send the running process a signal."""
        self._running().send_signal(number)

    def output(self) -> str:
        """Return its output, with stdout and stderr combined."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        """Return the last lines of its output."""
        return "\n".join(self.output().splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or not self.running:
            raise ChildFailedError(f"{self.name} is not running; the end of its log:\n{self.log_tail()}")
        return self._child

    async def _ready_or_dead(self) -> bool:
        return not self.running or await self._ready()

    def _not_ready(self) -> str:
        state = "is not ready" if self.running else f"ended with status {self.exit_status}"
        return f"{self.name} {state}; the end of {self.log}:\n{self.log_tail()}"


def _dies_with_parent(number: signal.Signals) -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", number.name.removeprefix("SIG"), "--"] if setpriv else []
