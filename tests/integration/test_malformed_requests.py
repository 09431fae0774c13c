"""Malformed HTTP is refused once, at once, and quoted neither in the answer nor in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.service import comes_to, knowing, running
from tests.support.wire import bearer, connected, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

IN_EVERY_LOOP = True
SECRET = "s3cr3t-word"
GET = "GET /verify HTTP/1.1"
POST = "POST /verify HTTP/1.1"
HOST = "Host: gate"

MALFORMED = {
    "no-http": [b"\x16\x03\x01\x02\x00" + SECRET.encode()],
    "no-request-line": [SECRET],
    "unknown-method": [f"{SECRET} /verify HTTP/1.1", HOST],
    "lower-case-method": ["get /verify HTTP/1.1", HOST, f"X: {SECRET}"],
    "version": ["GET /verify HTTP/9.9", HOST, f"X: {SECRET}"],
    "no-host": [GET, f"X: {SECRET}"],
    "two-hosts": [GET, HOST, f"Host: {SECRET}"],
    "space-in-path": [f"GET /verify/{SECRET} x HTTP/1.1", HOST],
    "nul-in-path": [f"GET /verify/{SECRET}\x00 HTTP/1.1", HOST],
    "high-byte-in-path": [f"GET /verify/{SECRET}".encode() + b"\xff HTTP/1.1", HOST],
    "asterisk": ["GET * HTTP/1.1", HOST, f"X: {SECRET}"],
    "bad-authority": ["GET http://[verify HTTP/1.1", HOST, f"X: {SECRET}"],
    "nul-in-value": [GET, HOST, f"Authorization: Bearer {SECRET}\x00"],
    "bare-cr-in-value": [GET, HOST, f"Authorization: Bearer {SECRET}\rX: y"],
    "folded-line": [GET, HOST, "Authorization: Bearer", f" {SECRET}"],
    "space-before-colon": [GET, HOST, f"Authorization : Bearer {SECRET}"],
    "space-in-name": [GET, HOST, f"X {SECRET}: y"],
    "empty-name": [GET, HOST, f": {SECRET}"],
    "no-colon": [GET, HOST, SECRET],
    "bare-line-feeds": [f"{GET}\n{HOST}\nAuthorization: Bearer {SECRET}\n"],
    "length-and-chunked": [POST, HOST, "Content-Length: 4", "Transfer-Encoding: chunked", f"X: {SECRET}"],
    "chunked-and-length": [POST, HOST, "Transfer-Encoding: chunked", "Content-Length: 4", f"X: {SECRET}"],
    "two-lengths": [POST, HOST, "Content-Length: 4", "Content-Length: 5", f"X: {SECRET}"],
    "two-equal-lengths": [POST, HOST, "Content-Length: 4", "Content-Length: 4", f"X: {SECRET}"],
    "list-of-lengths": [POST, HOST, "Content-Length: 4, 4", f"X: {SECRET}"],
    "negative-length": [POST, HOST, "Content-Length: -4", f"X: {SECRET}"],
    "signed-length": [POST, HOST, "Content-Length: +4", f"X: {SECRET}"],
    "hex-length": [POST, HOST, "Content-Length: 0x4", f"X: {SECRET}"],
    "huge-length": [POST, HOST, f"Content-Length: {'9' * 40}", f"X: {SECRET}"],
    "unknown-coding": [POST, HOST, "Transfer-Encoding: xchunked", f"X: {SECRET}"],
    "chunked-not-last": [POST, HOST, "Transfer-Encoding: chunked, gzip", f"X: {SECRET}"],
    "chunked-twice": [POST, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", f"X: {SECRET}"],
}


@pytest.fixture
def issuer() -> Issuer:
    """An issuer whose keys are in the gate's configuration."""
    return Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


