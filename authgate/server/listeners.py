"""Open and drain listening sockets: TCP, unix, and those that several processes share."""

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
from typing import TYPE_CHECKING, Any, cast

from authgate.server.http.connection import GateServer
from authgate.server.tls_port import TLSPort

if TYPE_CHECKING:
    from authgate.listen_address import ListenAddress
    from authgate.server.http.web import ServerRunner

_BACKLOG = 1024


class ListenError(Exception):
    """A listener cannot be opened. The message names the address and what to do."""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """A listener's certificate chain and key, and the CA that client certificates must come from, if required."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None


def tls_context(files: TLSFiles, place: str = "server.tls") -> ssl.SSLContext:
    """Return a server's TLS context; raise `ListenError` if a file is unusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password, OpenSSL asks for that of an encrypted key on the terminal.
        context.load_cert_chain(files.cert_file, files.key_file, password="")
        if files.client_ca_file:
            context.load_verify_locations(files.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"{place}: {error}") from None
    return context


def why_unavailable(address: ListenAddress) -> str | None:
    """Return why an address cannot be listened on now, or None if it can. Nothing is left open or changed.

    Host names are not resolved.
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
        return f"this user may not write to the folder {folder}"
    if not path.exists():
        return None
    if not stat.S_ISSOCK(path.stat().st_mode):
        return "a file that is not a socket exists there"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return None  # left by a gate that has ended; the next gate removes it
    return "another process listens there"


class SharedAddresses:
    """Addresses that several processes listen on. Their parent makes this object and accepts no connection itself.

    The parent reserves TCP ports, and each process opens them for itself (SO_REUSEPORT), so that a process that dies
    takes no connection of the others with it. A unix socket is opened once and inherited.
    """

    def __init__(self) -> None:
        self._reserved: list[socket.socket] = []
        self._unix: dict[str, socket.socket] = {}
        self._files: dict[Path, int] = {}

    def reserve(self, address: ListenAddress) -> ListenAddress:
        """Reserve an address for these processes and return it with its real port; raise `ListenError`."""
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
        """Return the descriptors that a child process must inherit."""
        return [one.fileno() for one in self._unix.values()]

    def close(self) -> None:
        """Close the parent's sockets and remove its socket files. Processes that listen keep their sockets."""
        for one in (*self._reserved, *self._unix.values()):
            one.close()
        for path, number in self._files.items():
            with suppress(OSError):
                if path.stat().st_ino == number:  # else it is the socket of a newer gate
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
            # Without SO_REUSEPORT yet: another gate on this port is an error.
            one.bind((place[0], port, *place[2:]))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            port = one.getsockname()[1]
        return address.with_port(port)


class Listeners:
    """The sockets of one or more servers. `addresses` lists them with real port numbers.

    With `shared`, other processes listen on the same addresses.
    """

    def __init__(self, shared: SharedAddresses | None = None) -> None:
        self._shared = shared
        self._runners: list[ServerRunner] = []
        self._tls_ports: list[TLSPort] = []
        self.addresses: list[str] = []

    async def open(
        self, runner: ServerRunner, address: ListenAddress, tls: ssl.SSLContext | None = None
    ) -> str:
        """Listen on an address and return it with its real port; raise `ListenError`.

        `tls` is for TCP. A unix socket never uses TLS.
        """
        if runner not in self._runners:
            self._runners.append(runner)
        try:
            if address.unix is None:
                actual = await self._open_tcp(runner, address, tls)
            else:
                await self._open_unix(runner, address.unix)
                actual = str(address)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {plainly(error)}") from None
        self.addresses.append(actual)
        return actual

    def drain(self) -> None:
        """Close each connection with its next answer."""
        for runner in self._runners:
            if isinstance(runner.server, GateServer):
                runner.server.drain()

    async def close(self) -> None:
        """Stop listening, let open requests finish within the shutdown timeout, and close all connections."""
        for port in self._tls_ports:
            await port.close()
        self._tls_ports.clear()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _open_tcp(
        self, runner: ServerRunner, address: ListenAddress, tls: ssl.SSLContext | None
    ) -> str:
        shared = self._shared is not None
        if tls is None:
            server = await asyncio.get_running_loop().create_server(
                runner.server,
                address.host or None,
                address.port,
                backlog=_BACKLOG,
                reuse_port=shared or None,
            )
            runner.add(server)
            return opened_at(address, server.sockets[-1].getsockname()[1])
        self._tls_ports.append(opened := TLSPort(cast("GateServer", runner.server), tls))
        port = await opened.open(address.host, address.port, _BACKLOG, shared=shared)
        return opened_at(address, port)

    async def _open_unix(self, runner: ServerRunner, path: str) -> None:
        loop = asyncio.get_running_loop()
        if self._shared is None:
            remove_stale(Path(path))
            runner.add(await loop.create_unix_server(runner.server, path, backlog=_BACKLOG))
            open_to_all(Path(path))
            return
        # The parent process opened this socket, and it stays open when this process ends. Since Python 3.13 a loop
        # removes the file when it stops listening, but other processes still listen there.
        kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        shared = self._shared.inherited(path)
        runner.add(await loop.create_unix_server(runner.server, sock=shared, backlog=_BACKLOG, **kept))


def plainly(error: OSError) -> str:
    """Return the system's text for an error, since asyncio's repeats the address. Resolver errors are below 0."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def open_to_all(path: Path) -> None:
    """Let every user who can reach the folder connect: the proxy usually runs as another user than the gate."""
    path.chmod(0o666)


def remove_stale(path: Path) -> None:
    """Remove the socket file of a gate that has ended; raise `ListenError` for a socket in use and any other file.

    The event loop itself would remove every socket file, also that of a process that still listens there.
    """
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ListenError(
                f"cannot listen on unix:{path}: a file that is not a socket exists there; "
                "remove it or use another path"
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
        f"cannot listen on unix:{path}: another process listens there; stop it or use another path"
    )


def opened_at(address: ListenAddress, port: int) -> str:
    """Return an address with its real port, and with `0.0.0.0` if it has no host."""
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
