"""A process that answers requests for a supervisor: forked from it, told by it what to do, and gone when it is gone."""

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
from authgate.service.channel import Adopt, Adopted, Channel, Drain, Failed, Keys, Status, Stop
from authgate.service.live import LiveGate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from mmap import mmap

    from authgate.config import Config
    from authgate.server.listeners import SharedAddresses

TURN = 0.5
"""Seconds between two words of a worker about how it is."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STANDARD_ERROR = 2
_BROKEN = 70  # EX_SOFTWARE of sysexits.h
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the supervisor has them, too, and says what to do


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a worker has of its supervisor."""

    config: Config
    environ: Mapping[str, str]
    service_account_dir: str
    addresses: SharedAddresses
    memory: mmap
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None


def fork_worker(inheritance: Inheritance) -> tuple[int, socket.socket]:
    """Start a worker; return its process id and the supervisor's end of the channel to it.

    To be called while no event loop runs. The child never returns: it lives on this stack and ends the process.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    # No signal may arrive between fork and the moment from which the child no longer has its parent's handlers.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        status = _BROKEN
        try:
            _die_with(parent)
            status = _live(inheritance, theirs, mask)
        except BaseException as error:  # noqa: BLE001 - nothing of the parent's stack may be unwound here
            os.write(_STANDARD_ERROR, traceback_of(error).encode())
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return pid, ours


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, busy or stuck as it may be (Linux).

    A worker that runs also ends when the channel closes, which is what other systems rely on.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(_BROKEN)


def _live(inheritance: Inheritance, channel: socket.socket, mask: set[signal.Signals | int]) -> int:
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
    """Close what else the supervisor has open: its port and connections, and its channels to other workers.

    Their Python objects are never told: they stay on the stack below until the process ends.
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
        self._metrics = Metrics(SharedCounterStore(inheritance.memory))
        self._listening = False
        self._live = LiveGate(
            inheritance.config,
            self._metrics,
            inheritance.environ,
            inheritance.service_account_dir,
            dropped_lines=dropped_lines,
            shared=inheritance.addresses,
        )

    async def run(self) -> int:
        """Answer until the supervisor says otherwise or is gone; return the exit status."""
        channel = await Channel.over(self._socket)
        telling = asyncio.create_task(self._keep_telling(channel))
        try:
            self._live.on_keys = lambda place, document: channel.send(
                Keys(place, document.data, document.origin, document.issuer)
            )
            await self._live.prepare()
            await self._live.listen()
            self._listening = True
            channel.send(self._told())
            await self._obey(channel)
        except (CompositionError, ListenError) as error:
            channel.send(Failed(str(error)))
            with suppress(ConnectionError):
                await channel.sent()
            return 1
        finally:
            await self._live.close()
            telling.cancel()
            channel.close()
        return 0

    async def _obey(self, channel: Channel) -> None:
        while True:
            match await channel.receive():
                case Adopt(config):
                    channel.send(Adopted(await self._adopt(config)))
                case Keys(place, data, origin, issuer):
                    with suppress(KeyDocumentError):
                        self._live.take_keys(place, replace(read_jwk_set(data, origin), issuer=issuer))
                case Drain():
                    self._live.begin_ending()
                case Stop() | None:
                    return
                case Status() | Adopted() | Failed():
                    raise AssertionError("these are a worker's own words")

    async def _adopt(self, config: Config) -> str | None:
        try:
            await self._live.adopt(config)
        except CompositionError as error:
            return str(error)
        return None

    async def _keep_telling(self, channel: Channel) -> None:
        with suppress(ConnectionError):
            while True:
                self._metrics.publish()
                channel.send(self._told())
                await channel.sent()
                await asyncio.sleep(TURN)

    def _told(self) -> Status:
        return Status(self._listening, tuple(self._live.checks()))