@pytest.fixture
async def gate(issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate that allows every authenticated user."""
    async with running({"jwt": [knowing(issuer)]}) as it:
        yield it


@pytest.mark.parametrize("lines", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_requests_end_the_connection(
    gate: Gate, issuer: Issuer, lines: list[str | bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """There is one empty 400, and a good request behind it on the same connection gets no answer."""
    caplog.set_level(logging.DEBUG)
    async with connected(gate.address) as wire:
        await wire.send_raw(head(*lines) + head(GET, HOST, bearer(issuer.mint())))
        reply = await wire.reply()
        assert await wire.rest() == b""
    assert (reply.status, reply.value("Content-Length"), reply.value("Cache-Control")) == (
        400,
        "0",
        "no-store",
    )
    assert SECRET not in reply.head.decode() + caplog.text


async def test_malformed_requests_are_counted_by_status(gate: Gate) -> None:
    """They are not decisions, and have a metric of their own."""
    async with connected(gate.address) as wire:
        await wire.send(GET)
        await wire.reply()
    await comes_to(gate, 1, "authgate_http_errors_total", status="400")
    assert await gate.metric("authgate_verify_requests_total") == 0


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([f"GET /verify/{'p' * 70_000} HTTP/1.1", HOST, f"X: {SECRET}"], id="line"),
        pytest.param([GET, HOST, f"Authorization: Bearer {SECRET}{'a' * 70_000}"], id="value"),
        pytest.param([GET, HOST, f"{SECRET}{'a' * 70_000}: x"], id="name"),
        pytest.param([GET, HOST, *[f"X: {SECRET}{'a' * 10_000}"] * 7], id="all-together"),
        pytest.param([GET, HOST, *["X: y"] * 200, f"X: {SECRET}"], id="too-many"),
    ],
)
async def test_headers_over_the_limit_get_431(
    gate: Gate, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """limits.maxHeaderBytes limits each line and their sum."""
    caplog.set_level(logging.DEBUG)
    async with connected(gate.address) as wire:
        await wire.send(*lines)
        reply = await wire.reply()
    assert (reply.status, reply.value("Content-Length"), reply.value("Cache-Control")) == (
        431,
        "0",
        "no-store",
    )
    assert SECRET not in reply.head.decode() + caplog.text


async def test_an_unending_header_line_gets_431(gate: Gate) -> None:
    """It is refused when it exceeds the limit, not when it ends."""
    async with connected(gate.address) as wire:
        await wire.send_raw(f"{GET}\r\n{HOST}\r\nX: ".encode() + b"a" * 66_000)
        assert (await wire.reply()).status == 431


@pytest.mark.parametrize("blank", [b"\r\n", b"\n"], ids=["crlf", "lf"])
async def test_unending_blank_lines_get_431(gate: Gate, blank: bytes) -> None:
    """Blank lines before a request (RFC 9112, section 2.2) count as a part of it."""
    async with connected(gate.address) as wire:
        await wire.send_raw(blank * 70_000)
        assert (await wire.reply()).status in {400, 431}


async def test_a_token_at_the_header_limit_passes_the_server(gate: Gate) -> None:
    """Up to 64 KiB of headers reach the gate, which refuses the token by its own limit."""
    async with connected(gate.address) as wire:
        await wire.send(GET, HOST, bearer("a" * 60_000))
        assert (await wire.reply()).reason == "credential_too_large"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"zz\r\nhello\r\n0\r\n\r\n", id="no-size"),
        pytest.param(b"-5\r\nhello\r\n0\r\n\r\n", id="negative-size"),
        pytest.param(b"ffffffffffffffffff\r\n", id="huge-size"),
        pytest.param(b"5\r\nhelloX\r\n0\r\n\r\n", id="too-long"),
    ],
)
async def test_bytes_behind_a_broken_body_are_not_a_request(gate: Gate, issuer: Issuer, body: bytes) -> None:
    """If the end of a chunked body cannot be found, the connection is closed."""
    post = head(POST, HOST, "Transfer-Encoding: chunked")
    async with connected(gate.address) as wire:
        await wire.send_raw(post + body + head(GET, HOST, bearer(issuer.mint())))
        assert b" 200 " not in await wire.rest()
