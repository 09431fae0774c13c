"""Authentication between authgate and the API server: authgate's own credential, and TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import web

from authgate.cluster.api import ApiErrorKind as Kind
from authgate.cluster.api import ReviewedUser
from authgate.cluster.client import ClusterClient, ClusterConfigError, ConnectionSettings
from tests.support.cluster_client import (
    OWN,
    REVIEWED,
    Pod,
    by_kubeconfig,
    connected,
    embedded,
    jwt_of,
    refused,
    serving,
)
from tests.support.fake_api import ALICE, FakeAPI, Kubeconfig, always, status_object

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The certificate authority of the API servers."""
    return trustme.CA()


@pytest.fixture
def pod(tmp_path: Path, authority: trustme.CA) -> Pod:
    """A pod that trusts the API servers' authority."""
    return Pod(tmp_path, authority)


async def test_a_rotated_token_is_used(pod: Pod, authority: trustme.CA) -> None:
    """A token that kubelet replaced is sent from the next request on."""
    async with FakeAPI(always(b"{}"), tls=serving(authority)) as api, connected(pod.access(api)) as client:
        await client.get("/x", limit=10)
        pod.write("token", "second-token")
        await client.get("/x", limit=10)
    assert [request.headers["Authorization"] for request in api.received] == [
        f"Bearer {OWN}",
        "Bearer second-token",
    ]


async def test_a_401_is_retried_with_a_replaced_token(pod: Pod, authority: trustme.CA) -> None:
    """The token was replaced after the first request."""

    async def expired(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer second-token":
            return web.json_response(ALICE, status=201)
        pod.write("token", "second-token")
        return web.json_response(status_object("Unauthorized"), status=401)

    async with FakeAPI(expired, tls=serving(authority)) as api, connected(pod.access(api)) as client:
        assert isinstance(await client.review_token(REVIEWED, ("app",)), ReviewedUser)


async def test_a_401_is_not_retried_with_the_same_token(pod: Pod, authority: trustme.CA) -> None:
    """The error is returned at once."""
    answer = always(status_object("Unauthorized"), 401)
    async with FakeAPI(answer, tls=serving(authority)) as api, connected(pod.access(api)) as client:
        await refused(client)
    assert len(api.received) == 1


async def test_the_token_file_of_a_kubeconfig_is_used(tmp_path: Path) -> None:
    """tokenFile is read again like a pod's token. Its path is relative to the kubeconfig."""
    (tmp_path / "token").write_text("first-token\n")
    async with FakeAPI(always(b"{}")) as api:
        config = Kubeconfig(api.url, user={"tokenFile": "token"}).write(tmp_path / "kubeconfig")
        async with connected(ConnectionSettings(kubeconfig=config)) as client:
            await client.get("/x", limit=10)
            (tmp_path / "token").write_text("second-token\n")
            await client.get("/x", limit=10)
    assert [request.headers["Authorization"] for request in api.received] == [
        "Bearer first-token",
        "Bearer second-token",
    ]


async def test_the_token_of_an_exec_plugin_is_used(tmp_path: Path) -> None:
    """Many concurrent requests run the plugin once."""
    credential = '{"kind":"ExecCredential","status":{"token":"\'$$\'"}}'
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", f"printf '%s' '{credential}'"],
    }
    async with (
        FakeAPI(always(b"{}")) as api,
        connected(by_kubeconfig(tmp_path, api.url, exec=plugin)) as client,
    ):
        await asyncio.gather(*(client.get("/x", limit=10) for _ in range(5)))
        await client.get("/x", limit=10)
    assert len({request.headers["Authorization"] for request in api.received}) == 1


async def test_the_own_issuer_is_known(tmp_path: Path) -> None:
    """The issuer is read from the gate's own ServiceAccount token."""
    own = jwt_of(iss="https://cluster.example", **{"kubernetes.io": {"namespace": "auth"}})
    async with connected(by_kubeconfig(tmp_path, "https://127.0.0.1:1", token=own)) as client:
        assert client.own_issuer() == "https://cluster.example"


async def test_other_credentials_have_no_issuer(tmp_path: Path) -> None:
    """A credential that is not a ServiceAccount token names no issuer."""
    async with connected(by_kubeconfig(tmp_path, "https://127.0.0.1:1")) as client:
        assert client.own_issuer() is None


async def test_a_certificate_of_another_authority_is_rejected(pod: Pod) -> None:
    """No request is sent, and the error names the cause."""
    async with FakeAPI(always(ALICE), tls=serving(trustme.CA())) as api, connected(pod.access(api)) as client:
        error = await refused(client)
    assert error.kind is Kind.UNREACHABLE
    assert "is not trusted" in error.detail
    assert "certificate-authority" in error.detail
    assert api.received == []


