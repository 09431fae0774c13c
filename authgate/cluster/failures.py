"""The error for a failed call: its `ApiErrorKind`, and a bounded message with the remedy and without tokens."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.own_token import read_own_token
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.cluster.transport import RawAnswer

_MAX_RETRY_AFTER: Final = 60
_MAX_DETAIL: Final = 200
_MIN_PART: Final = 8
_PROXY: Final = "check the kubeconfig's proxy-url, or HTTPS_PROXY and NO_PROXY of the environment"


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a call that error messages need: the request, the ClusterRole that allows it, the token in it.

    `trust` and `proxy` are what to check if the server's certificate is not trusted, or its proxy fails.
    """

    asked: str
    role: str
    token: str = field(default="", repr=False)
    trust: str = "check the cluster's certificate-authority"
    proxy: str = _PROXY


def clean(text: str, secrets: Iterable[str | None] = ()) -> str:
    """Return `text` on one line, printable, of at most 200 characters, with each of `secrets` replaced by "[token]".

    So is each dot-separated part of a secret: the payload of a JWT alone names its owner.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[token]")
            for part in secret.split("."):
                text = text.replace(part, "[token]") if len(part) >= _MIN_PART else text
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= _MAX_DETAIL else line[: _MAX_DETAIL - 1] + "…"


def status_error(call: Call, answer: RawAnswer, own_token: str | None) -> ApiError:
    """Return the error for an answer with an unexpected status."""
    message = _message(answer.body)
    status, retry_after = answer.status, retry_seconds(answer.retry_after)
    quoted = f": {message}" if message else ""
    if 300 <= status <= 399:
        kind, detail = (
            ApiErrorKind.BAD_ANSWER,
            f"{call.asked}: answered with a redirect, which is never followed",
        )
    elif status == 401:
        kind = ApiErrorKind.UNAUTHORIZED
        detail = f"the API server does not accept the gate's own credential; check its token or certificate{quoted}"
    elif status == 403:
        kind = ApiErrorKind.FORBIDDEN
        account = read_own_token(own_token).subject or "the gate's account"
        detail = f"not allowed to {call.asked}: bind the ClusterRole {call.role} to {account}{quoted}"
    elif status == 429:
        kind, detail = ApiErrorKind.RATE_LIMITED, f"{call.asked}: the API server answered 429{quoted}"
    elif status >= 500:
        kind, detail = ApiErrorKind.SERVER_ERROR, f"{call.asked}: the API server answered {status}{quoted}"
    else:
        kind, detail = ApiErrorKind.BAD_ANSWER, f"{call.asked}: the API server answered {status}{quoted}"
    return ApiError(kind, clean(detail, (call.token, own_token)), retry_after)


def retry_seconds(header: str) -> int:
    """Return a Retry-After in seconds, 1 to 60, or 0 if it is missing or a date."""
    text = header.strip()
    if not (text.isascii() and text.isdigit()):
        return 0
    return max(1, min(int(text[:9]), _MAX_RETRY_AFTER))


def _message(body: bytes) -> str:
    """Return the `message` of a Kubernetes Status, or "" for any other body, such as a gateway's HTML."""
    try:
        message = parse_object(body).get("message")
    except StrictJSONError:
        return ""
    return message if isinstance(message, str) else ""


def network_error(call: Call, error: aiohttp.ClientError | OSError | UnicodeError, server: str) -> ApiError:
    """Return the error for a request that ended without a complete answer.

    A host name with an empty label, or one of more than 63 characters, is a UnicodeError.
    """
    kind = ApiErrorKind.UNREACHABLE
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=reason):
            why = getattr(reason, "verify_message", "") or str(reason)
            detail = f"the certificate of {server} is not trusted: {why}; {call.trust}"
        case aiohttp.ClientConnectorDNSError() | UnicodeError():
            detail = f"the host name of {server} cannot be resolved"
        case aiohttp.ClientProxyConnectionError():
            detail = f"the proxy on the way to {server} cannot be reached; {call.proxy}"
        case aiohttp.ClientConnectorSSLError(os_error=cause):
            detail = f"the TLS handshake with {server} failed: {_reason(cause)}"
        case aiohttp.ClientConnectorError():
            detail = f"{server} cannot be reached: {_reason(error.os_error)}"
        case aiohttp.ClientHttpProxyError():
            detail = f"the proxy on the way to {server} answered {error.status}; {call.proxy}"
        case aiohttp.ClientResponseError():
            kind, detail = ApiErrorKind.BAD_ANSWER, f"{server} does not speak valid HTTP"
        case aiohttp.ClientPayloadError():
            kind, detail = ApiErrorKind.BAD_ANSWER, f"{server} broke off in the middle of its answer"
        case aiohttp.ServerDisconnectedError():
            detail = f"{server} closed the connection without an answer"
        case _:
            detail = f"the connection to {server} broke: {_reason(error)}"
    return ApiError(kind, clean(f"{call.asked}: {detail}", (call.token,)))


def _reason(error: BaseException) -> str:
    if isinstance(error.__cause__, ssl.SSLError):  # a missing client certificate is reported this late
        return _reason(error.__cause__)
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return type(error).__name__
