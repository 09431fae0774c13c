"""Token introspection (RFC 7662): requests to an authorization server, authenticated as one of its clients."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import jwt

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.connection import ClientCertificate, ClusterConfigError, Connection
from authgate.cluster.credentials import Credential, file_mark
from authgate.cluster.failures import Call, clean, network_error, retry_seconds
from authgate.cluster.transport import Transport, read_answer
from authgate.http_proxy import ProxyError
from authgate.keys.remote import KeyFetchError
from authgate.keys.sources import discover
from authgate.single_flight import SingleFlight
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.cluster.transport import RawAnswer
    from authgate.http_proxy import ProxyEnvironment
    from authgate.keys.fetch import Fetcher
    from authgate.model import Clock, JSONValue

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
_MAX_ANSWER: Final = 1 << 18
_FORM: Final = "application/x-www-form-urlencoded"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFETIME: Final = 60
_ERROR_CODE: Final = re.compile("[a-z_]{1,64}")
_REDISCOVER: Final = 300.0
_RETRY_DISCOVERY: Final = 5.0
_HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthSettings:
    """How to authenticate as a client (RFC 6749, section 2.3; RFC 7523; RFC 8705). The method decides what is used."""

    method: Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"]
    client_id: str
    secret_file: Path | None = None
    key_file: Path | None = None
    cert_file: Path | None = None
    algorithm: str = "RS256"
    key_id: str | None = None
    audience: str | None = None


class IntrospectionClient:
    """Introspects tokens at `endpoint`, or at the one that `issuer` advertises.

    A whole request takes at most `timeout` seconds, discovery included. An answer has at most 256 KiB. No redirect is
    followed. Raises `ProxyError` for the proxy of a fixed endpoint.
    """

    def __init__(
        self,
        auth: ClientAuthSettings,
        clock: Clock,
        *,
        name: str,
        endpoint: str | None,
        issuer: str | None,
        fetcher: Fetcher,
        timeout: float,
        ca: bytes | None,
        proxies: ProxyEnvironment,
    ) -> None:
        self._auth = _ClientAuth(auth, clock, audience=auth.audience or issuer)
        self._clock = clock
        self._name = name
        self._timeout = timeout
        self._ca = ca
        self._proxies = proxies
        self._issuer = issuer or ""
        self._fetcher = fetcher
        self._discovers = endpoint is None
        self._discovery: SingleFlight[None, None] = SingleFlight()
        self._rediscovery: asyncio.Task[None] | None = None
        self._discover_at = 0.0
        self._failure = "not discovered yet"
        self._transport: Transport | None = None
        self.endpoint = endpoint or ""
        """The URL of the endpoint; empty until it is discovered."""
        if endpoint is not None:
            proxies.proxy_for(endpoint)

    async def introspect(self, token: str) -> Mapping[str, JSONValue] | None:
        """Return the members of the answer about an active token, or None if it is not active; raises `ApiError`."""
        # Raised after the handlers: aiohttp's errors carry the request's headers, and must not become the context.
        failure: ApiError
        try:
            async with asyncio.timeout(self._timeout):
                transport = await self._ready()
                form, authorization = self._auth.apply(
                    {"token": token, "token_type_hint": "access_token"}, self.endpoint
                )
                credential = Credential(authorization, self._auth.certificate)
                response = await transport.post("", urlencode(form).encode(), credential, _FORM)
                return _read(await read_answer(response, _MAX_ANSWER), token)
        except TimeoutError:
            failure = ApiError(ApiErrorKind.TIMEOUT, f"no complete answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            call = Call(
                "introspect a token",
                "",
                token,
                trust="set certificateAuthority to its CA",
                proxy="check HTTPS_PROXY and NO_PROXY of the environment",
            )
            failure = network_error(call, error, self.endpoint)
        raise failure

    async def close(self) -> None:
        """Close every connection."""
        await self._discovery.close()
        if self._transport is not None:
            await self._transport.close()

    async def _ready(self) -> Transport:
        """Return the transport to the endpoint, after its discovery if it is unknown.

        Later discoveries run in the background, because the issuer could be down while the endpoint answers.
        """
        if self._discovers and self._clock.monotonic() >= self._discover_at:
            if not self.endpoint:
                await self._discovery.do(None, self._discover)
            elif not self._discovery.in_progress(None):
                self._rediscovery = asyncio.create_task(self._discovery.do(None, self._discover))
        if not self.endpoint:
            raise ApiError(ApiErrorKind.UNREACHABLE, f"the endpoint is unknown: {clean(self._failure)}")
        if self._transport is None:
            self._transport = self._connect(self.endpoint)
        return self._transport

    async def _discover(self) -> None:
        """Find the endpoint; if that fails, the last one stays in use."""
        try:
            found = await discover(self._issuer, "introspection_endpoint", self._fetcher)
            self._proxies.proxy_for(found)
            if found != self.endpoint:
                previous, self._transport, self.endpoint = self._transport, None, found
                if previous is not None:
                    await previous.close()
        except (KeyFetchError, ProxyError) as error:
            if str(error) != self._failure and self.endpoint:
                _LOG.warning("introspection '%s': %s; the last endpoint stays in use", self._name, error)
            self._failure = str(error)
            self._discover_at = self._clock.monotonic() + _RETRY_DISCOVERY
        else:
            self._failure = ""
            self._discover_at = self._clock.monotonic() + _REDISCOVER

    def _connect(self, endpoint: str) -> Transport:
        """Return a transport to the endpoint; raises `ApiError` if the client certificate cannot be used yet."""
        connection = Connection(
            origin=f"introspection '{self._name}'",
            server=endpoint,
            ca=self._ca,
            proxy=self._proxies.proxy_for(endpoint),
        )
        try:
            return Transport(connection, Credential(None, self._auth.certificate))
        except ClusterConfigError as error:
            problem = f"authgate's client certificate cannot be used: {clean(str(error))}"
        raise ApiError(ApiErrorKind.UNAUTHORIZED, problem)


class _ClientAuth:
    """Authenticates requests; files are read again when they change."""

    def __init__(self, settings: ClientAuthSettings, clock: Clock, audience: str | None) -> None:
        self._settings = settings
        self._clock = clock
        self._audience = audience
        self.certificate: ClientCertificate | None = None
        self._secret: _File[str] | None = None
        self._key: _File[object] | None = None
        if settings.method == "tls_client_auth":
            if settings.cert_file is None or settings.key_file is None:
                raise ValueError("tls_client_auth needs a certificate and a key")
            self.certificate = ClientCertificate(settings.cert_file, settings.key_file)
        elif settings.method == "private_key_jwt":
            algorithm = jwt.get_algorithm_by_name(settings.algorithm)
            self._key = _File(settings.key_file or Path(), algorithm.prepare_key)
        else:
            self._secret = _File(settings.secret_file or Path(), _secret)

    def apply(self, form: dict[str, str], endpoint: str) -> tuple[dict[str, str], str | None]:
        """Return the form and the Authorization header of a request; raises `ApiError` if a file cannot be used."""
        client = self._settings.client_id
        if self._key is not None:
            assertion = self._assertion(self._key.value(), endpoint)
            return {
                **form,
                "client_id": client,
                "client_assertion_type": _ASSERTION,
                "client_assertion": assertion,
            }, None
        if self._secret is None:
            return {**form, "client_id": client}, None
        secret = self._secret.value()
        if self._settings.method == "client_secret_post":
            return {**form, "client_id": client, "client_secret": secret}, None
        # RFC 6749, section 2.3.1: both are form-encoded before they are joined. Not every server decodes "+".
        pair = f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()
        return form, f"Basic {base64.b64encode(pair).decode()}"

    def _assertion(self, key: object, endpoint: str) -> str:
        """Return a JWT that authenticates the client (RFC 7523, section 3)."""
        now = int(self._clock.now())
        client = self._settings.client_id
        claims: dict[str, JSONValue] = {
            "iss": client,
            "sub": client,
            "aud": self._audience or endpoint,
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME,
            "jti": secrets.token_urlsafe(16),
        }
        headers = {} if self._settings.key_id is None else {"kid": self._settings.key_id}
        try:
            return jwt.encode(claims, key, self._settings.algorithm, headers)  # type: ignore[arg-type]  # a key of another type raises
        except (ValueError, TypeError, jwt.PyJWTError):
            problem = f"{self._settings.key_file} cannot sign with {self._settings.algorithm}"
        raise ApiError(ApiErrorKind.UNAUTHORIZED, problem)


class _File(Generic[T]):
    """The content of a file, read again when the file changes. If that fails, the last content stays in use."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self._path = path
        self._parse = parse
        self._mark: object = None
        self._value: T | None = None

    def value(self) -> T:
        """Return the content; raises `ApiError` if it could never be read."""
        # The mark is taken before the content: a file that changes in between is read once more, never missed.
        mark = file_mark(self._path)
        if self._value is not None and mark == self._mark:
            return self._value
        problem = ""
        try:
            self._value = self._parse(self._path.read_bytes())
        except OSError as error:
            problem = f"{self._path} cannot be read: {error.strerror}"
        except (ValueError, TypeError, jwt.PyJWTError):  # the error could quote the content
            problem = f"{self._path} contains no usable secret or key"
        if self._value is None:
            raise ApiError(ApiErrorKind.UNAUTHORIZED, f"authgate's client credentials are missing: {problem}")
        if problem:
            _LOG.warning("%s; the last content stays in use", problem)
        self._mark = mark
        return self._value


