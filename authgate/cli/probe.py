"""One GET to a gate's admin port with the standard library alone: a container's probe runs every few seconds."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from authgate.listen_address import ListenAddress

_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound
_MAX_BODY: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask: a host and port, or a unix socket's path; and the path to ask for, "" for none in particular."""

    host: str
    port: int
    socket_path: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gate said."""

    status: int
    body: str


class ProbeError(Exception):
    """The gate did not answer; the message says why."""


def target_of_address(address: ListenAddress) -> Target:
    """Return where a listener can be reached from the same machine; raises ValueError where the kernel picks the port.

    An address that means every address is reached on loopback.
    """
    if address.unix is not None:
        return Target("localhost", 0, address.unix)
    if address.port == 0:
        raise ValueError(f"the kernel picks the port of {address}; give the address as --url")
    return Target(_ANY.get(address.host, address.host), address.port)


def target_of_url(url: str) -> Target:
    """Return where a URL points: `http://host:port[/path]`, or `unix:/path` for a socket; raises ValueError."""
    if url.startswith("unix:"):
        return target_of_address(ListenAddress.parse(url))
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("--url must be http://host:port or unix:/path")
    return Target(parts.hostname, parts.port or 80, path=parts.path.removesuffix("/"))


def ask(target: Target, path: str, timeout: float) -> Answer:
    """Return the answer to GET `path` (the target's own path wins); raises `ProbeError` after `timeout` seconds."""
    if target.socket_path:
        connection: HTTPConnection = _UnixConnection(target.socket_path, timeout)
    else:
        connection = HTTPConnection(target.host, target.port, timeout=timeout)
    try:
        connection.request("GET", target.path or path, headers={"Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, response.read(_MAX_BODY).decode("utf-8", "replace"))
    except TimeoutError:
        raise ProbeError(f"no answer within {timeout:g} s") from None
    except (HTTPException, ValueError):  # RemoteDisconnected is an OSError, too
        raise ProbeError("the answer is no HTTP") from None
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
