"""Forward proxies for requests to issuers and clusters. Passwords in the home directory are never sent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from authgate.cluster.api import ApiError
from authgate.cluster.client import ConnectionSettings
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import ServerCertificate, throwaway_certificate
from authgate.http_proxy import ProxyEnvironment
from authgate.keys.fetch import HTTPFetcher
from authgate.keys.remote import KeyFetchError
from authgate.tools.doctor import Level
from tests.support.cluster_client import OWN, connected
from tests.support.doctor import found
from tests.support.embedded_server import EmbeddedServer
from tests.support.fake_api import FakeAPI, Kubeconfig, always
from tests.support.forward_proxy import ForwardProxy, Tunnel
from tests.support.gate import GateProcess
from tests.support.openid import OpenIDSite
from tests.support.process import free_port
from tests.support.service import trusting, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "Basic dXNlcjpzZWNyZXQ="
URL = "https://issuer.example/keys"


@pytest.fixture(scope="module")
def certificate() -> ServerCertificate:
    """A certificate for host names that only the proxy can resolve."""
    return throwaway_certificate(["issuer.example", "kube.example"])


@asynccontextmanager
async def behind(server: FakeAPI | EmbeddedServer, **options: Any) -> AsyncIterator[ForwardProxy]:
    """Run a proxy that connects to a server for every host name."""
    port = server.port if isinstance(server, FakeAPI) else int(server.url.rpartition(":")[2])
    async with ForwardProxy(port, **options) as proxy:
        yield proxy


def through(proxy: ForwardProxy, **more: str) -> dict[str, str]:
    """Return an environment that names the proxy, with a user and a password."""
    return {"HTTPS_PROXY": f"http://user:secret@{proxy.address}", **more}


def fetcher(certificate: ServerCertificate, environ: dict[str, str]) -> HTTPFetcher:
    """Return the fetcher of an issuer's documents."""
    return HTTPFetcher(30.0, ca_pem=certificate.ca_pem.decode(), proxies=ProxyEnvironment(environ))


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~/.netrc with a password for every host."""
    (tmp_path / ".netrc").write_text("default login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


@pytest.mark.usefixtures("netrc")
async def test_no_password_of_the_home_directory_is_sent_to_an_issuer() -> None:
    """Neither ~/.netrc nor $NETRC is read, although curl and many HTTP libraries read them."""
    async with FakeAPI(always(b"{}")) as issuer:
        await HTTPFetcher(30.0).fetch(f"{issuer.url}/keys")
    assert "Authorization" not in issuer.received[0].headers


@pytest.mark.usefixtures("netrc")
async def test_no_password_of_the_home_directory_is_sent_through_a_proxy(
    certificate: ServerCertificate,
) -> None:
    """The proxy gets only the credentials in its URL."""
    async with FakeAPI(always(b"{}"), tls=certificate.server_context()) as issuer, behind(issuer) as proxy:
        await fetcher(certificate, {"HTTPS_PROXY": f"http://{proxy.address}"}).fetch(URL)
    assert "Authorization" not in issuer.received[0].headers
    assert proxy.tunnels == [Tunnel("issuer.example:443", "")]


@pytest.mark.usefixtures("netrc")
async def test_no_password_of_the_home_directory_is_sent_to_an_api_server(tmp_path: Path) -> None:
    """This also holds if the kubeconfig has no credential."""
    async with FakeAPI(always(b"{}")) as api:
        access = ConnectionSettings(kubeconfig=Kubeconfig(api.url).write(tmp_path / "kubeconfig"))
        async with connected(access) as client:
            await client.get("/x", limit=10)
    assert "Authorization" not in api.received[0].headers


async def test_an_issuer_is_reached_through_the_proxy(certificate: ServerCertificate) -> None:
    """It uses a tunnel: TLS is with the issuer, and only the proxy gets the proxy's password."""
    async with FakeAPI(always(b"{}"), tls=certificate.server_context()) as issuer, behind(issuer) as proxy:
        assert await fetcher(certificate, through(proxy)).fetch(URL) == b"{}"
    assert proxy.tunnels == [Tunnel("issuer.example:443", PASSWORD)]
    assert "Proxy-Authorization" not in issuer.received[0].headers


async def test_hosts_in_no_proxy_are_reached_directly(certificate: ServerCertificate) -> None:
    """Only the proxy can resolve the name, so the direct request fails."""
    async with FakeAPI(always(b"{}"), tls=certificate.server_context()) as issuer, behind(issuer) as proxy:
        with pytest.raises(KeyFetchError):
            await fetcher(certificate, through(proxy, NO_PROXY=".example")).fetch(URL)
    assert proxy.tunnels == []


