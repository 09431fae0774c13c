"""One call for all callers that wait for the same result."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one call per key at a time. The call continues if a waiting caller is cancelled."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}

    def in_progress(self, key: K) -> bool:
        """Return whether a call for `key` is running."""
        return key in self._tasks

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return the result of the running call for `key`; if no call is running, start `work`."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.ensure_future(self._run(work))
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
            self._tasks[key] = task
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel all running calls and wait until they have ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _run(work: Callable[[], Awaitable[V]]) -> V:
        return await work()
