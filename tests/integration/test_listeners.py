"""Where the gate listens: TCP, unix sockets and TLS, and its messages if it cannot listen."""

from __future__ import annotations

import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.x509 import load_pem_x509_certificates
from prometheus_client.parser import text_string_to_metric_families

from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.service import ListenError, Service
from tests.support.process import free_port, until
from tests.support.service import knowing, written
from tests.support.wire import Reply, ask, bearer, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IN_EVERY_LOOP = True
ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


def service(folder: Path, *, limits: dict[str, Any] | None = None, **server: Any) -> Service:
    """Return a gate with these addresses that is not started."""
    document = {
        "jwt": [knowing(ISSUER)],
        "server": {"admin": None, **server},
        "limits": limits or {},
        "shutdown": {"timeout": "1s"},
    }
    return Service(load(written(folder, document), {}).config, {})


@asynccontextmanager
async def started(
    folder: Path, *, limits: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[Service]:
    """Start a gate with these addresses."""
    gate = service(folder, limits=limits, **server)
    await gate.start()
    try:
        yield gate
    finally:
        await gate.stop()


async def verified(address: str, tls: ssl.SSLContext | None = None) -> Reply:
    """Return the answer to a good token at an address."""
    return await ask(address, "GET /verify HTTP/1.1", "Host: gate", bearer(ISSUER.mint()), tls=tls)


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """A path for a unix socket."""
    return tmp_path / "authgate.sock"


async def test_every_address_answers(tmp_path: Path, socket_path: Path) -> None:
    """Several TCP addresses and a unix socket belong to one gate."""
    async with started(tmp_path, listen=["127.0.0.1:0", "localhost:0", f"unix:{socket_path}"]) as gate:
        assert len(gate.verify_addresses) == 3
        assert [(await verified(address)).status for address in gate.verify_addresses] == [200] * 3


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
async def test_every_interface_can_be_listened_on(tmp_path: Path, host: str) -> None:
    """An address without a host means all interfaces."""
    port = free_port()
    async with started(tmp_path, listen=[f"{host}:{port}"]) as gate:
        assert gate.verify_addresses == [f"0.0.0.0:{port}"]
        assert (await verified(f"127.0.0.1:{port}")).status == 200


async def test_ipv6_is_listened_on(tmp_path: Path) -> None:
    """It is written and shown in brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("not applicable: this machine has no IPv6 loopback address")
    async with started(tmp_path, listen=["[::1]:0"]) as gate:
        assert gate.verify_addresses[0].startswith("[::1]:")
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_a_unix_socket_is_open_to_the_proxy(tmp_path: Path, socket_path: Path) -> None:
    """The proxy usually runs as another user. The folder's permissions decide who can reach the socket."""
    async with started(tmp_path, listen=[f"unix:{socket_path}"]):
        assert socket_path.stat().st_mode & 0o777 == 0o666


async def test_the_socket_of_a_killed_gate_is_replaced(tmp_path: Path, socket_path: Path) -> None:
    """A socket file of a killed gate does not prevent a start."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    async with started(tmp_path, listen=[f"unix:{socket_path}"]) as gate:
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_a_gate_starts_again_on_its_socket(tmp_path: Path, socket_path: Path) -> None:
    """It does not matter whether the previous gate removed the file."""
    for _ in range(2):
        async with started(tmp_path, listen=[f"unix:{socket_path}"]) as gate:
            assert (await verified(gate.verify_addresses[0])).status == 200


async def test_the_socket_of_a_running_gate_is_kept(tmp_path: Path, socket_path: Path) -> None:
    """The second gate does not start, and the first continues."""
    async with started(tmp_path, listen=[f"unix:{socket_path}"]) as gate:
        with pytest.raises(ListenError, match="another process listens there"):
            await service(tmp_path, listen=[f"unix:{socket_path}"]).start()
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_any_other_file_is_kept(tmp_path: Path, socket_path: Path) -> None:
    """Only sockets of ended gates are removed."""
    socket_path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        await service(tmp_path, listen=[f"unix:{socket_path}"]).start()
    assert socket_path.read_text() == "precious"


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The message has the address as configured."""
    with pytest.raises(ListenError, match=r"cannot listen on unix:.*/none/s: "):
        await service(tmp_path, listen=[f"unix:{tmp_path}/none/s"]).start()


@pytest.mark.parametrize("role", ["listen", "admin"])
async def test_a_port_in_use_is_named(tmp_path: Path, role: str) -> None:
    """The gate closes its other listeners."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        addresses: dict[str, Any] = {"listen": ["127.0.0.1:0"]}
        addresses |= {"listen": ["127.0.0.1:0", taken]} if role == "listen" else {"admin": taken}
        gate = service(tmp_path, **addresses)
        with pytest.raises(ListenError, match=f"cannot listen on {taken}: "):
            await gate.start()
    for address in gate.verify_addresses:
        with pytest.raises(ConnectionRefusedError):
            await verified(address)


async def test_the_admin_port_can_be_turned_off(tmp_path: Path) -> None:
    """With server.admin: null the verify port works, and has no pages about the gate."""
    async with started(tmp_path, listen=["127.0.0.1:0"], admin=None) as gate:
        assert gate.admin_address is None
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_the_admin_port_may_be_a_unix_socket(tmp_path: Path, socket_path: Path) -> None:
    """It serves its own pages and verifies no token."""
    async with started(tmp_path, listen=["127.0.0.1:0"], admin=f"unix:{socket_path}") as gate:
        assert gate.admin_address == f"unix:{socket_path}"
        answers = {
            path: (await ask(gate.admin_address, f"GET {path} HTTP/1.1", "Host: gate")).status
            for path in ("/livez", "/healthz", "/readyz", "/status", "/metrics", "/verify", "/")
        }
    assert answers == {
        "/livez": 200,
        "/healthz": 200,
        "/readyz": 200,
        "/status": 200,
        "/metrics": 200,
        "/verify": 404,
        "/": 200,
    }


def tls_files(folder: Path, authority: trustme.CA, *, clients: trustme.CA | None = None) -> dict[str, str]:
    """Return `server.tls` with a certificate for 127.0.0.1. With a CA, clients need a certificate, too."""
    certificate = authority.issue_cert("127.0.0.1")
    files = {"certFile": str(folder / "tls.crt"), "keyFile": str(folder / "tls.key")}
    (folder / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(files["keyFile"])
    if clients is not None:
        files["clientCAFile"] = str(folder / "clients.crt")
        clients.cert_pem.write_to_path(files["clientCAFile"])
    return files


def trusting(authority: trustme.CA, *, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Return a client's TLS context, with a certificate if there is one."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


async def test_tls_is_used_if_configured(tmp_path: Path, socket_path: Path) -> None:
    """TCP uses it, and unix sockets do not."""
    authority = trustme.CA()
    listen = ["127.0.0.1:0", f"unix:{socket_path}"]
    async with started(tmp_path, listen=listen, tls=tls_files(tmp_path, authority)) as gate:
        tcp, unix = gate.verify_addresses
        assert (await verified(tcp, trusting(authority))).status == 200
        assert (await verified(unix)).status == 200


async def test_plain_http_is_not_answered_on_a_tls_port(tmp_path: Path) -> None:
    """A token sent without TLS is not read."""
    tls = tls_files(tmp_path, trustme.CA())
    async with (
        started(tmp_path, listen=["127.0.0.1:0"], tls=tls) as gate,
        connected(gate.verify_addresses[0]) as wire,
    ):
        await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(ISSUER.mint()))
        assert b"HTTP" not in await wire.rest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_current_versions_of_tls_are_supported(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """These are TLS 1.2 and 1.3."""
    authority = trustme.CA()
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    async with started(tmp_path, listen=["127.0.0.1:0"], tls=tls_files(tmp_path, authority)) as gate:
        assert (await verified(gate.verify_addresses[0], context)).status == 200


async def test_a_handshake_has_the_timeout_of_a_head(tmp_path: Path) -> None:
    """A client that sends nothing or only the start of a handshake is disconnected."""
    tls = tls_files(tmp_path, trustme.CA())
    async with started(tmp_path, limits={"headerTimeout": "300ms"}, listen=["127.0.0.1:0"], tls=tls) as gate:
        for beginning in (b"", b"\x16\x03\x01"):
            async with connected(gate.verify_addresses[0]) as wire:
                await wire.send_raw(beginning)
                assert await wire.rest() == b""


async def test_open_handshakes_count_as_connections(tmp_path: Path) -> None:
    """With two handshakes open and a limit of three, a third connection works and a fourth is refused."""
    authority = trustme.CA()
    tls, trust = tls_files(tmp_path, authority), trusting(authority)
    limits = {"maxConnections": 3}
    async with (
        started(tmp_path, limits=limits, listen=["127.0.0.1:0"], tls=tls) as gate,
        AsyncExitStack() as stack,
    ):
        (address,) = gate.verify_addresses
        silent = [await stack.enter_async_context(connected(address)) for _ in range(2)]
        async with connected(address, trust) as wire:
            await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(ISSUER.mint()))
            assert (await wire.reply()).status == 200
            refused = await stack.enter_async_context(connected(address))
            assert await refused.rest() == b""
            assert gate.metrics.connections_refused == 1
            for each in silent:
                each.writer.close()

            async def works() -> bool:
                try:
                    return (await verified(address, trust)).status == 200
                except (OSError, EOFError):
                    return False

            await until(works, within=30)


async def test_client_certificates_can_be_required(tmp_path: Path) -> None:
    """With server.tls.clientCAFile, only clients with a certificate of this CA can connect."""
    authority, clients = trustme.CA(), trustme.CA()
    tls = tls_files(tmp_path, authority, clients=clients)
    async with started(tmp_path, listen=["127.0.0.1:0"], tls=tls) as gate:
        address = gate.verify_addresses[0]
        proxy = clients.issue_cert("proxy.example.com")
        assert (await verified(address, trusting(authority, client=proxy))).status == 200
        for stranger in (None, trustme.CA().issue_cert("proxy.example.com")):
            # a TLS 1.3 client sees the rejection only when it reads
            with pytest.raises((OSError, EOFError)):
                await verified(address, trusting(authority, client=stranger))


async def test_the_end_of_the_certificate_is_a_metric(tmp_path: Path) -> None:
    """It is that of the certificate in use, because the files are read only at startup."""
    tls = tls_files(tmp_path, trustme.CA())
    (certificate,) = load_pem_x509_certificates(Path(tls["certFile"]).read_bytes())
    async with started(tmp_path, listen=["127.0.0.1:0"], tls=tls) as gate:
        tls_files(tmp_path, trustme.CA())
        found = {
            family.name: [(sample.labels, sample.value) for sample in family.samples]
            for family in text_string_to_metric_families(gate.metrics.render().decode())
        }
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    labels = {"credential": "server certificate", "name": "server"}
    assert found["authgate_credential_expiry_timestamp_seconds"] == [(labels, ends.timestamp())]
    assert found["authgate_credential_lifetime_seconds"] == [(labels, (ends - begins).total_seconds())]


async def test_tls_files_that_break_before_the_port_opens_are_named(tmp_path: Path) -> None:
    """They are read again when the port opens. The gate does not start without its configured TLS."""
    tls = tls_files(tmp_path, trustme.CA())
    gate = service(tmp_path, listen=["127.0.0.1:0"], tls=tls)
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(tls["keyFile"])
    with pytest.raises(ListenError, match=r"server\.tls: .*mismatch"):
        await gate.start()