async def test_a_proxy_that_refuses_is_reported(certificate: ServerCertificate) -> None:
    """The error has its status and not its password."""
    issuer = FakeAPI(always(b"{}"), tls=certificate.server_context())
    async with issuer, behind(issuer, status=407) as proxy:
        with pytest.raises(KeyFetchError) as raised:
            await fetcher(certificate, through(proxy)).fetch(URL)
    said = f"{URL}: the proxy http://{proxy.address} (HTTPS_PROXY) answered 407"
    assert (str(raised.value), issuer.received) == (said, [])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("http://user:secret@127.0.0.1:PORT", "cannot be reached", id="down"),
        pytest.param("socks5://user:secret@127.0.0.1:PORT", "SOCKS is not supported", id="SOCKS"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_reported(
    certificate: ServerCertificate, value: str, said: str
) -> None:
    """The request does not bypass the proxy, and the message contains no password."""
    environ = {"https_proxy": value.replace("PORT", str(free_port()))}
    with pytest.raises(KeyFetchError, match=said) as raised:
        await fetcher(certificate, environ).fetch(URL)
    assert "https_proxy" in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_a_gate_finds_keys_through_the_proxy(tmp_path: Path, certificate: ServerCertificate) -> None:
    """A complete gate whose environment names the proxy accepts tokens of an issuer that only the proxy can reach."""
    issuer = Issuer("https://issuer.example", SigningKey.generate("ES256"))
    entry = trusting(issuer)
    entry["issuer"]["certificateAuthority"] = certificate.ca_pem.decode()
    async with EmbeddedServer(certificate=certificate) as server:
        server.add(OpenIDSite(issuer))
        async with behind(server) as proxy:
            file = written(tmp_path, {"jwt": [entry]})
            async with GateProcess(file, {"HTTPS_PROXY": f"http://{proxy.address}"}) as gate:
                await gate.passes(issuer.mint("ada"), within=30)
            findings = await found(file, environ=through(proxy))
    assert {tunnel.authority for tunnel in proxy.tunnels} == {"issuer.example:443"}
    named = findings.about("jwt corp: proxy")
    assert named.level is Level.GOOD
    assert named.sentence == (
        f"https://issuer.example:443 is reached through http://{proxy.address} (HTTPS_PROXY)"
    )
    assert "secret" not in str(findings)


async def test_a_cluster_is_reached_through_the_proxy(tmp_path: Path, certificate: ServerCertificate) -> None:
    """As with kubectl, TLS is with the API server, and only the API server gets the gate's own token."""
    async with FakeAPI(always(b"{}"), tls=certificate.server_context()) as api, behind(api) as proxy:
        access = of_cluster(tmp_path, certificate, through(proxy))
        async with connected(access) as client:
            await client.get("/x", limit=10)
        findings = await found(cluster_file(tmp_path, access), environ=through(proxy))
    assert proxy.tunnels[0] == Tunnel("kube.example:6443", PASSWORD)
    assert api.received[0].headers["Authorization"] == f"Bearer {OWN}"
    assert findings.about(": proxy").sentence == (
        f"https://kube.example:6443 is reached through http://{proxy.address} (HTTPS_PROXY)"
    )
    assert "secret" not in str(findings)


async def test_a_kubeconfigs_proxy_has_precedence(tmp_path: Path, certificate: ServerCertificate) -> None:
    """The environment, including NO_PROXY, does not change this, as in client-go."""
    async with FakeAPI(always(b"{}"), tls=certificate.server_context()) as api, behind(api) as proxy:
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}", "NO_PROXY": "*"}
        access = of_cluster(tmp_path, certificate, environ, **{"proxy-url": f"http://{proxy.address}"})
        async with connected(access) as client:
            await client.get("/x", limit=10)
    assert [tunnel.authority for tunnel in proxy.tunnels] == ["kube.example:6443"]


async def test_the_error_for_a_cluster_behind_a_broken_proxy_names_no_proxy(
    tmp_path: Path, certificate: ServerCertificate
) -> None:
    """An API server on the pod's own network needs an entry in NO_PROXY."""
    environ = {"HTTPS_PROXY": f"http://user:secret@127.0.0.1:{free_port()}"}
    async with connected(of_cluster(tmp_path, certificate, environ)) as client:
        with pytest.raises(ApiError, match="HTTPS_PROXY and NO_PROXY") as raised:
            await client.get("/x", limit=10)
    assert "secret" not in str(raised.value)


def of_cluster(
    folder: Path, certificate: ServerCertificate, environ: dict[str, str], **cluster: str
) -> ConnectionSettings:
    """Return the access to an API server that only the proxy can reach."""
    ca = folder / "ca.crt"
    ca.write_bytes(certificate.ca_pem)
    config = Kubeconfig(
        "https://kube.example:6443",
        cluster={"certificate-authority": str(ca), **cluster},
        user={"token": OWN},
    )
    return ConnectionSettings(kubeconfig=config.write(folder / "kubeconfig"), environ=environ)


def cluster_file(folder: Path, access: ConnectionSettings) -> Path:
    """Return a configuration with that cluster."""
    return written(folder, {"cluster": {"audiences": ["app"], "kubeconfig": access.kubeconfig}})