def _secret(data: bytes) -> str:
    secret = data.decode().strip()
    if not secret:
        raise ValueError("empty")
    return secret


def _read(answer: RawAnswer, token: str) -> Mapping[str, JSONValue] | None:
    """Return the members of an answer about an active token, None for an inactive one; raises `ApiError`."""
    if answer.status != _HTTP_OK:
        raise _status_error(answer)
    try:
        members = parse_object(answer.body)
    except StrictJSONError as error:
        problem = f"the answer is not a JSON object: {error}"
    else:
        active = members.get("active")
        if isinstance(active, bool):
            return members if active else None
        problem = "`active` is missing or not a boolean"
    raise ApiError(ApiErrorKind.BAD_ANSWER, clean(problem, (token,)))


def _status_error(answer: RawAnswer) -> ApiError:
    status, code = answer.status, _error_code(answer.body)
    shown = f"{status} {code}" if code else str(status)
    kind, detail = ApiErrorKind.BAD_ANSWER, f"the endpoint answered {shown} instead of 200"
    if status in {401, 403} or code == "invalid_client":
        kind = ApiErrorKind.FORBIDDEN if status == 403 else ApiErrorKind.UNAUTHORIZED
        detail = (
            f"the endpoint does not accept authgate's own client credentials ({shown}); check clientAuth, and that the"
            " client may introspect tokens"
        )
    elif status == 429:
        kind = ApiErrorKind.RATE_LIMITED
    elif 300 <= status <= 399:
        detail = f"the endpoint answered with a redirect ({shown}), which is never followed"
    elif status >= 500:
        kind = ApiErrorKind.SERVER_ERROR
    return ApiError(kind, detail, retry_seconds(answer.retry_after) if status in {429, 503} else 0)


def _error_code(body: bytes) -> str:
    """Return the `error` of a body (RFC 6749, section 5.2), or ""."""
    try:
        code = parse_object(body).get("error")
    except StrictJSONError:
        return ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