async def test_a_rotated_authority_is_trusted(pod: Pod) -> None:
    """After the CA file was replaced, servers of the new authority are trusted without a restart."""
    other = trustme.CA()
    async with FakeAPI(always(b"{}"), tls=serving(other)) as api, connected(pod.access(api)) as client:
        await refused(client)
        pod.trust(other)
        assert await client.get("/x", limit=10) == b"{}"


async def test_a_removed_authority_is_no_longer_trusted(pod: Pod, authority: trustme.CA) -> None:
    """After the CA file was replaced, this also applies to the open connection."""
    async with FakeAPI(always(b"{}"), tls=serving(authority)) as api, connected(pod.access(api)) as client:
        await client.get("/x", limit=10)
        pod.trust(trustme.CA())
        assert "is not trusted" in (await refused(client)).detail


@pytest.mark.parametrize(
    ("cluster", "works"),
    [
        ({}, False),
        ({"tls-server-name": "kubernetes.example"}, True),
        ({"tls-server-name": "other.example"}, False),
    ],
    ids=["address", "right name", "wrong name"],
)
async def test_the_certificate_must_match_the_server_name(
    tmp_path: Path, authority: trustme.CA, cluster: dict[str, str], works: bool
) -> None:
    """The name is the URL's host, or tls-server-name."""
    ca = embedded(authority.cert_pem)
    async with FakeAPI(always(ALICE), tls=serving(authority, "kubernetes.example")) as api:
        config = Kubeconfig(api.url, cluster={"certificate-authority-data": ca, **cluster})
        async with connected(
            ConnectionSettings(kubeconfig=config.write(tmp_path / "k"), timeout=10)
        ) as client:
            if works:
                await client.review_token(REVIEWED, ("app",))
            else:
                assert "is not trusted" in (await refused(client)).detail


async def test_a_client_certificate_is_used(tmp_path: Path, authority: trustme.CA) -> None:
    """A kubeconfig's client certificate is sent to a server that requests one."""
    users = trustme.CA()
    mine = users.issue_cert(common_name="gate")
    async with FakeAPI(always(ALICE), tls=serving(authority, clients=users)) as api:
        user = {
            "client-certificate-data": embedded(mine.cert_chain_pems[0]),
            "client-key-data": embedded(mine.private_key_pem),
        }
        ca = embedded(authority.cert_pem)
        config = Kubeconfig(api.url, {"certificate-authority-data": ca}, user).write(tmp_path / "k")
        async with connected(ConnectionSettings(kubeconfig=config, timeout=10)) as client:
            assert isinstance(await client.review_token(REVIEWED, ("app",)), ReviewedUser)


async def test_a_missing_client_certificate_is_an_error(pod: Pod, authority: trustme.CA) -> None:
    """The server requires one and receives no request."""
    tls = serving(authority, clients=trustme.CA())
    async with FakeAPI(always(ALICE), tls=tls) as api, connected(pod.access(api)) as client:
        error = await refused(client)
    assert (error.kind, api.received) == (Kind.UNREACHABLE, [])


async def test_an_unverified_server_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """insecure-skip-tls-verify works as in kubectl, and authgate warns at startup."""
    async with FakeAPI(always(b"{}"), tls=serving(trustme.CA())) as api:
        config = Kubeconfig(api.url, cluster={"insecure-skip-tls-verify": True}, user={"token": OWN})
        async with connected(ConnectionSettings(kubeconfig=config.write(tmp_path / "k"))) as client:
            assert await client.get("/x", limit=10) == b"{}"
    assert "insecure-skip-tls-verify" in caplog.text


async def test_plain_http_behind_an_https_url_is_named(tmp_path: Path) -> None:
    """The error says that the server does not speak TLS."""
    async with FakeAPI(always(ALICE)) as api:
        access = by_kubeconfig(tmp_path, api.url.replace("http:", "https:"))
        async with connected(access) as client:
            error = await refused(client)
    assert error.kind is Kind.UNREACHABLE
    assert "TLS handshake" in error.detail


async def test_a_ca_file_without_a_certificate_is_an_error(pod: Pod, authority: trustme.CA) -> None:
    """The system's authorities are not used instead."""
    pod.write("ca.crt", "")
    async with FakeAPI(always(ALICE), tls=serving(authority)) as api:
        with pytest.raises(ClusterConfigError, match="not contain a PEM certificate"):
            await ClusterClient.connect(pod.access(api))
