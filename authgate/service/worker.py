"""A worker: a process that a supervisor forks and directs, and that ends when the supervisor ends."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from authgate.compose import CompositionError
from authgate.keys.jwk import KeyDocumentError, read_jwk_set
from authgate.observability.counter_store import SharedCounterStore
from authgate.observability.log import configure, traceback_of
from authgate.observability.log_writer import BackgroundWriter
from authgate.observability.metrics import Metrics
from authgate.server.listeners import ListenError
from authgate.service.channel import (
    Adopt,
    Adopted,
    Answered,
    Ask,
    Channel,
    Drain,
    Failed,
    Inspect,
    Keys,
    Status,
    Stop,
)
from authgate.service.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from mmap import mmap

    from authgate.config import Config
    from authgate.keys.jwk import KeyDocument
    from authgate.server.listeners import SharedAddresses
    from authgate.service.channel import Answer, Question

STATUS_INTERVAL = 0.5
"""Seconds between two status messages of a worker."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STANDARD_ERROR = 2
_BROKEN = 70  # EX_SOFTWARE of sysexits.h
_IGNORED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
)  # the supervisor gets them, too, and directs the workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What a worker gets from its supervisor."""

    config: Config
    environ: Mapping[str, str]
    service_account_dir: str
    addresses: SharedAddresses
    memory: mmap
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None


def fork_worker(inheritance: Inheritance) -> tuple[int, socket.socket]:
    """Start a worker; return its process id and the supervisor's end of the channel to it.

    Call this while no event loop runs. The child process never returns from this call; it ends here.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    # No signal may arrive between the fork and the moment when the child replaces its parent's handlers.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        status = _BROKEN
        try:
            _exit_with_parent(parent)
            status = _run(inheritance, theirs, mask)
        except BaseException as error:  # noqa: BLE001 - the parent's stack must not be unwound here
            os.write(_STANDARD_ERROR, traceback_of(error).encode())
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return pid, ours


def _exit_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, even if this process is busy or stuck (Linux only).

    On other systems a worker ends when the channel closes, unless it is stuck.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(_BROKEN)


def _run(inheritance: Inheritance, channel: socket.socket, mask: set[signal.Signals | int]) -> int:
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _close_all_but({channel.fileno(), *inheritance.addresses.keep()})
    writer = BackgroundWriter(_STANDARD_ERROR)
    configure(inheritance.config.log.level, inheritance.config.log.format, writer)
    with asyncio.Runner(loop_factory=inheritance.loop_factory) as runner:
        status = runner.run(_Worker(inheritance, channel, writer.dropped).run())
    writer.drain()
    return status


def _close_all_but(kept: set[int]) -> None:
    """Close the supervisor's other descriptors: its port and connections, and its channels to other workers.

    Their Python objects remain on the stack below until the process ends.
    """
    begin = _STANDARD_ERROR + 1
    for descriptor in sorted(kept):
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


class _Worker:
    def __init__(
        self, inheritance: Inheritance, one: socket.socket, dropped_lines: Callable[[], int]
    ) -> None:
        self._socket = one
        self._channel: Channel | None = None
        self._listening = False
        self._answering: set[asyncio.Task[None]] = set()
        self._service = Service(
            inheritance.config,
            inheritance.environ,
            inheritance.service_account_dir,
            metrics=Metrics(SharedCounterStore(inheritance.memory)),
            shared=inheritance.addresses,
            dropped_lines=dropped_lines,
            on_keys=self._share_keys,
        )

    async def run(self) -> int:
        """Answer until the supervisor ends or stops the worker; return the exit status."""
        channel = self._channel = await Channel.over(self._socket)
        reporting = asyncio.create_task(self._keep_reporting(channel))
        try:
            await self._service.start()
            self._listening = True
            channel.send(self._status())
            await self._handle_messages(channel)
        except (CompositionError, ListenError) as error:
            channel.send(Failed(str(error)))
            with suppress(ConnectionError):
                await channel.drain()
            return 1
        finally:
            for answering in self._answering:
                answering.cancel()
            await self._service.stop()
            reporting.cancel()
            channel.close()
        return 0

    async def _handle_messages(self, channel: Channel) -> None:
        while True:
            match await channel.receive():
                case Adopt(config):
                    channel.send(Adopted(await self._adopt(config)))
                case Keys(place, data, origin, issuer):
                    with suppress(KeyDocumentError):
                        self._service.take_keys(place, replace(read_jwk_set(data, origin), issuer=issuer))
                case Ask(number, question):
                    answering = asyncio.create_task(self._answer(channel, number, question))
                    self._answering.add(answering)
                    answering.add_done_callback(self._answering.discard)
                case Drain():
                    self._service.drain()
                case Stop() | None:
                    return
                case Status() | Adopted() | Failed() | Answered():
                    raise AssertionError("only a worker sends these")

    async def _answer(self, channel: Channel, number: int, question: Question) -> None:
        answer: Answer
        if isinstance(question, Inspect):
            answer = self._service.inspect(decisions=question.decisions)
        else:
            answer = await self._service.guard.admit(question)
        channel.send(Answered(number, answer))

    async def _adopt(self, config: Config) -> str | None:
        try:
            await self._service.adopt(config)
        except CompositionError as error:
            return str(error)
        return None

    def _share_keys(self, place: str, document: KeyDocument) -> None:
        if self._channel is not None:
            self._channel.send(Keys(place, document.data, document.origin, document.issuer))

    async def _keep_reporting(self, channel: Channel) -> None:
        with suppress(ConnectionError):
            while True:
                self._service.metrics.publish()
                channel.send(self._status())
                await channel.drain()
                await asyncio.sleep(STATUS_INTERVAL)

    def _status(self) -> Status:
        return Status(self._listening, tuple(self._service.checks()))
