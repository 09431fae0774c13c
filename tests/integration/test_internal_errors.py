"""Unexpected errors of a verifier or a handler: they are answered with 503, counted, and logged without the token."""

from __future__ import annotations

import base64
import io
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from authgate.credential.sources import (
    ONLY_AUTHORIZATION,
    AuthorizationSource,
    QuerySource,
    Sources,
    WebSocketSource,
)
from authgate.gate import Gate
from authgate.listen_address import ListenAddress
from authgate.observability.audit import Audit
from authgate.observability.log import configure
from authgate.observability.metrics import Metrics
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import Policy
from authgate.server.decider import Serving
from authgate.server.http.connection import ConnectionLimits, GateServer, runner_of
from authgate.server.http.handler import VerifyHandler
from authgate.server.listeners import Listeners
from authgate.server.record import Recorder
from authgate.server.request_ids import RequestIds
from authgate.service import SystemClock
from authgate.verify.router import Verifier
from tests.support.wire import Reply, ask, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from aiohttp import web

    from authgate.model import BearerToken, Verdict

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9mLWFkYQ"
LIMITS = ConnectionLimits(
    max_header_bytes=65536, max_headers=128, header_timeout=10.0, keepalive_timeout=75.0, max_connections=100
)
RUNTIME_TROUBLE = RuntimeError("trouble")
IDS = RequestIds("X-Request-Id")
ID = "7e0d2a4c-9b1f-4a8f-8f0a-0d7c1f3b2a11"


class Broken(Verifier):
    """A verifier with a bug: its exception quotes the token wherever it can."""

    def try_verify(self, token: BearerToken) -> Verdict:
        try:
            raise KeyError(token.text)
        except KeyError as error:
            error.add_note(f"while reading {token.text}")
            raise RuntimeError(f"cannot make anything of {token.text!r} ({token.text.split('.')})") from error


class Slow(Verifier):
    """A verifier that raises a timeout, which an HTTP server could take for its own."""

    def try_verify(self, token: BearerToken) -> Verdict:
        raise TimeoutError(token.text)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The gate's log as JSON lines, at level debug."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("debug", "json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@asynccontextmanager
async def serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], metrics: Metrics
) -> AsyncIterator[str]:
    """Open a verify port with this handler and return its address."""
    listeners = Listeners()
    server = GateServer(handler, LIMITS, metrics, ids=IDS)
    address = await listeners.open(runner_of(server, 1.0), ListenAddress("127.0.0.1"))
    try:
        yield address
    finally:
        await listeners.close()


def verifying(
    verifier: Broken | Slow, metrics: Metrics, sources: Sources = ONLY_AUTHORIZATION
) -> VerifyHandler:
    """Return the handler of a gate with this verifier."""
    clock = SystemClock()
    gate = Gate(verifier, {"default": Policy("default")}, HeaderMapper("oauth2-proxy", 16384), 16384)
    recorder = Recorder(metrics, Audit("all", clock, lambda: None))
    return VerifyHandler(
        lambda: Serving(gate, "nginx", sources),
        metrics=metrics,
        recorder=recorder,
        clock=clock,
        ids=IDS,
    )


async def asked(address: str, credential: str) -> Reply:
    """Return the answer to a request with this Authorization header."""
    given = ("Host: gate", f"Authorization: {credential}", f"X-Request-Id: {ID}")
    return await ask(address, "GET /verify HTTP/1.1", *given)


def errors(log: io.StringIO) -> list[dict[str, Any]]:
    """Return the attributes of the log's errors."""
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line["attributes"] for line in lines if line["severity_text"] == "ERROR"]


@pytest.mark.parametrize("verifier", [Broken(), Slow()], ids=["raises", "times-out"])
async def test_a_broken_verifier_is_a_503(verifier: Broken | Slow) -> None:
    """It is not a 500, which proxies treat in different ways. The next request on the connection is served."""
    metrics = Metrics()
    async with serving(verifying(verifier, metrics), metrics) as address, connected(address) as wire:
        for _ in range(2):
            await wire.send("GET /verify HTTP/1.1", "Host: gate", f"Authorization: Bearer {JWT}")
            reply = await wire.reply()
            assert (reply.status, reply.reason, reply.body) == (503, "internal_error", b"")
            assert int(reply.value("Retry-After")) >= 1


async def test_a_broken_verifier_is_counted() -> None:
    """It is in a metric for alerts and among the decisions. No request stays in flight."""
    metrics = Metrics()
    async with serving(verifying(Broken(), metrics), metrics) as address:
        await asked(address, f"Bearer {JWT}")
    assert (metrics.internal_errors, metrics.in_flight) == (1, 0)
    assert [(decision, reason) for decision, reason, *_ in metrics.answers] == [
        ("unavailable", "internal_error")
    ]


@pytest.mark.parametrize(
    "credential",
    [f"Bearer {JWT}", "Bearer an-opaque-word-of-no-shape", f"bEARER   {JWT}"],
    ids=["jwt", "opaque", "spelling"],
)
async def test_the_traceback_is_logged_without_the_token(log: io.StringIO, credential: str) -> None:
    """The log has places and types. No message, note or cause has the token or a part of it."""
    metrics = Metrics()
    async with serving(verifying(Broken(), metrics), metrics) as address:
        reply = await asked(address, credential)
    (told,) = errors(log)
    assert told["error.type"] == "RuntimeError"
    assert told["http.request.id"] == reply.value("X-Request-Id") == ID
    assert "in try_verify" in told["exception.stacktrace"]
    token = credential.rsplit(maxsplit=1)[-1]
    assert not [part for part in (token, *token.split(".")) if part in log.getvalue()]


OPAQUE = "an-opaque-word-of-no-shape"
DECODED = {
    "a password": f"Authorization: Basic {base64.b64encode(f'oauth2:{OPAQUE}'.encode()).decode()}",
    "a WebSocket protocol": "Sec-WebSocket-Protocol: chat, base64url.bearer.authorization.k8s.io."
    + base64.urlsafe_b64encode(OPAQUE.encode()).decode().rstrip("="),
    "a parameter": f"X-Original-URI: /?token={OPAQUE.replace('-', '%2D')}",
}


@pytest.mark.parametrize("line", DECODED.values(), ids=DECODED)
async def test_the_traceback_has_no_decoded_token(log: io.StringIO, line: str) -> None:
    """The token is not in any header as the verifier saw it."""
    metrics = Metrics()
    sources = Sources(
        [QuerySource(frozenset({b"token"})), WebSocketSource()], AuthorizationSource(frozenset({b"oauth2"}))
    )
    async with serving(verifying(Broken(), metrics, sources), metrics) as address:
        reply = await ask(address, "GET /verify HTTP/1.1", "Host: gate", line)
    assert (reply.status, reply.reason) == (503, "internal_error")
    assert "in try_verify" in log.getvalue()
    assert OPAQUE not in log.getvalue()


async def test_a_broken_handler_is_a_503(log: io.StringIO) -> None:
    """The server's own answer to an exception has the same form."""

    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError(request.headers["Authorization"]) from RUNTIME_TROUBLE

    metrics = Metrics()
    async with serving(broken, metrics) as address:
        reply = await asked(address, "Bearer an-opaque-word")
    assert (reply.status, reply.reason, reply.body) == (503, "internal_error", b"")
    assert (reply.value("Retry-After"), reply.value("Cache-Control")) == ("1", "no-store")
    assert metrics.internal_errors == 1
    assert [line["http.request.id"] for line in errors(log)] == reply.values("X-Request-Id") == [ID]
    assert "in broken" in log.getvalue()
    assert "an-opaque-word" not in log.getvalue()
