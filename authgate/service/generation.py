"""One configuration at work: its pipeline, what has to run beside it, and the requests that it decides."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from authgate.compose.sources import sources_of
from authgate.observability.log import event, traceback_of
from authgate.server.exchange import Exchange
from authgate.server.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.compose import Pipeline
    from authgate.config import Config
    from authgate.observability.metrics import Metrics
    from authgate.verify.cluster import ClusterVerifier

_PROBE_EVERY = 5.0
_BACKGROUND_PAUSE = 5.0


class Generation:
    """A pipeline between its first request and its last one; `serving` is what listeners decide with."""

    def __init__(self, pipeline: Pipeline, config: Config, metrics: Metrics) -> None:
        self.pipeline = pipeline
        self.serving = Serving(pipeline.gate, config.server.proxy, sources_of(config.credential))
        self.exchange: Exchange | None = None
        exchange = config.exchange
        if exchange is not None and pipeline.issuer is not None:
            offered = {name: frozenset(audiences) for name, audiences in exchange.audiences.items()}
            self.exchange = Exchange(self.serving, pipeline.issuer, offered, exchange.ttl)
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to keep keys fresh, and whatever else has to run for ever."""
        loops: list[Callable[[], Awaitable[None]]] = [
            *(keys.keep_fresh for keys in self.pipeline.key_sets),
            *self.pipeline.background,
            *(partial(_probe_cluster, cluster) for cluster in self.pipeline.reviewed),
        ]
        self._tasks += (asyncio.create_task(endless(loop, self._metrics)) for loop in loops)

    async def warm_up(self, patience: float) -> None:
        """Fetch the keys that are not there yet, for at most so many seconds; a failure is none of this."""
        fetches = [asyncio.create_task(keys.refresh()) for keys in self.pipeline.key_sets]
        if fetches:
            await asyncio.wait(fetches, timeout=patience)

    async def retire(self) -> None:
        """Stop what runs beside it, and close when the last request is decided; no new ones may come any more."""
        try:
            await self._stop_tasks()
            await self.serving.idle()
        finally:  # also when the gate ends meanwhile and cancels this
            await self.pipeline.close()

    async def close(self) -> None:
        """End it now, with whatever waits for a fetch or a review."""
        await self._stop_tasks()
        await self.pipeline.close()

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def endless(loop: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    """Run a background loop for ever: an error that nobody expected is logged, and the loop begins anew."""
    while True:
        try:
            return await loop()
        except Exception as error:  # noqa: BLE001 - the last line of defence: keys must go on being refreshed
            metrics.internal_errors += 1
            event(
                logging.ERROR,
                "unexpected error in the background; it is tried again",
                error_type=type(error).__name__,
                exception_stacktrace=traceback_of(error),
            )
            await asyncio.sleep(_BACKGROUND_PAUSE)


async def _probe_cluster(cluster: ClusterVerifier) -> None:
    """Find out, while local keys cannot decide, whether TokenReview can: else nobody would ever send a request.

    Where legacy tokens are reviewed, a TokenReview that fails is probed, too, until it answers again.
    """
    while True:
        if cluster.needs_probe():
            await cluster.probe()
        await asyncio.sleep(_PROBE_EVERY)
