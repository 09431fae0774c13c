"""The client of one cluster's API server."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp

from authgate.cluster import reviews, token_request
from authgate.cluster.api import AccessAnswer, AccessAttributes, ApiError, ApiErrorKind, ReviewAnswer
from authgate.cluster.connection import (
    Authorization,
    ClusterConfigError,
    Connection,
    ConnectionSettings,
    ExecPlugin,
    TokenFile,
    pod_connection,
    present,
)
from authgate.cluster.credentials import Credential, CredentialSource, FixedSource, TokenFileSource
from authgate.cluster.exec_plugin import PluginSource
from authgate.cluster.failures import Call, clean, network_error, status_error
from authgate.cluster.kubeconfig import kubeconfig_paths, read_kubeconfig
from authgate.cluster.own_token import OwnToken, read_own_token
from authgate.cluster.transport import RawAnswer, Transport, read_answer
from authgate.cluster.validity import CertificateValidity, TokenValidity
from authgate.http_proxy import ProxyEnvironment, ProxyError
from authgate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.cluster.api import ResourceAttributes
    from authgate.cluster.token_request import TokenAnswer, TokenSpec
    from authgate.cluster.typed_api import TypedAPI
    from authgate.cluster.validity import Validity
    from authgate.model import Identity

__all__ = ["ClusterClient", "ClusterConfigError", "ConnectionSettings"]

_LOG: Final = logging.getLogger(__name__)

_REVIEWER: Final = "system:auth-delegator"
_DISCOVERER: Final = "system:service-account-issuer-discovery"
_MAX_VERSION: Final = 1 << 16
_MAX_POSTED: Final = 1 << 20
"""Bytes of the answer to a POST: the server repeats what it was asked."""
_DONE: Final = frozenset({200, 201})

_Answer = TypeVar("_Answer", RawAnswer, aiohttp.ClientResponse)


class ClusterClient:
    """Implements `authgate.cluster.api.ClusterAPI` for one API server.

    A request is repeated once with a new credential if the server refused the old one (401), and once on a new
    connection if the kept one was closed. Both are within the timeout of the call.
    """

    def __init__(
        self,
        transport: Transport,
        connection: Connection,
        source: CredentialSource,
        settings: ConnectionSettings,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._source = source
        self._timeout = settings.timeout
        self._import_timeout = settings.import_timeout
        self._typed_api: TypedAPI | None = None
        self._imports: SingleFlight[None, type[TypedAPI] | str] = SingleFlight()

    @classmethod
    async def connect(cls, settings: ConnectionSettings) -> ClusterClient:
        """Return a client for the cluster of `settings`; raises `ClusterConfigError`.

        No request is sent: the API server may be down.
        """
        connection = find_connection(settings)
        source = _credential_source(connection, settings)
        if connection.unsafe_skip_verify:
            _LOG.warning(
                "%s: insecure-skip-tls-verify is set: any server that answers at %s can authenticate anybody",
                connection.origin,
                connection.server,
            )
        return cls(Transport(connection, source.latest()), connection, source, settings)

    @property
    def connection(self) -> Connection:
        """The API server's address, and the kind of credential that the gate presents to it."""
        return self._connection

    def credentials(self) -> dict[str, Callable[[], Validity | None]]:
        """Return from when until when the gate's own token and client certificate are valid; {} for an exec plugin.

        A plugin's credential is renewed when the next request needs it, so its end means nothing.
        """
        if isinstance(self._connection.credential, ExecPlugin):
            return {}
        found: dict[str, Callable[[], Validity | None]] = {
            "token": TokenValidity(lambda: self._source.latest().token)
        }
        if self._connection.client_certificate is not None:
            found["certificate"] = CertificateValidity(self._connection.client_certificate.certificate)
        return found

    async def get(self, path: str, *, limit: int, within: float | None = None) -> bytes:
        """Return the body of a 200 answer to GET `path`, at most `limit` bytes; raises `ApiError`."""
        call = Call(f"get {path}", _DISCOVERER)
        answer = await self._get(call, path, limit, within or self._timeout)
        if answer.status != 200:
            raise self.status_error(call, answer)
        return answer.body

    async def open(self, call: Call, path: str, accept: str) -> aiohttp.ClientResponse:
        """Return the answer to a GET, whatever its status and with its body unread; raises `ApiError`."""

        async def opened(credential: Credential) -> aiohttp.ClientResponse:
            return await self._transport.get(path, credential, accept)

        return await self._bounded(call, self._authorized(opened), self._timeout)

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> ReviewAnswer:
        """Ask TokenReview about `token` for `audiences` (never empty); raises `ApiError`."""
        if not audiences:  # the server would put its own audiences in their place
            raise ValueError("a review without audiences would accept a token meant for the API server")
        call = Call("create tokenreviews", _REVIEWER, token)
        answer = await self._post(call, lambda api: api.review_token(token, audiences))
        return reviews.parse_token_review(answer.body, token)

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """Ask SubjectAccessReview whether `identity` may do this; raises `ApiError`."""
        call = Call("create subjectaccessreviews", _REVIEWER)
        answer = await self._post(call, lambda api: api.review_access(identity, attributes))
        return reviews.parse_access_review("SubjectAccessReview", answer.body)

    async def review_own_access(self, attributes: ResourceAttributes) -> AccessAnswer:
        """Ask SelfSubjectAccessReview whether the gate's own account may do this; raises `ApiError`."""
        call = Call("create selfsubjectaccessreviews", "system:basic-user")
        answer = await self._post(call, lambda api: api.review_own_access(attributes))
        return reviews.parse_access_review("SelfSubjectAccessReview", answer.body)

    async def request_token(self, wanted: TokenSpec) -> TokenAnswer:
        """Request a ServiceAccount's token (TokenRequest); raises `ApiError` if the server does not decide."""
        call = Call("create serviceaccounts/token", "that allows it")
        answer = await self._post(call, lambda api: api.request_token(wanted), _DONE | token_request.REFUSED)
        if answer.status in token_request.REFUSED:
            return token_request.read_refusal(answer, self._source.latest().token)
        return token_request.parse_token(answer.body)

    async def server_date(self) -> str:
        """Return the `Date` header of the server's answer to GET /version, as sent; raises `ApiError`.

        A refusal to show the version (403, 404) is an answer; a refused credential (401) is an error.
        """
        call = Call("get /version", "system:public-info-viewer")
        answer = await self._get(call, "/version", _MAX_VERSION, self._timeout)
        if answer.status not in {200, 403, 404}:
            raise self.status_error(call, answer)
        return answer.date

    def own_token(self) -> OwnToken | None:
        """Return the claims of the gate's own bearer token, or None if it presents no bearer token."""
        token = self._source.latest().token
        return None if token is None else read_own_token(token)

    def own_issuer(self) -> str | None:
        """Return the `iss` of the gate's own ServiceAccount token, or None if it has no such token."""
        return read_own_token(self._source.latest().token).issuer or None

    def status_error(self, call: Call, answer: RawAnswer) -> ApiError:
        """Return the error for an answer with an unexpected status."""
        return status_error(call, answer, self._source.latest().token)

    async def close(self) -> None:
        """Close every connection."""
        await self._imports.close()
        await self._transport.close()

    async def _get(self, call: Call, path: str, limit: int, within: float) -> RawAnswer:
        async def answered(credential: Credential) -> RawAnswer:
            # Not application/json: the server answers 406, since its keys are application/jwk-set+json.
            return await read_answer(await self._transport.get(path, credential, "*/*"), limit)

        return await self._bounded(call, self._authorized(answered), within)

    async def _post(
        self,
        call: Call,
        request: Callable[[TypedAPI], Awaitable[RawAnswer]],
        accepted: frozenset[int] = _DONE,
    ) -> RawAnswer:
        """Send a typed request; raises `ApiError` for a status that is not `accepted`."""
        api = await self._typed()
        answer = await self._bounded(call, request(api), self._timeout)
        if answer.status not in accepted:
            raise self.status_error(call, answer)
        return answer

    async def _send(self, path: str, body: bytes) -> RawAnswer:
        """Post what the library built."""

        async def answered(credential: Credential) -> RawAnswer:
            return await read_answer(await self._transport.post(path, body, credential), _MAX_POSTED)

        return await self._authorized(answered)

    async def _typed(self) -> TypedAPI:
        """Return the typed requests, importing their library before the first; raises `ApiError` if that fails."""
        if self._typed_api is None:
            try:
                async with asyncio.timeout(self._import_timeout):
                    imported = await self._imports.do(None, _import_in_thread)
            except TimeoutError:
                imported = f"it takes longer than {self._import_timeout:g} s; is there enough CPU?"
            if isinstance(imported, str):
                detail = f"the Kubernetes client library cannot be loaded: {imported}"
                raise ApiError(ApiErrorKind.UNREACHABLE, clean(detail))
            self._typed_api = imported(self._send)
        return self._typed_api

    async def _bounded(self, call: Call, exchange: Awaitable[_Answer], within: float) -> _Answer:
        # Raised after the handlers: aiohttp's errors carry the request's headers, and must not become the context.
        try:
            async with asyncio.timeout(within):
                return await exchange
        except TimeoutError:
            failure = ApiError(ApiErrorKind.TIMEOUT, f"{call.asked}: no complete answer within {within:g} s")
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            failure = network_error(call, error, self._connection.server)
        raise failure

    async def _authorized(self, exchange: Callable[[Credential], Awaitable[_Answer]]) -> _Answer:
        """Return the answer to an exchange, repeated if the server refuses the credential and there is a new one."""
        credential = await self._source.current()
        answer = await exchange(credential)
        if answer.status != 401 or (renewed := await self._source.renew()) == credential:
            return answer
        if isinstance(answer, aiohttp.ClientResponse):
            answer.close()
        return await exchange(renewed)


