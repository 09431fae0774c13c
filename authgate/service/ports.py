"""The ports on which a gate answers: HTTP, token exchange and gRPC. The admin port is not one of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.observability.log import event
from authgate.server.decider import Decider
from authgate.server.exchange import ExchangeHandler
from authgate.server.http.aiohttp_compat import lane_fits
from authgate.server.http.connection import ConnectionLimits, GateServer, runner_of
from authgate.server.http.fast_lane import FastLane
from authgate.server.http.handler import VerifyHandler
from authgate.server.http.head_budget import HeadBudget
from authgate.server.listeners import Listeners, TLSFiles, tls_context
from authgate.server.request_ids import RequestIds
from authgate.service.limits import connections_for, descriptor_limit, listeners_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from authgate.config import Config, ExchangeConfig, TLSConfig
    from authgate.listen_address import ListenAddress
    from authgate.model import Clock
    from authgate.observability.metrics import Metrics
    from authgate.observability.tracing import Tracing
    from authgate.server.decider import Serving
    from authgate.server.grpc.listener import GrpcListener
    from authgate.server.listeners import SharedAddresses
    from authgate.server.pressure import Pressure
    from authgate.server.record import Recorder

_FORM_BYTES = 4096  # of a token exchange, besides the token


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What the handlers of all ports need. `serving` and `ready` are called for each request."""

    serving: Callable[[], Serving]
    ready: Callable[[], bool]
    metrics: Metrics
    recorder: Recorder
    pressure: Pressure
    clock: Clock
    tracing: Tracing | None = None


class Ports:
    """The ports of a configuration. With `shared`, other processes listen on the same addresses."""

    def __init__(self, config: Config, answering: Answering, shared: SharedAddresses | None) -> None:
        self._config = config
        self._answering = answering
        self._shared = shared
        self._verify = Listeners(shared)
        self._exchange = Listeners(shared)
        self._grpc: GrpcListener | None = None
        request_id = config.server.request_id
        self._ids = RequestIds(request_id.header) if request_id else None
        limits = config.limits
        self._limits = ConnectionLimits(
            max_header_bytes=limits.max_header_bytes,
            max_headers=limits.max_headers,
            header_timeout=limits.header_timeout,
            keepalive_timeout=config.server.keepalive_timeout,
            max_connections=connections_for(limits.max_connections, descriptor_limit(), listeners_of(config)),
        )
        self._budget = HeadBudget(limits.max_unfinished_header_bytes, answering.pressure.head_ended)

    @property
    def verify_addresses(self) -> list[str]:
        """The addresses of the verify port."""
        return self._verify.addresses

    @property
    def exchange_addresses(self) -> list[str]:
        """The address of the token exchange, if it is configured."""
        return self._exchange.addresses

    @property
    def grpc_address(self) -> str | None:
        """The address of Envoy's gRPC, or None."""
        return self._grpc.address if self._grpc else None

    async def open(self) -> None:
        """Open all configured ports; raise `ListenError`."""
        config = self._config
        await self._open_verify()
        if config.exchange is not None:
            await self._open_exchange(config.exchange)
        if config.server.grpc is not None:
            await self._open_grpc(config.server.grpc)

    def drain(self) -> None:
        """Close HTTP connections with their next answers."""
        self._verify.drain()
        self._exchange.drain()

    async def close(self) -> None:
        """Stop listening, and let open requests finish within `shutdown.timeout`."""
        closing = [self._verify.close(), self._exchange.close()]
        if self._grpc is not None:
            closing.append(self._grpc.close())
        await asyncio.gather(*closing)

    async def _open_verify(self) -> None:
        config, common = self._config, self._answering
        tls = _tls(config.server.tls, "server.tls")
        server = GateServer(
            VerifyHandler(
                common.serving,
                metrics=common.metrics,
                recorder=common.recorder,
                clock=common.clock,
                ids=self._ids,
                tracing=common.tracing,
            ),
            self._limits,
            common.metrics,
            lane=self._fast_lane() if config.server.fast_lane else None,
            budget=self._budget,
            on_refused=common.pressure.connection_refused,
            on_unread_body=common.pressure.unread_body,
            ids=self._ids,
        )
        runner = runner_of(server, config.shutdown.timeout)
        for address in config.server.listen:
            await self._verify.open(runner, address, tls)

    def _fast_lane(self) -> FastLane | None:
        if not lane_fits():
            event(
                logging.WARNING,
                "the fast lane is off: it was not tested with the installed version of aiohttp",
            )
            return None
        common, limits = self._answering, self._limits
        return FastLane(
            common.serving,
            common.recorder,
            common.clock,
            max_header_bytes=limits.max_header_bytes,
            max_headers=limits.max_headers,
            ids=self._ids,
            tracing=common.tracing,
        )

    async def _open_exchange(self, item: ExchangeConfig) -> None:
        config, common = self._config, self._answering
        handler = ExchangeHandler(
            common.serving,
            max_body_bytes=config.limits.max_token_bytes + _FORM_BYTES,
            body_timeout=self._limits.header_timeout,
            metrics=common.metrics,
            recorder=common.recorder,
            ids=self._ids,
            tracing=common.tracing,
        )
        server = GateServer(
            handler,
            self._limits,
            common.metrics,
            budget=self._budget,
            on_refused=common.pressure.connection_refused,
            ids=self._ids,
        )
        runner = runner_of(server, config.shutdown.timeout)
        await self._exchange.open(runner, item.listen, _tls(item.tls, "exchange.tls"))

    async def _open_grpc(self, address: ListenAddress) -> None:
        from authgate.server.grpc.listener import GrpcLimits, GrpcListener

        common, limits = self._answering, self._limits
        self._grpc = GrpcListener(
            Decider(
                common.serving,
                metrics=common.metrics,
                recorder=common.recorder,
                clock=common.clock,
                tracing=common.tracing,
            ),
            common.metrics,
            GrpcLimits(
                max_header_bytes=limits.max_header_bytes,
                header_timeout=limits.header_timeout,
                keepalive_timeout=limits.keepalive_timeout,
                max_connections=limits.max_connections,
                shutdown_timeout=self._config.shutdown.timeout,
            ),
            common.ready,
            budget=self._budget,
            shared=self._shared is not None,
            ids=self._ids,
        )
        await self._grpc.open(address, _files(self._config.server.tls))


def _files(tls: TLSConfig | None) -> TLSFiles | None:
    return TLSFiles(tls.cert_file, tls.key_file, tls.client_ca_file) if tls else None


def _tls(tls: TLSConfig | None, place: str) -> ssl.SSLContext | None:
    files = _files(tls)
    return tls_context(files, place) if files else None
