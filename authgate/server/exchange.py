"""Token exchange (RFC 8693) on its own listener, and the documents that verify the issued tokens.

The subject token is checked by the same gate and policy as at /verify. The answer is a short-lived JWT signed by the
gate, for one audience that the policy is configured to issue tokens for.
"""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from aiohttp import ClientError
from aiohttp.http_exceptions import HttpProcessingError

from authgate.errors import REASONS, Reason
from authgate.model import Allow, Deny, OriginalRequest, Unavailable
from authgate.observability.log import event, traceback_of
from authgate.server.http import web
from authgate.server.record import describe
from authgate.server.request_facts import RequestFacts, forwarded_for, trace_parent
from authgate.server.request_ids import named
from authgate.signing.keys import jwk_set
from authgate.signing.tokens import EXCHANGED_TOKEN
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.model import Decision
    from authgate.observability.metrics import Metrics
    from authgate.observability.tracing import DecisionSpan, Tracing
    from authgate.server.decider import Serving
    from authgate.server.record import Recorder
    from authgate.server.request_ids import RequestIds
    from authgate.signing.tokens import TokenIssuer

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
_TYPES: Final = frozenset({JWT_TYPE, ACCESS_TOKEN_TYPE})
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS = 20
_KNOWN: Final = frozenset(
    {
        "actor_token",
        "actor_token_type",
        "audience",
        "grant_type",
        "requested_token_type",
        "resource",
        "scope",
        "subject_token",
        "subject_token_type",
    }
)
_NOTHING_KNOWN: Final = OriginalRequest()
_DOCUMENT_AGE = 300


EXCHANGE_RESULTS: Final = (
    "issued",
    "invalid_request",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "temporarily_unavailable",
)
"""The results of token exchanges: issued, or an error code."""


class _RefusedError(Exception):
    """A request that gets no token: the OAuth error, its description and the status (RFC 6749, section 5.2)."""

    def __init__(
        self, error: str, description: str, status: int = 400, retry_after: int = 0, allow: str = ""
    ) -> None:
        super().__init__(description)
        self.error, self.description = error, description
        self.status, self.retry_after, self.allow = status, retry_after, allow


def signed_documents(issuer: TokenIssuer) -> dict[str, bytes]:
    """Return the discovery document and the key set of the gate's own tokens, by path.

    They are served at the root and below the issuer's own path (OpenID Connect Discovery 1.0, section 4).
    """
    base = issuer.issuer.rstrip("/")
    discovery = {
        "issuer": issuer.issuer,
        "jwks_uri": f"{base}/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in issuer.keys}),
    }
    documents = {
        "/.well-known/openid-configuration": json.dumps(discovery).encode(),
        "/jwks": jwk_set(issuer.keys),
    }
    below = urlsplit(base).path
    return {**documents, **{below + path: text for path, text in documents.items()}}


def signed_document(documents: Mapping[str, bytes], path: str) -> web.Response | None:
    """Return the answer to a request for one of the documents, or None if the path names none of them."""
    body = documents.get(path)
    if body is None:
        return None
    headers = {"Cache-Control": f"public, max-age={_DOCUMENT_AGE}", "Server": "authgate"}
    return web.Response(body=body, content_type="application/json", headers=headers)


class Exchange:
    """One configuration's token exchange: the signing issuer, the audiences of each policy, and the lifetime."""

    def __init__(self, issuer: TokenIssuer, audiences: Mapping[str, frozenset[str]], ttl: float) -> None:
        self.issuer = issuer
        self.audiences = audiences
        self.ttl = ttl
        self._documents = signed_documents(issuer)
        self._policies = {
            "/token" if name == DEFAULT_POLICY else f"/policies/{name}/token": name for name in audiences
        }

    def policy_at(self, path: str) -> str | None:
        """Return the policy whose tokens are exchanged at a path."""
        return self._policies.get(path)

    def document(self, path: str) -> web.Response | None:
        """Return the answer to a request for discovery or keys."""
        return signed_document(self._documents, path)


