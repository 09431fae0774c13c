"""The gate that answers now, and how many requests it still decides when another takes its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authgate.credential.sources import ONLY_AUTHORIZATION

if TYPE_CHECKING:
    from types import TracebackType

    from authgate.credential.sources import Sources
    from authgate.gate import Gate
    from authgate.vocabulary import Proxy


class Serving:
    """A gate, and the proxy whose headers it trusts, if any; entered by whoever waits for one of its decisions."""

    __slots__ = ("_left", "_under_way", "gate", "proxy", "sources")

    def __init__(self, gate: Gate, proxy: Proxy | None, sources: Sources = ONLY_AUTHORIZATION) -> None:
        self.gate = gate
        self.proxy = proxy
        self.sources = sources
        self._under_way = 0
        self._left = asyncio.Event()

    def __enter__(self) -> Gate:
        self._under_way += 1
        return self.gate

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._left.set()

    async def idle(self) -> None:
        """Return once nobody waits for a decision; to be awaited when nobody new will."""
        if self._under_way:
            self._left.clear()
            await self._left.wait()