async def _import_in_thread() -> type[TypedAPI] | str:
    """Import the Kubernetes client library; return its typed requests, or why it cannot be imported.

    In a thread, so that other requests are answered meanwhile. After a failure the next call tries again.
    """
    try:
        return await asyncio.to_thread(_import_typed_api)
    except OSError as error:  # such as: no free file descriptor
        return error.strerror or str(error)
    except (ImportError, RuntimeError) as error:  # RuntimeError: no thread can be started
        return str(error)


def _import_typed_api() -> type[TypedAPI]:
    from authgate.cluster.typed_api import TypedAPI

    return TypedAPI


def find_connection(settings: ConnectionSettings) -> Connection:
    """Return the connection that `settings` describe; raises `ClusterConfigError`.

    Without a proxy-url the environment's proxy is used, in a pod too, as client-go does.
    """
    connection = _described(settings)
    if connection.proxy is not None:
        return connection
    try:
        return replace(connection, proxy=ProxyEnvironment(settings.environ).proxy_for(connection.server))
    except ProxyError as error:
        raise ClusterConfigError(str(error)) from None


def _described(settings: ConnectionSettings) -> Connection:
    if (
        settings.kubeconfig is None
        and settings.context is None
        and (pod := pod_connection(settings)) is not None
    ):
        return pod
    paths = kubeconfig_paths(settings.kubeconfig, settings.environ)
    found = [path for path in paths if settings.kubeconfig is not None or present(path)]
    if not found:
        raise ClusterConfigError(
            f"no cluster found: no ServiceAccount in {settings.service_account_dir} (in a pod, check"
            f" automountServiceAccountToken) and no kubeconfig at {', '.join(map(str, paths))}; set"
            " cluster.kubeconfig"
        )
    return read_kubeconfig(found, settings.context)


def _credential_source(connection: Connection, settings: ConnectionSettings) -> CredentialSource:
    certificate = connection.client_certificate
    match connection.credential:
        case TokenFile(path):
            return TokenFileSource(path, certificate, time.monotonic)
        case ExecPlugin() as plugin:
            return PluginSource(plugin, settings.environ, time.time, time.monotonic, settings.programs)
        case Authorization(value):
            return FixedSource(Credential(value, certificate))
        case None:
            return FixedSource(Credential(None, certificate))
