"""One gate: how it starts, applies another configuration, drains and stops."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from authgate.compose import CompositionError, Dependencies, compose
from authgate.compose.generation import run_forever
from authgate.observability.audit import Audit, AuditFields
from authgate.observability.log import event, set_level
from authgate.observability.metrics import Gauges, Metrics
from authgate.server.admin import Check, Readiness, admin_runner
from authgate.server.admin.access import GateGuard
from authgate.server.admin.status import ConfigurationDetails
from authgate.server.listeners import ListenError, Listeners
from authgate.server.pressure import Pressure
from authgate.server.recent import resized
from authgate.server.record import Recorder
from authgate.service.limits import exhausted
from authgate.service.ports import Answering, Ports
from authgate.service.process import ClockWatch, SystemClock, reap_orphans
from authgate.service.reload import Reloader
from authgate.service.restart_only import keep_restart_only
from authgate.service.signals import Signals
from authgate.service.status import Inspected, StatusBoard
from authgate.service.summary import log_start
from authgate.vocabulary import SERVICE_ACCOUNT_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.compose import Generation
    from authgate.config import Config
    from authgate.keys.jwk import KeyDocument
    from authgate.observability.tracing import Tracing
    from authgate.server.admin.status import GateStatus, Inspection
    from authgate.server.listeners import SharedAddresses
    from authgate.service.reload import ConfigFile


_HOUSEKEEPING_INTERVAL = 1.0


class Service:
    """One gate with its ports, and the generation of the configuration that it answers by.

    With a `file`, it applies the file's changes. With `shared`, it is one of several workers, and their supervisor has
    the admin port. `service_account_dir` is where a pod finds its own account. `dropped_lines` returns the number of
    dropped log lines.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        service_account_dir: str = SERVICE_ACCOUNT_DIR,
        *,
        file: ConfigFile | None = None,
        metrics: Metrics | None = None,
        shared: SharedAddresses | None = None,
        dropped_lines: Callable[[], int] = int,
        on_keys: Callable[[str, KeyDocument], None] = lambda _place, _document: None,
    ) -> None:
        self._config = config
        self._file = None if file is None else file.path
        self.metrics = Metrics() if metrics is None else metrics
        self.metrics.gauges = self._gauges
        clock = SystemClock()
        count_suppressed = self.metrics.unlabelled("authgate_audit_suppressed").counter(())
        self._audit = Audit(config.log.audit, clock, count_suppressed, fields=_audit_fields(config))
        self._recorder = recorder = Recorder(self.metrics, self._audit)
        recorder.recent = resized(None, config.kept_decisions)
        self._pressure = Pressure(self.metrics, clock)
        self._dependencies = Dependencies(
            clock=clock,
            metrics=self.metrics,
            environ=environ,
            service_account_dir=service_account_dir,
            tracing=_tracing_of(config),
        )
        self._is_worker = shared is not None
        answering = Answering(
            serving=lambda: self._generation or self.generation,  # a property is slower
            ready=lambda: self.readiness().ready,
            metrics=self.metrics,
            recorder=recorder,
            pressure=self._pressure,
            clock=clock,
            tracing=self._dependencies.tracing,
        )
        self.ports = Ports(config, answering, shared)
        self._admin = Listeners()
        self._board = StatusBoard(clock)
        self.guard: Final = GateGuard(
            lambda: self.generation,
            lambda: self._config.admin.policy,
            metrics=self.metrics,
            audit=self._audit,
            clock=clock,
            tracing=self._dependencies.tracing,
        )
        self._unread = ConfigurationDetails(applied_at=clock.now())
        self._reloader = Reloader(file, config, self.adopt, self.metrics) if file else None
        self._dropped_lines = dropped_lines
        self._on_keys = on_keys
        self._generation: Generation | None = None
        self._housekeeping: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._ending = False
        self._served_certificates: dict[tuple[str, str], tuple[float, float]] = {}

    async def start(self) -> None:
        """Open the ports; raise `CompositionError` or `ListenError`, and leave nothing open then."""
        try:
            self._generation = await self._compose(self._config)
            self._generation.start()
            self._housekeeping = asyncio.create_task(self._run_housekeeping())
            if not self._is_worker:
                self.metrics.workers = 1
                self.metrics.count_reload("success")
                await self._open_admin()
            await self.ports.open()
            self._read_served_certificates()
            if self._reloader is not None:
                self._reloading = asyncio.create_task(run_forever(self._reloader.run, self.metrics))
        except (CompositionError, ListenError):
            await self.stop()
            raise
        if not self._is_worker:
            generation = self.generation
            verifiers = {**generation.issuers, **generation.clusters.verifiers}
            log_start(
                self._config,
                file=self._file,
                verify=", ".join(self.verify_addresses),
                admin=self.admin_address or "",
                grpc=self.ports.grpc_address or "",
                exchange=", ".join(self.ports.exchange_addresses),
                workers=1,
                keys={name: len(verifier.kids) for name, verifier in verifiers.items()},
            )

    async def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Start, call `on_start`, serve until SIGTERM or SIGINT, then drain and stop. Raise as `start` does.

        If a signal arrives while the service starts, `on_start` is not called.

        Signals are handled before a port accepts a connection: a client that connected can be answered. After SIGTERM,
        requests are answered for `shutdown.delay` seconds more, so that load balancers can remove the gate. SIGINT
        comes from a person at a terminal and has no delay.
        """
        with Signals(self._reloader.ask if self._reloader else None) as signals:
            await self.start()
            if not signals.arrived:
                on_start()
            await signals.end(self._config.shutdown.delay, self.drain)
            await self.stop()

    async def adopt(self, config: Config) -> None:
        """Answer by another configuration from the next request on, or raise `CompositionError` and change nothing.

        Settings that need a restart keep their values (`restart_only`). The previous generation decides the requests
        that it has begun.
        """
        config = keep_restart_only(self._config, config)
        new = await self._compose(config)
        new.start()
        try:
            await new.warm_up()
        except BaseException:
            await new.close()
            raise
        previous = self.generation
        new.inherit(previous)
        self._generation, self._config = new, config
        # Now, since the new generation's cache will keep answers that are audited, or not, as configured.
        self._audit.use(config.log.audit, _audit_fields(config))
        self._recorder.recent = resized(self._recorder.recent, config.kept_decisions)
        set_level(config.log.level)
        retiring = asyncio.create_task(self._retire(previous))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def drain(self) -> None:
        """Report that the gate is not ready, and close HTTP connections with their next answers."""
        self._ending = True
        self.ports.drain()

    async def stop(self) -> None:
        """Close the ports once their requests are answered, then everything else, and the admin port last."""
        self.drain()
        await _cancel(self._reloading)
        await self.ports.close()
        await _cancel(self._housekeeping)
        self._audit.flush(everything=True)
        if self._generation is not None:
            await self._generation.close()
        await _cancel(*self._retiring)
        if self._dependencies.tracing is not None:
            await self._dependencies.tracing.close()
        await self._admin.close()

    @property
    def generation(self) -> Generation:
        """The generation in use."""
        if self._generation is None:
            raise AssertionError("start the service first")
        return self._generation

    @property
    def verify_addresses(self) -> list[str]:
        """The addresses of the verify port, with real port numbers."""
        return self.ports.verify_addresses

    @property
    def admin_address(self) -> str | None:
        """The address of the admin port, or None."""
        return self._admin.addresses[0] if self._admin.addresses else None

    def checks(self) -> list[Check]:
        """Return for each issuer and cluster whether its tokens can be decided now."""
        return [Check(*state) for state in self._generation.states()] if self._generation else []

    def readiness(self) -> Readiness:
        """Return whether at least one issuer's or cluster's tokens can be decided, and all checks."""
        shutdown = Check("shutdown", not self._ending, "ending" if self._ending else "not ending")
        configuration = [self._reloader.check()] if self._reloader else []
        checks = self.checks()
        ready = not self._ending and any(check.good for check in checks)
        return Readiness(ready, (shutdown, *checks, *configuration))

    def inspect(self, *, decisions: bool) -> Inspection:
        """Return what this process shows on the page, with its latest decisions if they are asked for."""
        kept = self._recorder.recent
        latest = kept.latest() if decisions and kept is not None else ()
        return replace(self.generation.inspect(), decisions=latest)

    async def status(self, named: bool) -> GateStatus | None:
        """Return the status for the page, with the latest decisions if `named`, or None if the page is off."""
        if not self._config.admin.page:
            return None
        self.metrics.publish()
        return self._board.status(
            self._config,
            [(self.metrics.store, True)],
            readiness=self.readiness(),
            configuration=self._reloader.details() if self._reloader else self._unread,
            inspected=Inspected([self.inspect(decisions=named)], 1),
            named=named,
        )

    def take_keys(self, place: str, document: KeyDocument) -> None:
        """Use the keys that another process fetched from a place."""
        for keys in self.generation.key_sets:
            if keys.place == place:
                keys.adopt(document)

    async def _open_admin(self) -> None:
        address = self._config.server.admin
        if address is None:
            return
        import authgate.observability.exposition  # noqa: F401 - now: without a free descriptor it could not be loaded later

        runner = admin_runner(
            self.metrics,
            readiness=self.readiness,
            status=self.status,
            guard=self.guard,
            documents=self._documents,
            metrics=self.metrics,
        )
        await self._admin.open(runner, address)

    async def _compose(self, config: Config) -> Generation:
        generation = await compose(config, self._dependencies)
        for keys in generation.key_sets:
            keys.on_document = partial(self._on_keys, keys.place)
        return generation

    async def _retire(self, previous: Generation) -> None:
        await previous.retire()
        self.metrics.keep_only_issuers(self.generation.issuer_names())

    def _documents(self) -> dict[str, bytes]:
        return self.generation.documents()

    def _gauges(self) -> Gauges:
        gauges = Gauges() if self._generation is None else self._generation.gauges()
        return replace(gauges, credentials={**gauges.credentials, **self._served_certificates})

    def _read_served_certificates(self) -> None:
        """Read when the certificates of the ports expire. They are read only now, as the ports read them."""
        config = self._config
        sections = {"server": config.server.tls, "exchange": config.exchange.tls if config.exchange else None}
        for name, tls in sections.items():
            if tls is None:
                continue
            from authgate.cluster.validity import CertificateValidity  # not needed by most gates

            validity = CertificateValidity(Path(tls.cert_file))()
            if validity is not None:
                span = validity.ends - validity.begins
                self._served_certificates["server certificate", name] = validity.ends, span

    async def _run_housekeeping(self) -> None:
        dropped, watch = self._dropped_lines(), ClockWatch()
        while True:
            if not self._is_worker:  # the supervisor logs it once for all workers
                watch.look(self._dependencies.clock.now())
            await asyncio.sleep(_HOUSEKEEPING_INTERVAL)
            self._audit.flush()
            if self._admin.addresses:
                self._board.observe([(self.metrics.store, True)])
            if not self._dependencies.programs.count:  # else an ended child may be an exec plugin
                reap_orphans()
            if exhausted():
                self._pressure.descriptors_exhausted()
            before, dropped = dropped, self._dropped_lines()
            if dropped > before:
                self.metrics.log_dropped += dropped - before
                event(logging.WARNING, "log lines dropped: stderr was not being read", lines=dropped - before)


def _tracing_of(config: Config) -> Tracing | None:
    settings = config.tracing
    if settings is None:
        return None
    from authgate.observability.tracing import Tracing

    return Tracing(
        settings.url, ratio=settings.ratio, ca_file=settings.ca_file, headers=dict(settings.headers)
    )


def _audit_fields(config: Config) -> AuditFields:
    fields = config.log.audit_fields
    return AuditFields(fields.path, fields.token_id)


async def _cancel(*tasks: asyncio.Task[None] | None) -> None:
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)
