"""Opening and draining the port on which gRPC is served."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

# gRPC's core has a log of its own, which is no JSON and tells of clients; it is off unless somebody asks for it.
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

_STREAMS_PER_CONNECTION: Final = 128
_MESSAGE_OVERHEAD: Final = 16384
_METADATA: Final = 8192
"""The header fields of a call, which hold nothing that the gate reads; gRPC refuses a call with more of them."""
_UNCOMPRESSED: Final = 1
"""The first bit stands for none: what is small on the wire must not be large in memory."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """What clients may use, as `ConnectionLimits` has it; and seconds to finish at the end."""

    max_header_bytes: int
    header_timeout: float
    keepalive_timeout: float
    max_connections: int
    shutdown_timeout: float


class GrpcListener:
    """Serves Authorization and Health on one address; with `shared` other processes listen there, too."""

    def __init__(
        self,
        decider: Decider,
        metrics: Metrics,
        limits: GrpcLimits,
        ready: Callable[[], bool],
        *,
        budget: HeadBudget | None = None,
        shared: bool = False,
    ) -> None:
        self._services = (Authorization(decider, metrics, limits.max_header_bytes), Health(ready))
        self._limits = limits
        # Path and host are in a message twice: by themselves, and among the headers.
        self._message_bytes = 2 * limits.max_header_bytes + _MESSAGE_OVERHEAD
        budget = budget or HeadBudget(self._message_bytes * limits.max_connections)
        self._arrival = Arrival(limits.header_timeout, budget, self._message_bytes)
        self._shared = shared
        self._server: grpc.aio.Server | None = None
        self.address = ""
        """Where it listens, with its real port."""

    async def open(self, address: ListenAddress, tls: TLSFiles | None) -> None:
        """Listen; raises `ListenError`.

        gRPC takes `0.0.0.0` and `[::]` alike for all addresses of the machine.
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
        """Stop listening, let calls under way finish within their time, and close all connections."""
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
    """Return an address as gRPC reads it; raises OSError where it cannot be opened, for which gRPC has no words."""
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
    """Return the certificate, and whose clients may connect; the files were read for HTTP just before."""
    try:
        pair = Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes()
        authority = Path(tls.client_ca_file).read_bytes() if tls.client_ca_file else None
    except OSError as error:
        raise ListenError(f"server.tls: {error}") from None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
