"""Opening and draining the sockets of both listeners."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from authgate.server.http.connection import GateServer

if TYPE_CHECKING:
    from aiohttp.web_runner import BaseRunner

    from authgate.listen_address import ListenAddress

_BACKLOG = 1024


class ListenError(Exception):
    """An address cannot be listened on; the message names it and what to do."""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The certificate chain and key of the verify listener, and the CA whose clients alone may connect."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None


def tls_context(files: TLSFiles, place: str = "server.tls") -> ssl.SSLContext:
    """Return the server's TLS context; raises `ListenError` for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without the password an encrypted key would be asked for on the terminal.
        context.load_cert_chain(files.cert_file, files.key_file, password="")
        if files.client_ca_file:
            context.load_verify_locations(files.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"{place}: {error}") from None
    return context


def why_unavailable(address: ListenAddress) -> str | None:
    """Return why an address cannot be listened on now, or None where it can be; nothing is left open or changed.

    A host's name is not resolved.
    """
    try:
        if address.unix is not None:
            return _why_no_socket(Path(address.unix))
        flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
        places = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=flags)
        for family, *_, place in dict.fromkeys(places):
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(place)
    except socket.gaierror:
        return None
    except OSError as error:
        return plainly(error)
    return None


def _why_no_socket(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} may not be written to by this user"
    if not path.exists():
        return None
    if not stat.S_ISSOCK(path.stat().st_mode):
        return "a file that is no socket stands there"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return None  # left by a gate that has ended, and removed by the next
    return "another process listens there"


class SharedAddresses:
    """Addresses that several processes listen on; made by their parent, which itself accepts nothing.

    TCP ports are reserved, and each process opens them for itself (SO_REUSEPORT), so that one that dies takes no
    connection of the others with it. A unix socket is open once and inherited.
    """

    def __init__(self) -> None:
        self._reserved: list[socket.socket] = []
        self._unix: dict[str, socket.socket] = {}
        self._files: dict[Path, int] = {}

    def reserve(self, address: ListenAddress) -> ListenAddress:
        """Return an address with its real port, which from now on belongs to these processes; raises `ListenError`."""
        try:
            if address.unix is not None:
                path = Path(address.unix)
                self._unix[address.unix] = _bound_unix(path)
                self._files[path] = path.stat().st_ino
                return address
            return self._reserve_port(address)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {plainly(error)}") from None

    def inherited(self, path: str) -> socket.socket:
        """Return the unix socket at a path."""
        return self._unix[path]

    def keep(self) -> list[int]:
        """Return the descriptors that a process needs to inherit."""
        return [one.fileno() for one in self._unix.values()]

    def close(self) -> None:
        """Give everything up; sockets stay open while a process listens on them."""
        for one in (*self._reserved, *self._unix.values()):
            one.close()
        for path, number in self._files.items():
            with suppress(OSError):
                if path.stat().st_ino == number:  # else it is the socket of a gate that took its place
                    path.unlink()
        self._reserved.clear()
        self._unix.clear()
        self._files.clear()

    def _reserve_port(self, address: ListenAddress) -> ListenAddress:
        port = address.port
        places = socket.getaddrinfo(
            address.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, *_, place in dict.fromkeys(places):
            one = socket.socket(family)
            self._reserved.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(
                (place[0], port, *place[2:])
            )  # alone: another gate on this port is an error, not company
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            port = one.getsockname()[1]
        return address.with_port(port)


class Listeners:
    """The sockets that serve one or more handlers; `addresses` tells where, with real port numbers.

    With `shared` the addresses are some of those, which other processes listen on, too.
    """

    def __init__(self, shared: SharedAddresses | None = None) -> None:
        self._shared = shared
        self._runners: list[BaseRunner] = []
        self.addresses: list[str] = []

    async def open(
        self, runner: BaseRunner, address: ListenAddress, tls: ssl.SSLContext | None = None
    ) -> str:
        """Listen on an address, and return it with its real port; raises `ListenError`.

        `tls` is for TCP: a unix socket never has it.
        """
        if runner not in self._runners:
            await runner.setup()
            self._runners.append(runner)
        try:
            if address.unix is None:
                actual = await _open_tcp(runner, address, tls, shared=self._shared is not None)
            else:
                if self._shared is not None:
                    await _InheritedSite(runner, self._shared.inherited(address.unix)).start()
                else:
                    await _open_unix(runner, address.unix)
                actual = str(address)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {plainly(error)}") from None
        self.addresses.append(actual)
        return actual

    def drain(self) -> None:
        """Have every answer from now on close its connection."""
        for runner in self._runners:
            if isinstance(runner.server, GateServer):
                runner.server.drain()

    async def close(self) -> None:
        """Stop listening, let requests under way finish within the runners' time, and close all connections."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()


def plainly(error: OSError) -> str:
    """Return the system's words for an error; asyncio's own repeat the address. A resolver's have numbers below 0."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


async def _open_unix(runner: BaseRunner, path: str) -> None:
    remove_stale(Path(path))
    await web.UnixSite(runner, path, backlog=_BACKLOG).start()
    open_to_all(Path(path))


def open_to_all(path: Path) -> None:
    """Let every user connect who can reach the folder: the proxy beside the gate usually runs as another one."""
    path.chmod(0o666)


def remove_stale(path: Path) -> None:
    """Remove the socket file of a gate that is gone; one that somebody listens on, or any other file, is an error.

    The event loop itself would remove every socket file, and so take the connections of whoever listens there.
    """
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ListenError(
                f"cannot listen on unix:{path}: a file that is no socket stands there; remove it, or name another path"
            )
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ListenError(
        f"cannot listen on unix:{path}: another process listens there; stop it, or name another path"
    )


async def _open_tcp(
    runner: BaseRunner, address: ListenAddress, tls: ssl.SSLContext | None, *, shared: bool = False
) -> str:
    site = web.TCPSite(
        runner,
        address.host or None,
        address.port,
        ssl_context=tls,
        backlog=_BACKLOG,
        reuse_port=shared or None,
    )
    await site.start()
    return opened_at(address, runner.addresses[-1][1])


def opened_at(address: ListenAddress, port: int) -> str:
    """Return where a TCP listener is reachable, given its real port: `0.0.0.0:port` for every address."""
    opened = str(address.with_port(port))
    return opened if address.host else f"0.0.0.0{opened}"  # noqa: S104 - shown only


def _bound_unix(path: Path) -> socket.socket:
    remove_stale(path)
    one = socket.socket(socket.AF_UNIX)
    try:
        one.bind(str(path))
        open_to_all(path)
        one.listen(_BACKLOG)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


class _InheritedSite(web.BaseSite):
    """A unix socket that a parent opened, and that outlives the process."""

    def __init__(self, runner: BaseRunner, one: socket.socket) -> None:
        super().__init__(runner, backlog=_BACKLOG)
        self._socket = one

    @property
    def name(self) -> str:
        """Where it is."""
        return f"unix:{self._socket.getsockname()}"

    async def start(self) -> None:
        """Accept connections."""
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        if server is None:
            raise AssertionError("a runner is set up before its sites start")
        # From 3.13 on a loop removes the file when it stops to listen, but others go on.
        kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await loop.create_unix_server(server, sock=self._socket, **kept)
