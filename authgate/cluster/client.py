"""The client of one cluster's API server, on kubernetes_asyncio, which is loaded when a cluster is configured."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import aiohttp

from authgate import __version__
from authgate.cluster import access_check, subjectaccessreview, token_request, tokenreview
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
from authgate.cluster.credentials import Credential, FileCredential, FixedCredential, Shown
from authgate.cluster.exec_plugin import PluginCredential
from authgate.cluster.failures import Call, network_error, status_error
from authgate.cluster.kubeconfig import kubeconfig_paths, read_kubeconfig
from authgate.cluster.own_token import OwnToken, read_own_token
from authgate.cluster.tls import TLSContexts
from authgate.cluster.transport import RawAnswer, StraightSession, read_answer
from authgate.http_proxy import ProxyEnvironment, ProxyError

if TYPE_CHECKING:
    from kubernetes_asyncio.client.api_client import ApiClient

    from authgate.cluster.access_check import Action
    from authgate.cluster.token_request import TokenAnswer, TokenSpec
    from authgate.model import Identity

__all__ = ["ClusterClient", "ClusterConfigError", "ConnectionSettings"]

_LOG: Final = logging.getLogger(__name__)

_REVIEWER: Final = "system:auth-delegator"
_DISCOVERER: Final = "system:service-account-issuer-discovery"
_MAX_VERSION: Final = 1 << 16


class ClusterClient:
    """Implements `authgate.cluster.api.ClusterAPI` for one API server.

    Nothing is repeated but a request whose credential was refused, once and only with a changed credential, and one
    whose kept-alive connection was found closed. Both fit inside the one time-out of a call.
    """

    def __init__(
        self, api: ApiClient, connection: Connection, credential: Credential, timeout: float
    ) -> None:
        self._api = api
        self._connection = connection
        self._credential = credential
        self._timeout = timeout

    @classmethod
    async def connect(cls, access: ConnectionSettings) -> ClusterClient:
        """Return a client for the cluster of `access`; raises `ClusterConfigError`.

        No request is sent: the API server may be down, and comes into use when it is up.
        """
        connection = find_connection(access)
        credential = _credential(connection, access)
        if connection.unsafe_skip_verify:
            _LOG.warning(
                "%s: insecure-skip-tls-verify is set: whoever answers at %s can authenticate anybody",
                connection.origin,
                connection.server,
            )
        return cls(await _api_client(connection, credential), connection, credential, access.timeout)

    async def get(self, path: str, *, limit: int, within: float | None = None) -> bytes:
        """Return the body of a 200 answer to GET `path`, at most `limit` bytes; raises `ApiError`."""
        call = Call(f"get {path}", _DISCOVERER)
        answer = await self._bounded(call, "GET", path, None, limit, within=within or self._timeout)
        if answer.status != 200:
            raise status_error(call, answer, self._credential.held().token)
        return answer.body

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> ReviewAnswer:
        """Ask TokenReview about `token` for `audiences` (never empty); raises `ApiError`."""
        if not audiences:  # the server would put its own audiences in their place
            raise ValueError(
                "a review without audiences would accept a token that is meant for the API server"
            )
        call = Call("create tokenreviews", _REVIEWER, token)
        body = tokenreview.review_request(token, audiences)
        answer = await self._bounded(
            call, "POST", tokenreview.PATH, body, tokenreview.MAX_ANSWER, within=self._timeout
        )
        if answer.status not in {200, 201}:
            raise status_error(call, answer, self._credential.held().token)
        return tokenreview.parse_review(answer.body, token)

    async def open(self, call: Call, path: str, accept: str) -> aiohttp.ClientResponse:
        """Return the answer to a GET, whatever its status and with its body unread; raises `ApiError`."""
        failure = None
        try:
            async with asyncio.timeout(self._timeout):
                shown = await self._credential.current()
                response = await self._send("GET", path, None, shown, accept)
                if response.status == 401 and (renewed := await self._credential.renew()) != shown:
                    response.close()
                    response = await self._send("GET", path, None, renewed, accept)
                return response
        except TimeoutError:
            failure = ApiError(ApiErrorKind.TIMEOUT, f"{call.asked}: no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            failure = network_error(call, error, self._connection.server)
        raise failure

    def refusal(self, call: Call, answer: RawAnswer) -> ApiError:
        """Return the error for an answer whose status is not the wanted one."""
        return status_error(call, answer, self._credential.held().token)

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """Ask SubjectAccessReview whether `identity` may do this; raises `ApiError`."""
        call = Call("create subjectaccessreviews", _REVIEWER)
        path, body = subjectaccessreview.PATH, subjectaccessreview.review_request(identity, attributes)
        limit = subjectaccessreview.MAX_ANSWER
        answer = await self._bounded(call, "POST", path, body, limit, within=self._timeout)
        if answer.status not in {200, 201}:
            raise status_error(call, answer, self._credential.held().token)
        return subjectaccessreview.parse_review(answer.body)

    async def request_token(self, wanted: TokenSpec) -> TokenAnswer:
        """Ask for a ServiceAccount's token (TokenRequest); raises `ApiError` where the server does not decide."""
        call = Call("create serviceaccounts/token", "that may do so")
        path, body = token_request.request_path(wanted), token_request.request_body(wanted)
        answer = await self._bounded(call, "POST", path, body, token_request.MAX_ANSWER, within=self._timeout)
        if answer.status in token_request.REFUSED:
            return token_request.read_refusal(answer, self._credential.held().token)
        if answer.status not in {200, 201}:
            raise status_error(call, answer, self._credential.held().token)
        return token_request.parse_token(answer.body)

    async def may(self, action: Action) -> bool:
        """Tell whether the gate's own account may do something (SelfSubjectAccessReview); raises `ApiError`."""
        call = Call("create selfsubjectaccessreviews", "system:basic-user")
        body = access_check.check_request(action)
        answer = await self._bounded(
            call, "POST", access_check.PATH, body, access_check.MAX_ANSWER, within=self._timeout
        )
        if answer.status not in {200, 201}:
            raise status_error(call, answer, self._credential.held().token)
        return access_check.parse_check(answer.body)

    async def server_date(self) -> str:
        """Return the `Date` of the server's answer to an everyday question, as sent; raises `ApiError`.

        It counts as an answer that it will not tell its version; that it does not accept the credential does not.
        """
        call = Call("get /version", "system:public-info-viewer")
        answer = await self._bounded(call, "GET", "/version", None, _MAX_VERSION, within=self._timeout)
        if answer.status not in {200, 403, 404}:
            raise status_error(call, answer, self._credential.held().token)
        return answer.date

    @property
    def connection(self) -> Connection:
        """Where the API server is, and by which kind of credential it knows the gate."""
        return self._connection

    def own_token(self) -> OwnToken | None:
        """Return what the gate's own bearer token says now, or None where its credential is none."""
        token = self._credential.held().token
        return None if token is None else read_own_token(token)

    def own_issuer(self) -> str | None:
        """Return the `iss` of the gate's own ServiceAccount token, or None where its credential is none."""
        return read_own_token(self._credential.held().token).issuer or None

    async def close(self) -> None:
        """Release connections."""
        await self._api.close()

    async def _bounded(
        self, call: Call, method: str, path: str, body: object, limit: int, *, within: float
    ) -> RawAnswer:
        # Raised after the handlers: aiohttp's errors carry the request's headers, and must not ride along as context.
        try:
            async with asyncio.timeout(within):
                return await self._authorized(method, path, body, limit)
        except TimeoutError:
            failure = ApiError(ApiErrorKind.TIMEOUT, f"{call.asked}: no complete answer within {within:g} s")
        except (aiohttp.ClientError, OSError) as error:
            failure = network_error(call, error, self._connection.server)
        raise failure

    async def _authorized(self, method: str, path: str, body: object, limit: int) -> RawAnswer:
        shown = await self._credential.current()
        answer = await self._sent(method, path, body, limit, shown)
        if answer.status == 401:
            renewed = await self._credential.renew()
            if renewed != shown:
                return await self._sent(method, path, body, limit, renewed)
        return answer

    async def _sent(self, method: str, path: str, body: object, limit: int, shown: Shown) -> RawAnswer:
        try:
            response = await self._send(method, path, body, shown)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server closed while it was idle. A review changes nothing, so it may be sent
            # twice; a GET was repeated by aiohttp itself, which does not do so for a POST.
            if method == "GET":
                raise
            response = await self._send(method, path, body, shown)
        return await read_answer(response, limit)

    async def _send(
        self, method: str, path: str, body: object, shown: Shown, accept: str = ""
    ) -> aiohttp.ClientResponse:
        # The server answers 406 to who would have its keys as application/json: they are application/jwk-set+json.
        headers = {"Accept": accept or ("*/*" if method == "GET" else "application/json")}
        if shown.authorization is not None:
            headers["Authorization"] = shown.authorization
        # With _preload_content the client would read without bound, log the body and make models of it.
        response = await self._api.call_api(
            path, method, header_params=headers, body=body, _preload_content=False
        )
        vars(self._api).pop(
            "last_response", None
        )  # where the client keeps the answer, and in it the request's headers
        return cast("aiohttp.ClientResponse", response)


