"""The listener for Envoy's gRPC, with a gate whose verifier a test chooses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from authgate.gate import Gate
from authgate.listen_address import ListenAddress
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import Policy
from authgate.server.decider import Decider, Serving
from authgate.server.grpc.listener import GrpcLimits, GrpcListener
from authgate.server.http.head_budget import HeadBudget
from authgate.server.record import Recorder
from authgate.service import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from authgate.verify.router import Verifier

LIMITS = GrpcLimits(
    max_header_bytes=65536,
    header_timeout=10.0,
    keepalive_timeout=75.0,
    max_connections=100,
    shutdown_timeout=5.0,
)


@asynccontextmanager
async def answering(
    verifier: Verifier, metrics: Metrics | None = None, budget: HeadBudget | None = None, **limits: Any
) -> AsyncIterator[GrpcListener]:
    """Run the listener of a gate with this verifier. `limits` replace the default limits."""
    metrics, clock = metrics or Metrics(), SystemClock()
    gate = Gate(verifier, {"default": Policy("default")}, HeaderMapper("oauth2-proxy", 16384), 16384)
    recorder = Recorder(metrics, Audit("all", clock, lambda: None))
    decider = Decider(lambda: Serving(gate, "envoy"), metrics=metrics, recorder=recorder, clock=clock)
    listener = GrpcListener(decider, metrics, replace(LIMITS, **limits), lambda: True, budget=budget)
    await listener.open(ListenAddress("127.0.0.1"), None)
    try:
        yield listener
    finally:
        await listener.close()
