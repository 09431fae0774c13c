"""The gate at work: one configuration after the other, and the sockets on which it answers."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from authgate.compose import Dependencies, compose
from authgate.observability.audit import Audit
from authgate.observability.log import event
from authgate.server.admin import Check
from authgate.server.decider import Decider
from authgate.server.exchange import ExchangeHandler, signed_documents
from authgate.server.http.aiohttp_compat import lane_fits
from authgate.server.http.connection import ConnectionLimits, GateServer, runner_of
from authgate.server.http.fast_lane import FastLane
from authgate.server.http.handler import UnreadBodies, VerifyHandler
from authgate.server.http.head_budget import HeadBudget
from authgate.server.listeners import Listeners, TLSFiles, tls_context
from authgate.server.pressure import Pressure
from authgate.server.record import Recorder
from authgate.service.bounds import listeners_of
from authgate.service.clock import ClockWatch, SystemClock
from authgate.service.descriptors import connections_for, descriptor_limit, exhausted
from authgate.service.generation import Generation
from authgate.service.orphans import reap_orphans
from authgate.service.restart_only import keep_restart_only

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from authgate.config import Config, TLSConfig
    from authgate.keys.jwk import KeyDocument
    from authgate.listen_address import ListenAddress
    from authgate.observability.metrics import Metrics
    from authgate.server.grpc.listener import GrpcListener
    from authgate.server.listeners import SharedAddresses
    from authgate.server.serving import Serving

_WARM_UP = 5.0
_TURN = 1.0
_FORM_BYTES = 4096  # what a form may hold besides the token


class LiveGate:
    """Answers on the addresses of `server.listen` by the latest configuration that it took over.

    With `shared` the addresses are among those, and other processes answer there, too.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        environ: Mapping[str, str],
        service_account_dir: str,
        *,
        dropped_lines: Callable[[], int],
        shared: SharedAddresses | None = None,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = SystemClock()
        count_suppressed = metrics.unlabelled("authgate_audit_suppressed").counter(())
        self._audit = Audit(config.log.audit, self._clock, count_suppressed)
        self._recorder = Recorder(metrics, self._audit)
        self._pressure = Pressure(metrics, self._clock)
        self._around = Dependencies(
            self._clock, metrics, environ, service_account_dir, on_difference=self._recorder.difference
        )
        self._dropped_lines = dropped_lines
        self._listeners = Listeners(shared)
        self._exchange = Listeners(shared)
        self._shared = shared is not None
        self._grpc: GrpcListener | None = None
        self._ending = False
        self._generation: Generation | None = None
        self._housekeeping: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

        self.on_keys: Callable[[str, KeyDocument], None] = lambda _place, _document: None
        """Told of what was fetched, and from which place, for other processes to take."""

    @property
    def addresses(self) -> list[str]:
        """Where the verify port listens."""
        return self._listeners.addresses

    @property
    def exchange_addresses(self) -> list[str]:
        """Where tokens are exchanged: at one address or nowhere."""
        return self._exchange.addresses

    @property
    def grpc_address(self) -> str | None:
        """Where Envoy's gRPC is answered, or None."""
        return self._grpc.address if self._grpc else None

    async def prepare(self) -> None:
        """Put the configuration to work, without a listener yet; raises `CompositionError`."""
        self._generation = await self._composed(self._config)
        self._generation.start()
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def listen(self) -> None:
        """Open the verify port; raises `ListenError`."""
        config, limits = self._config, self._config.limits
        recorder = self._recorder
        handler = VerifyHandler(
            self._serving,
            metrics=self._metrics,
            recorder=recorder,
            clock=self._clock,
        )
        bounds = ConnectionLimits(
            max_header_bytes=limits.max_header_bytes,
            max_headers=limits.max_headers,
            header_timeout=limits.header_timeout,
            keepalive_timeout=config.server.keepalive_timeout,
            max_connections=self._max_connections(),
        )
        tls = _tls(config.server.tls)
        lane = self._lane(recorder) if config.server.fast_lane else None
        budget = HeadBudget(limits.max_unfinished_header_bytes, self._pressure.head_ended)
        server = GateServer(
            handler,
            bounds,
            self._metrics,
            lane=lane,
            budget=budget,
            on_refused=self._pressure.connection_refused,
            on_unread_body=UnreadBodies(self._clock),
        )
        runner = runner_of(server, config.shutdown.timeout)
        for address in config.server.listen:
            await self._listeners.open(runner, address, tls)
        await self._open_exchange(recorder, bounds, budget)
        if config.server.grpc is not None:
            await self._open_grpc(config.server.grpc, budget)

    async def _open_exchange(self, recorder: Recorder, bounds: ConnectionLimits, budget: HeadBudget) -> None:
        item = self._config.exchange
        if item is None:
            return
        handler = ExchangeHandler(
            lambda: self._now.exchange,
            max_body_bytes=self._config.limits.max_token_bytes + _FORM_BYTES,
            body_timeout=bounds.header_timeout,
            metrics=self._metrics,
            recorder=recorder,
        )
        server = GateServer(
            handler, bounds, self._metrics, budget=budget, on_refused=self._pressure.connection_refused
        )
        runner = runner_of(server, self._config.shutdown.timeout)
        await self._exchange.open(runner, item.listen, _tls(item.tls, "exchange.tls"))

    async def _open_grpc(self, address: ListenAddress, budget: HeadBudget) -> None:
        from authgate.server.grpc.listener import GrpcLimits, GrpcListener

        server, limits = self._config.server, self._config.limits
        self._grpc = GrpcListener(
            Decider(self._serving, metrics=self._metrics, recorder=self._recorder, clock=self._clock),
            self._metrics,
            GrpcLimits(
                max_header_bytes=limits.max_header_bytes,
                header_timeout=limits.header_timeout,
                keepalive_timeout=server.keepalive_timeout,
                max_connections=self._max_connections(),
                shutdown_timeout=self._config.shutdown.timeout,
            ),
            self._ready,
            budget=budget,
            shared=self._shared,
        )
        await self._grpc.open(address, _files(server.tls))

    def _max_connections(self) -> int:
        """Return how many connections each listener may have: as configured, as far as file descriptors allow."""
        config = self._config
        return connections_for(config.limits.max_connections, descriptor_limit(), listeners_of(config))

    def _ready(self) -> bool:
        return not self._ending and any(check.good for check in self.checks())

    def begin_ending(self) -> None:
        """Report in gRPC, too, that the gate stops, and close HTTP connections with their next answers."""
        self._ending = True
        self._listeners.drain()
        self._exchange.drain()

    async def adopt(self, config: Config) -> None:
        """Answer by another configuration from the next request on; raises `CompositionError` and stays as it was.

        What is fixed at start stays as it is (`settled`). Requests under way are decided by the old configuration.
        """
        config = keep_restart_only(self._config, config)
        undo = self._metrics.hand_over()
        try:
            generation = await self._composed(config)
        except BaseException:
            undo()
            raise
        old = self._now
        generation.start()
        try:
            await generation.warm_up(_WARM_UP)
        except BaseException:
            undo()
            await generation.close()
            raise
        generation.pipeline.inherit(old.pipeline)
        self._generation, self._config = generation, config
        retiring = asyncio.create_task(self._retire(old))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def documents(self) -> dict[str, bytes]:
        """Return what others verify the gate's own tokens with, by path; nothing where it signs none."""
        issuer = self._generation.pipeline.issuer if self._generation else None
        return signed_documents(issuer) if issuer else {}

    def take_keys(self, place: str, document: KeyDocument) -> None:
        """Take over the keys that another process fetched from a place."""
        for keys in self._now.pipeline.key_sets:
            if keys.place == place:
                keys.take(document)

    def checks(self) -> list[Check]:
        """Tell of every issuer and cluster whether its tokens can be decided now."""
        return [Check(*state) for state in self._generation.pipeline.states()] if self._generation else []

    async def close(self) -> None:
        """Close the ports when their requests are done, then everything else."""
        self.begin_ending()
        ports = [self._listeners.close(), self._exchange.close()]
        if self._grpc is not None:
            ports.append(self._grpc.close())
        await asyncio.gather(*ports)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        self._audit.flush(everything=True)
        if self._generation is not None:
            await self._generation.close()
        for task in tuple(self._retiring):
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    @property
    def _now(self) -> Generation:
        if self._generation is None:
            raise AssertionError("a gate is prepared before it answers")
        return self._generation

    def _serving(self) -> Serving:
        return self._now.serving

    async def _composed(self, config: Config) -> Generation:
        pipeline = await compose(config, self._around)
        for keys in pipeline.key_sets:
            keys.on_document = partial(self.on_keys, keys.place)
        return Generation(pipeline, config, self._metrics)

    async def _retire(self, old: Generation) -> None:
        await old.retire()
        pipeline = self._now.pipeline
        self._metrics.keep_only_issuers({*pipeline.issuers, *pipeline.clusters.verifiers})

    async def _keep_house(self) -> None:
        lost, watch = self._dropped_lines(), ClockWatch()
        while True:
            if not self._shared:  # else the supervisor looks, so that it is logged once
                watch.look(self._clock.now())
            await asyncio.sleep(_TURN)
            self._audit.flush()
            if not self._around.programs.count:  # else an ended child may be an exec plugin
                reap_orphans()
            if exhausted():
                self._pressure.descriptors_exhausted()
            before, lost = lost, self._dropped_lines()
            if lost > before:
                self._metrics.log_dropped += lost - before
                event(logging.WARNING, "log lines dropped: stderr was not being read", lines=lost - before)

    def _lane(self, recorder: Recorder) -> FastLane | None:
        if not lane_fits():
            event(
                logging.WARNING,
                "the fast lane is off: this aiohttp differs from the one that it was proven with",
            )
            return None
        limits = self._config.limits
        return FastLane(
            self._serving,
            recorder,
            self._clock,
            max_header_bytes=limits.max_header_bytes,
            max_headers=limits.max_headers,
        )


def _files(tls: TLSConfig | None) -> TLSFiles | None:
    return TLSFiles(tls.cert_file, tls.key_file, tls.client_ca_file) if tls else None


def _tls(tls: TLSConfig | None, place: str = "server.tls") -> ssl.SSLContext | None:
    files = _files(tls)
    return tls_context(files, place) if files else None
