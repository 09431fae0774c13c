"""Open and drain the gRPC port."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

# gRPC's core logs by itself, not in JSON and with details of clients. It is off unless the variable is set.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from authgate.server.grpc.services import Arrival, Authorization, Health
from authgate.server.http.head_budget import HeadBudget
from authgate.server.listeners import (
    ListenError,
    open_to_all,
    opened_at,
    plainly,
    remove_stale,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from authgate.listen_address import ListenAddress
    from authgate.observability.metrics import Metrics
    from authgate.server.decider import Decider
    from authgate.server.listeners import TLSFiles
    from authgate.server.request_ids import RequestIds

_STREAMS_PER_CONNECTION: Final = 128
_MESSAGE_OVERHEAD: Final = 16384
_METADATA: Final = 8192
"""Maximum bytes of a call's header fields. The gate reads none of them; gRPC refuses a call with more."""
_UNCOMPRESSED: Final = 1
"""The bit of "no compression": a message that is small on the wire must not be large in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcLimits:
    """Limits of clients, as in `ConnectionLimits`, and the seconds that open calls have at shutdown."""

    max_header_bytes: int
    header_timeout: float
    keepalive_timeout: float
    max_connections: int
    shutdown_timeout: float


class GrpcListener:
    """Serve Authorization and Health on one address. With `shared`, other processes listen there, too."""

    def __init__(
        self,
        decider: Decider,
        metrics: Metrics,
        limits: GrpcLimits,
        ready: Callable[[], bool],
        *,
        budget: HeadBudget | None = None,
        shared: bool = False,
        ids: RequestIds | None = None,
    ) -> None:
        self._services = (Authorization(decider, metrics, limits.max_header_bytes, ids), Health(ready))
        self._limits = limits
        # A message contains path and host twice: as fields of their own and among the headers.
        self._message_bytes = 2 * limits.max_header_bytes + _MESSAGE_OVERHEAD
        budget = budget or HeadBudget(self._message_bytes * limits.max_connections)
        self._arrival = Arrival(limits.header_timeout, budget, self._message_bytes)
        self._shared = shared
        self._server: grpc.aio.Server | None = None
        self.address = ""
        """The address, with its real port."""

    async def open(self, address: ListenAddress, tls: TLSFiles | None) -> None:
        """Listen on an address; raise `ListenError`.

        For gRPC, `0.0.0.0` and `[::]` both mean all addresses of the machine.
        """
        try:
            if address.unix is None:
                target = _free_port(address, shared=self._shared)
            else:
                remove_stale(Path(address.unix))
                target = str(address)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {plainly(error)}") from None
        self._server = grpc.aio.server(
            handlers=tuple(service.handler(self._arrival) for service in self._services),
            options=self._options(),
            maximum_concurrent_rpcs=self._limits.max_connections,
        )
        try:
            if tls is None or address.unix is not None:
                port = self._server.add_insecure_port(target)
            else:
                port = self._server.add_secure_port(target, _credentials(tls))
        except RuntimeError:
            raise ListenError(f"cannot listen on {address}: gRPC could not open it") from None
        await self._server.start()
        if address.unix is None:
            self.address = opened_at(address, port)
        else:
            open_to_all(Path(address.unix))
            self.address = str(address)

    async def close(self) -> None:
        """Stop listening, let open calls finish within the shutdown timeout, and close all connections."""
        if self._server is not None:
            await self._server.stop(self._limits.shutdown_timeout)
            self._server = None

    def _options(self) -> Sequence[tuple[str, int]]:
        limits = self._limits
        return [
            ("grpc.so_reuseport", int(self._shared)),
            ("grpc.max_receive_message_length", self._message_bytes),
            ("grpc.max_metadata_size", _METADATA),
            ("grpc.absolute_max_metadata_size", _METADATA),
            ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
            ("grpc.max_allowed_incoming_connections", limits.max_connections),
            ("grpc.max_connection_idle_ms", max(1000, int(limits.keepalive_timeout * 1000))),
            ("grpc.server_handshake_timeout_ms", int(limits.header_timeout * 1000)),
            ("grpc.compression_enabled_algorithms_bitset", _UNCOMPRESSED),
        ]


def _free_port(address: ListenAddress, *, shared: bool) -> str:
    """Return an address in gRPC's notation; raise OSError if it cannot be opened, since gRPC does not report why."""
    if not shared:
        places = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, *_, place = places[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    return str(address) if address.host else f"[::]{address}"


def _credentials(tls: TLSFiles) -> grpc.ServerCredentials:
    """Return the certificate and the CA of client certificates. The HTTP listener has already checked the files."""
    try:
        pair = Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes()
        authority = Path(tls.client_ca_file).read_bytes() if tls.client_ca_file else None
    except OSError as error:
        raise ListenError(f"server.tls: {error}") from None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
