"""Send one GET to a gate's admin port, with only the standard library: a container's probe runs every few seconds."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from authgate.listen_address import ListenAddress

_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_MAX_BODY: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """A host and port or a unix socket, and the URL's path, "" if it has none."""

    host: str
    port: int
    socket_path: str = ""
    path: str = ""

    def __str__(self) -> str:
        """Return the address as --url takes it."""
        if self.socket_path:
            return f"unix:{self.socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of the gate."""

    status: int
    body: str


class ProbeError(Exception):
    """The gate did not respond; the message contains the reason."""


def target_of_address(address: ListenAddress) -> Target:
    """Return the target for a listener on this machine; raises ValueError if the kernel chooses its port.

    A wildcard address is reached on loopback.
    """
    if address.unix is not None:
        return Target("localhost", 0, address.unix)
    if address.port == 0:
        raise ValueError(f"the kernel chooses the port of {address}: give the address as --url")
    return Target(_ANY.get(address.host, address.host), address.port)


def target_of_url(url: str) -> Target:
    """Parse `http://host:port[/path]` or `unix:/path`; raises ValueError."""
    if url.startswith("unix:"):
        return target_of_address(ListenAddress.parse(url))
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("--url must be http://host:port or unix:/path")
    return Target(parts.hostname, parts.port or 80, path=parts.path.removesuffix("/"))


def ask(target: Target, path: str, timeout: float, token: str | None = None) -> Answer:
    """Return the response to GET `path`, or to the target's own path; raises `ProbeError` after `timeout` seconds."""
    headers = {"Connection": "close", **({} if token is None else {"Authorization": f"Bearer {token}"})}
    if target.socket_path:
        connection: HTTPConnection = _UnixConnection(target.socket_path, timeout)
    else:
        connection = HTTPConnection(target.host, target.port, timeout=timeout)
    try:
        connection.request("GET", target.path or path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(_MAX_BODY).decode("utf-8", "replace"))
    except TimeoutError:
        raise ProbeError(f"no response within {timeout:g} s") from None
    except (HTTPException, ValueError):  # before OSError, which RemoteDisconnected is as well
        raise ProbeError("the response is not HTTP") from None
    except OSError as error:
        raise ProbeError(error.strerror or type(error).__name__) from None
    finally:
        connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
