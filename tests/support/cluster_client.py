"""Connection settings, tokens, certificates and calls for tests of the cluster's client."""

from __future__ import annotations

import base64
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from authgate.cluster.api import ApiError
from authgate.cluster.client import ClusterClient, ConnectionSettings
from tests.support.fake_api import FakeAPI, Kubeconfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REVIEWED = "reviewed-header.reviewed-payload.reviewed-signature"
"""The token that is reviewed."""

OWN = "own-token-0123456789"
"""The gate's own token for the API server."""


def jwt_of(**claims: Any) -> str:
    """Return a token in the form of a JWT with these claims and an invalid signature."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl"


@asynccontextmanager
async def connected(access: ConnectionSettings) -> AsyncIterator[ClusterClient]:
    """Run a client, and close it at the end."""
    client = await ClusterClient.connect(access)
    try:
        yield client
    finally:
        await client.close()


async def refused(client: ClusterClient) -> ApiError:
    """Return the error of a review."""
    with pytest.raises(ApiError) as caught:
        await client.review_token(REVIEWED, ("app",))
    return caught.value


def by_kubeconfig(folder: Path, server: str, timeout: float = 30.0, **user: Any) -> ConnectionSettings:
    """Write a kubeconfig for a server and a user, by default with the token OWN; return the settings that use it."""
    path = Kubeconfig(server, user=user or {"token": OWN}).write(folder / "kubeconfig")
    return ConnectionSettings(kubeconfig=path, timeout=timeout)


def serving(authority: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """Return a server's TLS context for these names. With `clients`, clients need a certificate of that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


def embedded(blob: trustme.Blob) -> str:
    """Return a certificate or key in the form that a kubeconfig embeds."""
    return base64.b64encode(blob.bytes()).decode()


class Pod:
    """The ServiceAccount files and the environment of a pod. Files can be replaced as by kubelet."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.folder = folder
        self.write("token", OWN)
        self.trust(authority)

    def write(self, name: str, content: str) -> None:
        """Replace a file atomically."""
        fresh = self.folder / f"..{name}"
        fresh.write_text(content)
        fresh.replace(self.folder / name)

    def trust(self, authority: trustme.CA) -> None:
        """Replace the CA file."""
        self.write("ca.crt", authority.cert_pem.bytes().decode())

    def access(self, api: FakeAPI) -> ConnectionSettings:
        """Return the settings for a server on 127.0.0.1."""
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        return ConnectionSettings(timeout=30, service_account_dir=str(self.folder), environ=environ)