class ExchangeHandler:
    """Answer `POST /token` for the default policy and `POST /policies/<name>/token` for another."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        *,
        max_body_bytes: int,
        body_timeout: float,
        metrics: Metrics,
        recorder: Recorder,
        ids: RequestIds | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._ids = ids
        self._tracing = tracing
        self._serving = serving
        self._max_body_bytes = max_body_bytes
        self._body_timeout = body_timeout
        self._metrics = metrics
        self._recorder = recorder

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return a token, a document or an error. It is never a 500 and never quotes the request."""
        exchange = self._serving().exchange
        policy = exchange.policy_at(request.path) if exchange else None
        if exchange is None or policy is None:
            document = exchange.document(request.path) if exchange else None
            if document is None:
                return _refusal(_no_endpoint())
            return document if request.method in ("GET", "HEAD") else _refusal(_only_get())
        request_id = self._ids.of(request.raw_headers) if self._ids else None
        if self._tracing is None:
            return await self._answer(request, policy, request_id, None)
        with self._tracing.decision(trace_parent(request.raw_headers), "exchange token") as span:
            response = await self._answer(request, policy, request_id, span)
            span.describe({"http.request.id": request_id, "http.response.status_code": response.status})
            return response

    async def _answer(
        self, request: web.BaseRequest, policy: str, request_id: str | None, span: DecisionSpan | None
    ) -> web.Response:
        try:
            response = await self._exchange(request, policy, request_id, span)
            result = "issued"
        except _RefusedError as refused:
            response, result = _refusal(refused), refused.error
        except Exception as error:  # noqa: BLE001 - the last line of defence: the client gets a 503
            self._metrics.internal_errors += 1
            event(
                logging.ERROR,
                "unexpected error in a token exchange; the request was answered 503",
                **named(request_id),
                error_type=type(error).__name__,
                exception_stacktrace=traceback_of(error),
            )
            if span is not None:
                span.describe({}, error=Reason.INTERNAL_ERROR.value)
            response = _refusal(_RefusedError("temporarily_unavailable", "internal error", 503, 1))
            result = "temporarily_unavailable"
        self._metrics.exchange_requests[result] += 1
        if self._ids and request_id:
            response.headers.update(self._ids.answer_headers(request_id))
        return response

    async def _exchange(
        self, request: web.BaseRequest, policy: str, request_id: str | None, span: DecisionSpan | None
    ) -> web.Response:
        if request.method != "POST":
            raise _RefusedError("invalid_request", "send the exchange request with POST", 405, allow="POST")
        form = await self._form(request)
        serving = self._serving()  # not earlier: a reload may happen while the form arrives
        exchange = serving.exchange
        if exchange is None or policy not in exchange.audiences:
            raise _no_endpoint()
        audience = _audience(form, exchange.audiences[policy])
        subject = _subject_token(form)
        credentials = (b"Bearer " + subject.encode(),)

        def about() -> RequestFacts:
            headers = request.raw_headers
            trace = (None if span is None else span.ids) or trace_parent(headers)
            return RequestFacts(
                request_id, trace, forwarded_for(serving.proxy, headers), credentials=credentials
            )

        on_difference = partial(self._recorder.difference, about=about)
        with serving as gate:
            decision = await gate.decide(credentials, policy, _NOTHING_KNOWN, on_difference=on_difference)
        self._recorder.audit(decision, policy, about)
        if span is not None:
            describe(span, decision, policy)
        allowed = _allowed(decision)
        if allowed.identity is None:
            raise _RefusedError("invalid_request", "anonymous requests cannot be exchanged")
        token = exchange.issuer.issue(
            allowed.identity,
            audience,
            typ=EXCHANGED_TOKEN,
            policy=policy,
            ttl=exchange.ttl,
            expires_at=allowed.expires_at,
        )
        if token is None:
            raise _RefusedError("invalid_request", "the subject token has expired")
        body = {
            "access_token": token.text,
            "issued_token_type": JWT_TYPE,
            "token_type": "Bearer",
            "expires_in": token.expires_in,
        }
        return _json(body, 200)

    async def _form(self, request: web.BaseRequest) -> dict[str, str]:
        if request.content_type != _FORM:
            raise _RefusedError("invalid_request", f"the request's content type must be {_FORM}", 415)
        body = await self._body(request)
        try:
            pairs = parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        except ValueError:
            raise _RefusedError("invalid_request", "the body is not a well-formed form") from None
        form = dict(pairs)
        if len(form) != len(pairs):
            raise _RefusedError(
                "invalid_request", "a parameter is repeated; send each one once, and one audience per request"
            )
        return {name: value for name, value in form.items() if name in _KNOWN and value}

    async def _body(self, request: web.BaseRequest) -> bytes:
        max_bytes = self._max_body_bytes
        body = b""
        try:
            async with asyncio.timeout(self._body_timeout):
                while len(body) <= max_bytes and (chunk := await request.content.readany()):
                    body += chunk
        except TimeoutError:
            raise _RefusedError(
                "invalid_request", "the body did not arrive within the time limit", 408
            ) from None
        except (OSError, ClientError, HttpProcessingError):
            raise _RefusedError("invalid_request", "the body is incomplete") from None
        if len(body) > max_bytes:
            raise _RefusedError("invalid_request", f"the body is larger than {max_bytes} bytes", 413)
        return body


