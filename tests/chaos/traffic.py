"""Send requests on kept connections as a proxy does, and check each answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from tests.chaos.judge import Caller, LabelledCounter, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_RECONNECT_AFTER = 50  # requests: the kernel chooses the worker when a connection opens
_PAUSE_AFTER_LOSS = 0.05


class Connection:
    """One kept connection. It is opened again if the gate closed it."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = 0
        self.address = ""

    @property
    def open(self) -> bool:
        """Whether a connection is open for the next request."""
        return self._streams is not None

    async def ask(self, address: str, token: str) -> Reply:
        """Send one request, on a new connection to `address` if none is open."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(address, token)
        except TimeoutError:
            self.close()
            return Reply(0, error=f"no answer within {self._timeout:g} s")
        except (OSError, EOFError) as error:
            self.close()
            return Reply(0, error=f"connection failed: {type(error).__name__}")

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def _ask(self, address: str, token: str) -> Reply:
        if self._streams is None:
            host, _, port = address.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port))
            self._left, self.address = _RECONNECT_AFTER, address
        reader, writer = self._streams
        writer.write(f"GET /verify HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        await reader.readexactly(int(headers.get("content-length", "0")))
        self._left -= 1
        if headers.get("connection", "").lower() == "close" or self._left <= 0:
            self.close()
        return Reply(int(head[0].split(" ", 2)[1]), headers)


class Load:
    """Clients that send requests for all callers in turn, at a fixed rate, during its `async with`.

    `addresses` returns the gate for each new connection; None means that no gate accepts connections now.
    `callers` can change at any time.
    """

    def __init__(
        self,
        tally: LabelledCounter,
        callers: Sequence[Caller],
        addresses: Callable[[], str | None],
        *,
        rate: float = 200.0,
        clients: int = 16,
        timeout: float = 5.0,
    ) -> None:
        self.callers = list(callers)
        self._tally = tally
        self._addresses = addresses
        self._rate = rate
        self._clients = clients
        self._timeout = timeout
        self._turn = itertools.count()
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tally.restart_gap(time.monotonic())
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True  # requests in progress are still checked
        _, late = await asyncio.wait(self._tasks, timeout=self._timeout + 1)
        for task in late:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tally.close(time.monotonic())
        if error is None:
            for result in results:
                if isinstance(result, Exception):
                    raise result

    async def _client(self, number: int) -> None:
        period = self._clients / self._rate
        due = time.monotonic() + period * number / self._clients
        connection = Connection(self._timeout)
        with suppress(asyncio.CancelledError):
            while not self._ending:
                await asyncio.sleep(due - time.monotonic())
                due = max(due + period, time.monotonic())
                await self._turn_of(self.callers[next(self._turn) % len(self.callers)], connection)
        connection.close()

    async def _turn_of(self, caller: Caller, connection: Connection) -> None:
        address = connection.address if connection.open else self._addresses()
        if address is None:
            return
        begin = time.monotonic()
        reply = await connection.ask(address, caller.token)
        self._tally.record(caller, reply, begin, time.monotonic())
        if reply.error:
            await asyncio.sleep(_PAUSE_AFTER_LOSS)
