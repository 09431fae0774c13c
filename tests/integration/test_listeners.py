"""Where the gate listens: TCP, unix sockets, TLS; and what it says where it cannot."""

from __future__ import annotations

import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.service import ListenError, Service
from tests.support.process import free_port, until
from tests.support.service import knowing, written
from tests.support.wire import Reply, ask, bearer, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

IN_EVERY_LOOP = True
ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


def service(folder: Path, *, limits: dict[str, Any] | None = None, **server: Any) -> Service:
    """A gate that listens as it is told, not yet started."""
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
    """A gate that listens as it is told."""
    gate = service(folder, limits=limits, **server)
    await gate.start()
    try:
        yield gate
    finally:
        await gate.stop()


async def verified(address: str, tls: ssl.SSLContext | None = None) -> Reply:
    """The answer to a good token at an address."""
    return await ask(address, "GET /verify HTTP/1.1", "Host: gate", bearer(ISSUER.mint()), tls=tls)


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """A path for a unix socket."""
    return tmp_path / "authgate.sock"


async def test_every_address_answers(tmp_path: Path, socket_path: Path) -> None:
    """Several TCP addresses and a unix socket are one gate."""
    async with started(tmp_path, listen=["127.0.0.1:0", "localhost:0", f"unix:{socket_path}"]) as gate:
        assert len(gate.verify_addresses) == 3
        assert [(await verified(address)).status for address in gate.verify_addresses] == [200] * 3


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
async def test_every_interface_can_be_listened_on(tmp_path: Path, host: str) -> None:
    """An address without a host stands for all of them."""
    port = free_port()
    async with started(tmp_path, listen=[f"{host}:{port}"]) as gate:
        assert gate.verify_addresses == [f"0.0.0.0:{port}"]
        assert (await verified(f"127.0.0.1:{port}")).status == 200


async def test_ipv6_is_listened_on(tmp_path: Path) -> None:
    """Written in brackets, and told in brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("not applicable: this machine has no IPv6 loopback address")
    async with started(tmp_path, listen=["[::1]:0"]) as gate:
        assert gate.verify_addresses[0].startswith("[::1]:")
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_a_unix_socket_is_open_to_the_proxy(tmp_path: Path, socket_path: Path) -> None:
    """Which usually runs as another user: the folder says who may reach it."""
    async with started(tmp_path, listen=[f"unix:{socket_path}"]):
        assert socket_path.stat().st_mode & 0o777 == 0o666


async def test_a_dead_gates_socket_is_replaced(tmp_path: Path, socket_path: Path) -> None:
    """What a killed gate left behind does not keep the next one from starting."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    async with started(tmp_path, listen=[f"unix:{socket_path}"]) as gate:
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_a_gate_starts_again_on_its_socket(tmp_path: Path, socket_path: Path) -> None:
    """Whether the one before it removed the file or not."""
    for _ in range(2):
        async with started(tmp_path, listen=[f"unix:{socket_path}"]) as gate:
            assert (await verified(gate.verify_addresses[0])).status == 200


