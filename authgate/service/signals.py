"""The signals of a service: SIGTERM and SIGINT end it, SIGHUP reloads the configuration file."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from authgate.observability.log import event

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Signals:
    """Handle SIGTERM, SIGINT and SIGHUP inside a `with` block. SIGHUP is ignored if `reload` is None."""

    def __init__(self, reload: Callable[[], None] | None) -> None:
        self._reload = reload
        self._received: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received.put_nowait, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload or _ignore_hangup)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)

    @property
    def arrived(self) -> bool:
        """Whether a signal to end waits to be handled."""
        return not self._received.empty()

    async def end(self, delay: float, drain: Callable[[], None]) -> None:
        """Wait for a signal, call `drain`, and return when it is time to stop.

        That is after `delay` seconds for SIGTERM, or at a second signal. SIGINT comes from a person at a terminal, and
        there is no load balancer to wait for.
        """
        number = await self._received.get()
        event(logging.INFO, "shutting down", signal=number.name)
        drain()
        if number is signal.SIGTERM and delay:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._received.get(), delay)


def _ignore_hangup() -> None:
    event(
        logging.WARNING, "SIGHUP ignored: authgate runs without --config, so there is no file to read again"
    )
