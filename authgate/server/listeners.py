"""Opening and draining the sockets of both listeners."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.web_runner import BaseRunner

_BACKLOG = 1024


class ListenError(Exception):
    """An address cannot be listened on; the message names it and what to do."""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The certificate chain and key of the verify listener, and the CA whose clients alone may connect."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None


def tls_context(files: TLSFiles) -> ssl.SSLContext:
    """Return the server's TLS context; raises `ListenError` for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.cert_file, files.key_file)
        if files.client_ca_file:
            context.load_verify_locations(files.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"server.tls: {error}") from None
    return context


class Listeners:
    """The sockets that serve one or more handlers; `addresses` tells where, with real port numbers."""

    def __init__(self) -> None:
        self._runners: list[BaseRunner] = []
        self.addresses: list[str] = []

    async def open(self, runner: BaseRunner, address: str, tls: ssl.SSLContext | None = None) -> str:
        """Listen on `host:port`, `[v6]:port`, `:port` or `unix:/path`; returns the address, raises `ListenError`."""
        if runner not in self._runners:
            await runner.setup()
            self._runners.append(runner)
        try:
            if address.startswith("unix:"):
                actual = await _open_unix(runner, address.removeprefix("unix:"), tls)
            else:
                actual = await _open_tcp(runner, address, tls)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {_plainly(error)}") from None
        self.addresses.append(actual)
        return actual

    async def close(self) -> None:
        """Stop listening, let requests under way finish within the runners' time, and close all connections."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()


def _plainly(error: OSError) -> str:
    """Return the system's words for an error; asyncio's own repeat the address. A resolver's have numbers below 0."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


async def _open_unix(runner: BaseRunner, path: str, tls: ssl.SSLContext | None) -> str:
    _remove_stale(Path(path))
    await web.UnixSite(runner, path, ssl_context=tls, backlog=_BACKLOG).start()
    _open_to_all(Path(path))
    return f"unix:{path}"


def _open_to_all(path: Path) -> None:
    """Let every user connect who can reach the folder: the proxy beside the gate usually runs as another one."""
    path.chmod(0o666)


def _remove_stale(path: Path) -> None:
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


async def _open_tcp(runner: BaseRunner, address: str, tls: ssl.SSLContext | None) -> str:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    site = web.TCPSite(runner, host or None, int(port), ssl_context=tls, backlog=_BACKLOG)
    await site.start()
    bound = runner.addresses[-1]
    return f"{host or '0.0.0.0'}:{bound[1]}" if ":" not in host else f"[{host}]:{bound[1]}"  # noqa: S104 - shown only
