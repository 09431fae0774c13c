"""Addresses that a supervisor reserves and several processes listen on."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from authgate.listen_address import ListenAddress
from authgate.server.http.web import ServerRunner
from authgate.server.listeners import ListenError, Listeners, SharedAddresses
from tests.support.wire import ask

IN_EVERY_LOOP = True


@pytest.fixture
def shared() -> Iterator[SharedAddresses]:
    """Shared addresses without a reservation."""
    it = SharedAddresses()
    yield it
    it.close()


@pytest.fixture
def other() -> Iterator[SharedAddresses]:
    """Another gate's shared addresses, without a reservation."""
    it = SharedAddresses()
    yield it
    it.close()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path that is short enough for a unix socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "gate.sock"


@asynccontextmanager
async def listening(shared: SharedAddresses, *addresses: ListenAddress) -> AsyncIterator[Listeners]:
    """Open a listener on shared addresses, like one of the processes."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response()

    listeners, runner = Listeners(shared), ServerRunner(web.Server(answer), shutdown_timeout=60.0)
    for address in addresses:
        assert (await listeners.open(runner, address)).endswith(str(address))
    try:
        yield listeners
    finally:
        await listeners.close()


async def status(address: str) -> int:
    """Return the answer at an address."""
    return (await ask(address, "GET / HTTP/1.1", "Host: gate")).status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", ""])
async def test_several_processes_can_listen_on_a_reserved_port(shared: SharedAddresses, host: str) -> None:
    """The kernel picks it once, for every address of the host."""
    address = shared.reserve(ListenAddress(host))
    reachable = f"127.0.0.1:{address.port}"
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(listening(shared, address))
            assert await status(reachable) == 200


async def test_another_gate_cannot_reserve_a_port_in_use(
    shared: SharedAddresses, other: SharedAddresses
) -> None:
    """This includes a gate with workers, which share ports with each other."""
    address = shared.reserve(ListenAddress("127.0.0.1"))
    async with listening(shared, address):
        with pytest.raises(ListenError, match=f"cannot listen on {address}: "):
            other.reserve(address)


async def test_a_port_in_use_cannot_be_reserved(shared: SharedAddresses) -> None:
    """The message names the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = ListenAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ListenError, match=f"cannot listen on {taken}: "):
            shared.reserve(taken)


async def test_a_unix_socket_outlives_its_listeners(shared: SharedAddresses, socket_path: Path) -> None:
    """It belongs to the supervisor: open to the proxy, and removed by the supervisor."""
    address = shared.reserve(ListenAddress(unix=str(socket_path)))
    for _ in range(2):
        inherited = SharedAddresses()
        inherited._unix[str(socket_path)] = shared.inherited(str(socket_path)).dup()  # as after a fork
        async with listening(inherited, address):
            assert await status(str(address)) == 200
        assert socket_path.stat().st_mode & 0o777 == 0o666
    shared.close()
    assert not socket_path.exists()


async def test_the_socket_of_another_gate_is_kept(shared: SharedAddresses, socket_path: Path) -> None:
    """It belongs to a gate that started while this one ended."""
    shared.reserve(ListenAddress(unix=str(socket_path)))
    socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(socket_path))
        shared.close()
        assert socket_path.exists()


async def test_a_file_that_is_not_a_socket_is_kept(shared: SharedAddresses, socket_path: Path) -> None:
    """This is the same as for a single process."""
    socket_path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        shared.reserve(ListenAddress(unix=str(socket_path)))
    assert socket_path.read_text() == "precious"