def _allowed(decision: Decision) -> Allow:
    match decision:
        case Allow():
            return decision
        case Unavailable(reason, _, retry_after):
            raise _RefusedError(
                "temporarily_unavailable", f"{reason.value}: {REASONS[reason].meaning}", 503, retry_after
            )
        case Deny(reason):
            info = REASONS[reason]
            error = "invalid_request" if info.status == 401 else "unauthorized_client"  # RFC 8693, 2.2.2
            raise _RefusedError(error, f"{reason.value}: {info.meaning}", 403 if info.status == 403 else 400)


def _only_get() -> _RefusedError:
    return _RefusedError("invalid_request", "request this document with GET", 405, allow="GET, HEAD")


def _no_endpoint() -> _RefusedError:
    return _RefusedError("invalid_request", "no such endpoint", 404)


def _audience(form: Mapping[str, str], offered: frozenset[str]) -> str:
    if form.get("grant_type") != GRANT:
        raise _RefusedError("unsupported_grant_type", f"grant_type must be {GRANT}")
    for name in ("actor_token", "actor_token_type", "scope", "resource"):
        if name in form:
            raise _RefusedError("invalid_request", f"{name} is not supported")
    if form.get("requested_token_type", JWT_TYPE) not in _TYPES:
        raise _RefusedError("invalid_request", f"requested_token_type must be {JWT_TYPE}")
    audience = form.get("audience")
    if audience is None:
        raise _RefusedError("invalid_request", "audience is missing: send the app that the token is for")
    if audience not in offered:
        raise _RefusedError("invalid_target", "this policy does not issue tokens for that audience")
    return audience


def _subject_token(form: Mapping[str, str]) -> str:
    if form.get("subject_token_type") not in _TYPES:
        raise _RefusedError("invalid_request", f"subject_token_type must be {JWT_TYPE}")
    token = form.get("subject_token", "").rstrip("\r\n")  # the end of a file that a client sent as it is
    if not token:
        raise _RefusedError("invalid_request", "subject_token is missing")
    if not token.isascii():
        raise _RefusedError("invalid_request", "subject_token is not a bearer token")
    return token


def _refusal(refused: _RefusedError) -> web.Response:
    response = _json({"error": refused.error, "error_description": refused.description}, refused.status)
    if refused.retry_after:
        response.headers["Retry-After"] = str(refused.retry_after)
    if refused.allow:
        response.headers["Allow"] = refused.allow
    return response


def _json(body: Mapping[str, object], status: int) -> web.Response:
    headers = {
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        "Server": "authgate",
    }  # RFC 6749, section 5.1
    return web.Response(
        text=json.dumps(body), status=status, content_type="application/json", headers=headers
    )