async def test_a_living_gates_socket_is_left_alone(tmp_path: Path, socket_path: Path) -> None:
    """The second one does not start, and the first one goes on."""
    async with started(tmp_path, listen=[f"unix:{socket_path}"]) as gate:
        with pytest.raises(ListenError, match="another process listens there"):
            await service(tmp_path, listen=[f"unix:{socket_path}"]).start()
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_any_other_file_is_left_alone(tmp_path: Path, socket_path: Path) -> None:
    """It is nobody's socket, and not ours to remove."""
    socket_path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        await service(tmp_path, listen=[f"unix:{socket_path}"]).start()
    assert socket_path.read_text() == "precious"


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The message holds the address as it was configured."""
    with pytest.raises(ListenError, match=r"cannot listen on unix:.*/none/s: "):
        await service(tmp_path, listen=[f"unix:{tmp_path}/none/s"]).start()


@pytest.mark.parametrize("role", ["listen", "admin"])
async def test_a_taken_port_is_named(tmp_path: Path, role: str) -> None:
    """And nothing of the gate stays open."""
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


async def test_no_admin_port_is_opened_where_none_is_wanted(tmp_path: Path) -> None:
    """server.admin: null; the verify port works, and tells nothing of the gate."""
    async with started(tmp_path, listen=["127.0.0.1:0"], admin=None) as gate:
        assert gate.admin_address is None
        assert (await verified(gate.verify_addresses[0])).status == 200


async def test_the_admin_port_may_be_a_unix_socket(tmp_path: Path, socket_path: Path) -> None:
    """It answers its own pages and verifies nothing."""
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
        "/": 404,
    }


def tls_files(folder: Path, authority: trustme.CA, *, clients: trustme.CA | None = None) -> dict[str, str]:
    """The `server.tls` section, with a certificate for 127.0.0.1; clients need one of theirs where a CA is given."""
    certificate = authority.issue_cert("127.0.0.1")
    files = {"certFile": str(folder / "tls.crt"), "keyFile": str(folder / "tls.key")}
    (folder / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(files["keyFile"])
    if clients is not None:
        files["clientCAFile"] = str(folder / "clients.crt")
        clients.cert_pem.write_to_path(files["clientCAFile"])
    return files


def trusting(authority: trustme.CA, *, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context; it shows a certificate where it has one."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


async def test_tls_is_spoken_where_configured(tmp_path: Path, socket_path: Path) -> None:
    """On TCP; a unix socket needs none."""
    authority = trustme.CA()
    listen = ["127.0.0.1:0", f"unix:{socket_path}"]
    async with started(tmp_path, listen=listen, tls=tls_files(tmp_path, authority)) as gate:
        tcp, unix = gate.verify_addresses
        assert (await verified(tcp, trusting(authority))).status == 200
        assert (await verified(unix)).status == 200


async def test_plain_http_is_not_answered_on_a_tls_port(tmp_path: Path) -> None:
    """A token that came in the clear is not even looked at."""
    tls = tls_files(tmp_path, trustme.CA())
    async with (
        started(tmp_path, listen=["127.0.0.1:0"], tls=tls) as gate,
        connected(gate.verify_addresses[0]) as wire,
    ):
        await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(ISSUER.mint()))
        assert b"HTTP" not in await wire.rest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_current_versions_of_tls_are_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """1.2 and 1.3."""
    authority = trustme.CA()
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    async with started(tmp_path, listen=["127.0.0.1:0"], tls=tls_files(tmp_path, authority)) as gate:
        assert (await verified(gate.verify_addresses[0], context)).status == 200


async def test_a_handshake_has_as_much_time_as_a_head(tmp_path: Path) -> None:
    """A client that connects and says nothing is cut off, and so is one that begins a handshake."""
    tls = tls_files(tmp_path, trustme.CA())
    async with started(tmp_path, limits={"headerTimeout": "300ms"}, listen=["127.0.0.1:0"], tls=tls) as gate:
        for beginning in (b"", b"\x16\x03\x01"):
            async with connected(gate.verify_addresses[0]) as wire:
                await wire.send_raw(beginning)
                assert await wire.rest() == b""


async def test_handshakes_under_way_are_connections(tmp_path: Path) -> None:
    """Of three connections two shake hands: a third works, a fourth is refused, and those that end make room."""
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

            await until(works, within=5)


async def test_clients_prove_who_they_are_where_asked(tmp_path: Path) -> None:
    """server.tls.clientCAFile: only the proxy's certificate opens the port."""
    authority, clients = trustme.CA(), trustme.CA()
    tls = tls_files(tmp_path, authority, clients=clients)
    async with started(tmp_path, listen=["127.0.0.1:0"], tls=tls) as gate:
        address = gate.verify_addresses[0]
        proxy = clients.issue_cert("proxy.example.com")
        assert (await verified(address, trusting(authority, client=proxy))).status == 200
        for stranger in (None, trustme.CA().issue_cert("proxy.example.com")):
            # in TLS 1.3 the refusal comes after the client's side of the handshake, when it reads
            with pytest.raises((OSError, EOFError)):
                await verified(address, trusting(authority, client=stranger))


async def test_files_that_change_meanwhile_are_named(tmp_path: Path) -> None:
    """Read once more when the port is opened; the gate does not start without the TLS that it was told to speak."""
    tls = tls_files(tmp_path, trustme.CA())
    gate = service(tmp_path, listen=["127.0.0.1:0"], tls=tls)
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(tls["keyFile"])
    with pytest.raises(ListenError, match=r"server\.tls: .*mismatch"):
        await gate.start()
