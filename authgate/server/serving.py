"""What listeners need of one configuration: its gate, how subrequests are read, and its token exchange."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authgate.credential.sources import ONLY_AUTHORIZATION

if TYPE_CHECKING:
    from types import TracebackType

    from authgate.credential.sources import Sources
    from authgate.gate import Gate
    from authgate.server.exchange import Exchange
    from authgate.vocabulary import Proxy


@dataclass(slots=True, eq=False)
class Serving:
    """A gate, the proxy whose headers it trusts, and where tokens are found.

    Enter it while waiting for one of its decisions: `idle` waits for those that have entered.
    """

    gate: Gate
    proxy: Proxy | None
    sources: Sources = ONLY_AUTHORIZATION
    exchange: Exchange | None = None
    _in_flight: int = field(default=0, init=False)
    _left: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __enter__(self) -> Gate:
        self._in_flight += 1
        return self.gate

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._left.set()

    async def idle(self) -> None:
        """Return once no decision is in flight. Await it when no new one can start."""
        if self._in_flight:
            self._left.clear()
            await self._left.wait()
