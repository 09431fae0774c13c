"""The calls of tests to a Kubernetes API, without a client library."""

import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp

_AUTHENTICATION = "/apis/authentication.k8s.io/v1"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


class KubeError(Exception):
    """The API server returned an error. `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class BoundObject:
    """The Pod, Secret or Node that a token is bound to (TokenRequest `spec.boundObjectRef`)."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Review:
    """The status of a TokenReview."""

    authenticated: bool
    error: str
    audiences: tuple[str, ...]
    username: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]


class KubeAPI:
    """A Kubernetes API for one caller: its address, its CA and the caller's bearer token."""

    def __init__(self, url: str, *, trust: ssl.SSLContext, token: str | None) -> None:
        self.url = url
        self.session: aiohttp.ClientSession | None = None
        """Keep connections for many calls; without this, each call has its own session."""
        self._trust = trust
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one request; return the JSON object of the response.

        Raise KubeError for a status of 300 or more, and aiohttp.ClientError or TimeoutError (30 s) without a response.
        """
        async with AsyncExitStack() as opened:
            session = self.session
            if session is None:
                session = await opened.enter_async_context(aiohttp.ClientSession())
            answer = await opened.enter_async_context(
                session.request(
                    method,
                    self.url + path,
                    json=body,
                    headers=self._headers,
                    ssl=self._trust,
                    timeout=aiohttp.ClientTimeout(total=30),
                )
            )
            if answer.status >= 300:
                raise KubeError(answer.status, await answer.text())
            # content_type: the key set is an application/jwk-set+json
            document: dict[str, Any] = await answer.json(content_type=None)
            return document

    async def ready(self) -> bool:
        """Return whether `/readyz` succeeds."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(self.url + "/readyz", headers=self._headers, ssl=self._trust) as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def create_namespace(self, name: str) -> None:
        """Create a namespace if it does not exist."""
        await self._ensure("/api/v1/namespaces", {"metadata": {"name": name}})

    async def create_service_account(self, namespace: str, name: str) -> str:
        """Create a ServiceAccount, and its namespace if it does not exist; return its uid."""
        await self.create_namespace(namespace)
        made = await self.call(
            "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}}
        )
        return _uid(made)

    async def create_pod(
        self, namespace: str, name: str, *, account: str, node: str | None = None
    ) -> BoundObject:
        """Create a Pod that is never started, optionally on a node."""
        spec: dict[str, Any] = {
            "serviceAccountName": account,
            "containers": [{"name": "app", "image": "registry.invalid/app"}],
        }
        if node is not None:
            spec["nodeName"] = node
        pod = await self.call(
            "POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": spec}
        )
        return BoundObject("Pod", name, _uid(pod))

    async def create_node(self, name: str) -> BoundObject:
        """Create a Node without a machine."""
        return BoundObject(
            "Node", name, _uid(await self.call("POST", "/api/v1/nodes", {"metadata": {"name": name}}))
        )

    async def create_secret(
        self,
        namespace: str,
        name: str,
        *,
        kind: str = "Opaque",
        annotations: Mapping[str, str] | None = None,
        values: Mapping[str, str] | None = None,
    ) -> BoundObject:
        """Create a Secret with these values."""
        body = {
            "metadata": {"name": name, "annotations": dict(annotations or {})},
            "type": kind,
            "stringData": dict(values or {}),
        }
        secret = await self.call("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
        return BoundObject("Secret", name, _uid(secret))

    async def delete(self, path: str) -> None:
        """Delete the object at this path without a grace period. A missing object is not an error."""
        try:
            await self.call("DELETE", f"{path}?gracePeriodSeconds=0")
        except KubeError as refused:
            if refused.status != 404:
                raise

    async def bind_cluster_role(self, role: str, *, name: str, subjects: Sequence[str]) -> None:
        """Bind a ClusterRole to users by name. An account is `system:serviceaccount:<namespace>:<name>`.

        An existing binding of this name is kept. A new one takes effect after some milliseconds.
        """
        group = "rbac.authorization.k8s.io"
        body = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": subject} for subject in subjects],
        }
        await self._ensure(f"{_RBAC}/clusterrolebindings", body)

    async def request_token(
        self,
        namespace: str,
        name: str,
        audiences: Sequence[str],
        expiration_seconds: int | None = None,
        bound_object: BoundObject | None = None,
    ) -> str:
        """Return a token of a ServiceAccount (TokenRequest). Without audiences it is for the API server.

        The default lifetime is one hour, and the minimum is 600 seconds.
        """
        spec: dict[str, Any] = {"audiences": list(audiences)}
        if expiration_seconds is not None:
            spec["expirationSeconds"] = expiration_seconds
        if bound_object is not None:
            spec["boundObjectRef"] = {
                "apiVersion": "v1",
                "kind": bound_object.kind,
                "name": bound_object.name,
                "uid": bound_object.uid,
            }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = await self.call("POST", path, {"spec": spec})
        return str(answer["status"]["token"])

    async def review_token(self, token: str, audiences: Sequence[str] = ()) -> Review:
        """Review a token for these audiences (TokenReview), by default the API server's own."""
        body = {"spec": {"token": token, "audiences": list(audiences)}}
        status = (await self.call("POST", f"{_AUTHENTICATION}/tokenreviews", body))["status"]
        user = status.get("user", {})
        return Review(
            authenticated=status.get("authenticated", False),
            error=status.get("error", ""),
            audiences=tuple(status.get("audiences", ())),
            username=user.get("username", ""),
            uid=user.get("uid", ""),
            groups=tuple(user.get("groups", ())),
            extra={key: tuple(values) for key, values in user.get("extra", {}).items()},
        )

    async def _ensure(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            await self.call("POST", path, body)
        except KubeError as refused:
            if refused.status != 409:  # AlreadyExists
                raise


def _uid(made: Mapping[str, Any]) -> str:
    return str(made["metadata"]["uid"])
