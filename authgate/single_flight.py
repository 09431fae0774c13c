"""One shared piece of work for many who wait for the same answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one piece of work per key at a time; it outlives the cancellation of any one who waits for it."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}

    def under_way(self, key: K) -> bool:
        """Tell whether work for `key` is being done now."""
        return key in self._tasks

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return the result of the work under way for `key`, or of `work`, started now."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.ensure_future(self._run(work))
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
            self._tasks[key] = task
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel all work under way, and return when it has ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _run(work: Callable[[], Awaitable[V]]) -> V:
        return await work()