def find_connection(access: ConnectionSettings) -> Connection:
    """Return the connection that `access` describes; raises `ClusterConfigError`.

    Without a proxy-url the environment's proxy is used, as by client-go, in a pod as well.
    """
    connection = _described(access)
    if connection.proxy is not None:
        return connection
    try:
        return replace(connection, proxy=ProxyEnvironment(access.environ).proxy_for(connection.server))
    except ProxyError as error:
        raise ClusterConfigError(str(error)) from None


def _described(access: ConnectionSettings) -> Connection:
    if access.kubeconfig is None and access.context is None and (pod := pod_connection(access)) is not None:
        return pod
    paths = kubeconfig_paths(access.kubeconfig, access.environ)
    found = [path for path in paths if access.kubeconfig is not None or present(path)]
    if not found:
        raise ClusterConfigError(
            f"no cluster found: there is no ServiceAccount in {access.service_account_dir} (in a pod, check"
            f" automountServiceAccountToken) and no kubeconfig at {', '.join(map(str, paths))}; name one as"
            " cluster.kubeconfig"
        )
    return read_kubeconfig(found, access.context)


def _credential(connection: Connection, access: ConnectionSettings) -> Credential:
    certificate = connection.client_certificate
    match connection.credential:
        case TokenFile(path):
            return FileCredential(path, certificate, time.monotonic)
        case ExecPlugin() as plugin:
            return PluginCredential(plugin, access.environ, time.time, time.monotonic, access.programs)
        case Authorization(value):
            return FixedCredential(Shown(value, certificate))
        case None:
            return FixedCredential(Shown(None, certificate))


async def _api_client(connection: Connection, credential: Credential) -> ApiClient:
    from kubernetes_asyncio.client.api_client import ApiClient
    from kubernetes_asyncio.client.configuration import Configuration

    # At debug it logs bodies, which hold the tokens under review. What goes wrong reaches its caller as an exception.
    for name in ("kubernetes_asyncio", "kubernetes_asyncio.client.rest"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    secure = connection.server.startswith("https:")
    contexts = TLSContexts(connection)
    if secure:
        contexts.context(credential.held().certificate)
    configuration = Configuration(host=connection.server)
    configuration.tls_server_name = connection.server_name
    api = ApiClient(configuration)
    api.user_agent = f"authgate/{__version__}"
    await api.rest_client.pool_manager.close()
    # Of its session the REST client uses `request` and `close` only, and those StraightSession has.
    session = StraightSession(
        lambda: contexts.context(credential.held().certificate) if secure else None, connection.proxy
    )
    api.rest_client.pool_manager = cast("aiohttp.ClientSession", session)
    return api
