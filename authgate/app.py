"""The composition root: a configuration becomes a running service, and a signal ends it in good order."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from authgate import __version__
from authgate.cluster.access import SERVICE_ACCOUNT_DIR
from authgate.compose import CompositionError, Pipeline, Surroundings, compose
from authgate.log import Audit, event, traceback_of
from authgate.metrics import Metrics
from authgate.server.admin import Check, Readiness, admin_runner
from authgate.server.connection import ConnectionLimits, verify_runner
from authgate.server.fit import lane_fits
from authgate.server.lane import FastLane
from authgate.server.listeners import ListenError, Listeners, TLSFiles, tls_context
from authgate.server.record import Recorder
from authgate.server.verify import VerifyHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from authgate.config import Config

__all__ = ["CompositionError", "ListenError", "Service", "SystemClock"]

_PROBE_EVERY = 5.0
_BACKGROUND_PAUSE = 5.0


class SystemClock:
    """The system's own time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Service:
    """One gate with its listeners; `verify_addresses` and `admin_address` are real ones once it has started.

    `service_account_dir` is where a pod finds its own account.
    """

    def __init__(
        self, config: Config, environ: Mapping[str, str], service_account_dir: str = SERVICE_ACCOUNT_DIR
    ) -> None:
        self._config = config
        self._clock = SystemClock()
        self.metrics = Metrics()
        self._around = Surroundings(self._clock, self.metrics, environ, service_account_dir)
        self._verify = Listeners()
        self._admin = Listeners()
        self._pipeline: Pipeline | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    @property
    def verify_addresses(self) -> list[str]:
        """Where the verify port listens."""
        return self._verify.addresses

    @property
    def admin_address(self) -> str | None:
        """Where the admin port listens, or None."""
        return self._admin.addresses[0] if self._admin.addresses else None

    async def start(self) -> None:
        """Begin to answer; raises `CompositionError` or `ListenError`, and leaves nothing open then."""
        try:
            self._pipeline = await compose(self._config, self._around)
            self.metrics.config_reloads["success"] += 1
            self.metrics.config_last_success = self._clock.now()
            await self._open_admin()
            for keys in self._pipeline.key_sets:
                self._tasks.append(asyncio.create_task(self._supervised(keys.keep_fresh)))
            for loop in self._pipeline.background:
                self._tasks.append(asyncio.create_task(self._supervised(loop)))
            if self._pipeline.cluster is not None:
                probe = partial(self._probe_cluster, self._pipeline)
                self._tasks.append(asyncio.create_task(self._supervised(probe)))
            await self._open_verify(self._pipeline)
        except (CompositionError, ListenError):
            await self.stop()
            raise
        event(
            logging.INFO,
            "authgate serves",
            service_version=__version__,
            verify=", ".join(self.verify_addresses),
            admin=self.admin_address or "",
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and stop.

        On SIGTERM `/readyz` fails at once, requests are answered for `shutdown.delay` seconds more, so that the
        balancer can turn away, then listeners close. SIGINT comes from a person at a terminal: there is no delay.
        """
        loop = asyncio.get_running_loop()
        received: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, received.put_nowait, number)
        try:
            number = await received.get()
            event(logging.INFO, "ending", signal=number.name)
            self._ending = True
            if number is signal.SIGTERM and self._config.shutdown.delay:
                with suppress(TimeoutError):  # a second signal cuts the delay short
                    await asyncio.wait_for(received.get(), self._config.shutdown.delay)
            await self.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def stop(self) -> None:
        """Close the verify port when its requests are done, then everything else."""
        self._ending = True
        await self._verify.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._pipeline is not None:
            await self._pipeline.close()
        await self._admin.close()

    def readiness(self) -> Readiness:
        """Tell whether at least one verifier can decide, and how each of them is."""
        checks = [Check("shutdown", not self._ending, "ending" if self._ending else "not ending")]
        usable = []
        if self._pipeline is not None:
            for name, verifier in self._pipeline.issuers.items():
                state = verifier.status()
                usable.append(Check(f"issuer/{name}", state.usable, state.detail))
            if self._pipeline.cluster is not None:
                good, detail = self._pipeline.cluster.status()
                usable.append(Check(f"cluster/{self._pipeline.cluster.name}", good, detail))
        ready = not self._ending and any(check.good for check in usable)
        return Readiness(ready, (*checks, *usable))

    async def _open_admin(self) -> None:
        if self._config.server.admin is None:
            return
        runner = admin_runner(self.metrics, self.readiness)
        await self._admin.open(runner, self._config.server.admin)

    async def _open_verify(self, pipeline: Pipeline) -> None:
        config, limits = self._config, self._config.limits
        recorder = Recorder(self.metrics, Audit(config.log.audit, self._clock, self._count_suppressed))
        handler = VerifyHandler(
            lambda: pipeline.gate,
            proxy=config.server.proxy,
            max_header_bytes=limits.max_header_bytes,
            metrics=self.metrics,
            recorder=recorder,
            clock=self._clock,
        )
        bounds = ConnectionLimits(
            limits.max_header_bytes,
            limits.max_headers,
            limits.header_timeout,
            config.server.keepalive_timeout,
            limits.max_connections,
        )
        files = config.server.tls
        tls = tls_context(TLSFiles(files.cert_file, files.key_file, files.client_ca_file)) if files else None
        lane = self._lane(pipeline, recorder) if config.server.fast_lane else None
        runner = verify_runner(handler, bounds, self.metrics, config.shutdown.timeout, lane)
        for address in config.server.listen:
            await self._verify.open(runner, address, None if address.startswith("unix:") else tls)

    def _lane(self, pipeline: Pipeline, recorder: Recorder) -> FastLane | None:
        if not lane_fits():
            event(
                logging.WARNING,
                "the fast lane is off: this aiohttp differs from the one that it was proven with",
            )
            return None
        limits = self._config.limits
        return FastLane(
            lambda: pipeline.gate,
            recorder,
            self._clock,
            max_header_bytes=limits.max_header_bytes,
            max_headers=limits.max_headers,
        )

    async def _supervised(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a background loop for ever: an error that nobody expected is logged, and the loop begins anew."""
        while True:
            try:
                return await loop()
            except Exception as error:  # noqa: BLE001 - the last line of defence: keys must go on being refreshed
                self.metrics.internal_errors += 1
                event(
                    logging.ERROR,
                    "unexpected error in the background; it is tried again",
                    error_type=type(error).__name__,
                    exception_stacktrace=traceback_of(error),
                )
                await asyncio.sleep(_BACKGROUND_PAUSE)

    async def _probe_cluster(self, pipeline: Pipeline) -> None:
        """Find out, while local keys cannot decide, whether TokenReview can: else nobody would ever send a request."""
        cluster = pipeline.cluster
        while cluster is not None:
            good, _ = cluster.status()
            if not good:
                await cluster.probe()
            await asyncio.sleep(_PROBE_EVERY)

    def _count_suppressed(self) -> None:
        self.metrics.audit_suppressed += 1
