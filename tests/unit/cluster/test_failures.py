"""The kind and message of each failure, without tokens."""

from __future__ import annotations

import errno
import ssl
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from authgate.cluster.api import ApiErrorKind
from authgate.cluster.failures import Call, clean, network_error, status_error
from authgate.cluster.transport import RawAnswer

CALL = Call("create tokenreviews", "system:auth-delegator", "reviewed-token")
PROXY = "check the kubeconfig's proxy-url, or HTTPS_PROXY and NO_PROXY of the environment"
SERVER = "https://10.0.0.1:443"
KEY = cast("Any", SimpleNamespace(host="10.0.0.1", port=443, ssl=True, is_ssl=True))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("0", 1),
        ("1", 1),
        (" 30 ", 30),
        ("60", 60),
        ("61", 60),
        ("9" * 5000, 60),
        ("-5", 0),
        ("1.5", 0),
        ("٣", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
    ],
    ids=["none", "0", "1", "spaces", "60", "61", "huge", "negative", "fraction", "other digits", "date"],
)
def test_retry_after_is_read_in_seconds(header: str, seconds: int) -> None:
    """Retry-After counts in whole seconds from 1 to 60."""
    assert status_error(CALL, RawAnswer(429, header, b""), None).retry_after == seconds


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"message": "etcd is down"}', "create tokenreviews: the API server answered 500: etcd is down"),
        (b"<html>", "create tokenreviews: the API server answered 500"),
        (b'{"message": ["x"]}', "create tokenreviews: the API server answered 500"),
        (
            b'{"message": "no reviewed-token"}',
            "create tokenreviews: the API server answered 500: no [token]",
        ),
        (b'{"message": "no own-token"}', "create tokenreviews: the API server answered 500: no [token]"),
    ],
    ids=["status", "html", "wrong type", "reviewed token", "own token"],
)
def test_only_the_message_of_a_status_is_quoted(body: bytes, detail: str) -> None:
    """It is quoted without tokens."""
    assert status_error(CALL, RawAnswer(500, "", body), "own-token").detail == detail


def test_forbidden_without_a_known_account() -> None:
    """If the gate's token does not name its account, the message has "the gate's account"."""
    detail = status_error(CALL, RawAnswer(403, "", b""), None).detail
    assert detail == (
        "not allowed to create tokenreviews: bind the ClusterRole system:auth-delegator to the gate's account"
    )


def tls_error(reason: str) -> ssl.SSLError:
    """Return an error as from OpenSSL."""
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    error.reason = reason
    return error


def late(cause: Exception) -> aiohttp.ClientOSError:
    """Return an error on an open connection with this cause."""
    error = aiohttp.ClientOSError(1, "broken")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")),
            ApiErrorKind.UNREACHABLE,
            f"the host name of {SERVER} cannot be resolved",
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "Connect call failed")),
            ApiErrorKind.UNREACHABLE,
            f"{SERVER} cannot be reached: Connection refused",
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError("Multiple exceptions: one, another")),
            ApiErrorKind.UNREACHABLE,
            f"{SERVER} cannot be reached: Multiple exceptions: one, another",
        ),
        (
            aiohttp.ClientConnectorSSLError(KEY, tls_error("WRONG_VERSION_NUMBER")),
            ApiErrorKind.UNREACHABLE,
            f"the TLS handshake with {SERVER} failed: WRONG_VERSION_NUMBER",
        ),
        (
            late(tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED")),
            ApiErrorKind.UNREACHABLE,
            f"the connection to {SERVER} broke: TLSV13_ALERT_CERTIFICATE_REQUIRED",
        ),
        (
            aiohttp.ClientProxyConnectionError(KEY, OSError(111, "Connection refused")),
            ApiErrorKind.UNREACHABLE,
            f"the proxy on the way to {SERVER} cannot be reached; {PROXY}",
        ),
        (
            aiohttp.ClientHttpProxyError(cast("Any", None), (), status=407),
            ApiErrorKind.UNREACHABLE,
            f"the proxy on the way to {SERVER} answered 407; {PROXY}",
        ),
        (
            aiohttp.ClientResponseError(cast("Any", None), (), status=400),
            ApiErrorKind.BAD_ANSWER,
            f"{SERVER} does not speak valid HTTP",
        ),
        (
            aiohttp.ServerDisconnectedError(),
            ApiErrorKind.UNREACHABLE,
            f"{SERVER} closed the connection without an answer",
        ),
        (
            aiohttp.ClientError("reviewed-token"),
            ApiErrorKind.UNREACHABLE,
            f"the connection to {SERVER} broke: ClientError",
        ),
    ],
    ids=["DNS", "refused", "several", "TLS", "late TLS", "proxy down", "proxy", "no HTTP", "closed", "other"],
)
def test_each_network_error_has_a_message(error: aiohttp.ClientError, kind: ApiErrorKind, words: str) -> None:
    """Each way in which a connection fails has its own message."""
    failure = network_error(CALL, error, SERVER)
    assert (failure.kind, failure.detail) == (kind, f"create tokenreviews: {words}")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain words", "plain words"),
        ("two\r\nlines\tand\x00more\x1b[0m", "two lines and more [0m"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("a header1.payload1.signature1 b", "a [token] b"),
        ("only payload1 here", "only [token] here"),
        ("short own key", "short [token] key"),
    ],
    ids=["plain", "lines", "surrogate", "bound", "long", "token", "part of a token", "short token"],
)
def test_quoted_text_is_cleaned(text: str, cleaned: str) -> None:
    """Text is bounded and printable, and tokens and their parts are replaced."""
    assert clean(text, (None, "", "header1.payload1.signature1", "own")) == cleaned
