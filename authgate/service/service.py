"""One gate in this process: it answers, tells how it is on its admin port, and ends on a signal."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from authgate import __version__
from authgate.cluster.connection import SERVICE_ACCOUNT_DIR
from authgate.compose import CompositionError
from authgate.observability.log import event
from authgate.observability.metrics import Metrics
from authgate.server.admin import Check, Readiness, admin_runner
from authgate.server.listeners import ListenError, Listeners
from authgate.service.generation import endless
from authgate.service.live import LiveGate
from authgate.service.reload import Reloader
from authgate.service.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.config import Config
    from authgate.service.reload import ConfigFile


class Service:
    """One gate with its listeners; `verify_addresses` and `admin_address` are real ones once it has started.

    `service_account_dir` is where a pod finds its own account. Where the configuration comes from a `file`, that is
    taken over when it changes. `dropped_lines` tells how many lines of the log could not be written.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        service_account_dir: str = SERVICE_ACCOUNT_DIR,
        *,
        file: ConfigFile | None = None,
        dropped_lines: Callable[[], int] = int,
    ) -> None:
        self._config = config
        self.metrics = Metrics()
        self.metrics.workers = 1
        self.live = LiveGate(config, self.metrics, environ, service_account_dir, dropped_lines=dropped_lines)
        self._admin = Listeners()
        self._reloader = Reloader(file, config, self.live.adopt, self.metrics) if file else None
        self._reloading: asyncio.Task[None] | None = None
        self._ending = False

    @property
    def verify_addresses(self) -> list[str]:
        """Where the verify port listens."""
        return self.live.addresses

    @property
    def admin_address(self) -> str | None:
        """Where the admin port listens, or None."""
        return self._admin.addresses[0] if self._admin.addresses else None

    async def start(self) -> None:
        """Begin to answer; raises `CompositionError` or `ListenError`, and leaves nothing open then."""
        try:
            await self.live.prepare()
            self.metrics.count_reload("success")
            if self._config.server.admin is not None:
                import authgate.observability.exposition  # noqa: F401 - now: without a file descriptor it could not be loaded later

                runner = admin_runner(self.metrics, self.readiness, self.live.documents, self.metrics)
                await self._admin.open(runner, self._config.server.admin)
            await self.live.listen()
            if self._reloader is not None:
                self._reloading = asyncio.create_task(endless(self._reloader.run, self.metrics))
        except (CompositionError, ListenError):
            await self.stop()
            raise
        event(
            logging.INFO,
            "authgate serves",
            service_version=__version__,
            verify=", ".join(self.verify_addresses),
            admin=self.admin_address or "",
            **({"grpc": self.live.grpc_address} if self.live.grpc_address else {}),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and stop.

        On SIGTERM `/readyz` fails at once, requests are answered for `shutdown.delay` seconds more, so that the
        balancer can turn away, then listeners close. SIGINT comes from a person at a terminal: there is no delay.
        """
        with Signals(self._reloader.ask if self._reloader else None) as signals:
            await signals.end(self._config.shutdown.delay, self._begin_ending)
            await self.stop()

    async def stop(self) -> None:
        """Close the verify port when its requests are done, then everything else."""
        self._begin_ending()
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)
        await self.live.close()
        await self._admin.close()

    def readiness(self) -> Readiness:
        """Tell whether at least one verifier can decide, and how each of them is."""
        shutdown = Check("shutdown", not self._ending, "ending" if self._ending else "not ending")
        configuration = [self._reloader.check()] if self._reloader else []
        usable = self.live.checks()
        ready = not self._ending and any(check.good for check in usable)
        return Readiness(ready, (shutdown, *usable, *configuration))

    def _begin_ending(self) -> None:
        self._ending = True
        self.live.begin_ending()
