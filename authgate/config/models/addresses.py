"""Where a server listens: `host:port`, `[v6]:port`, `:port` or `unix:/path`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9.-]{0,253})):(?P<port>\d{1,5})", re.ASCII
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_LOOKS_NUMERIC = re.compile(r"[0-9.]+")
_MAX_SOCKET_PATH = 107  # sun_path of sockaddr_un on Linux, less its NUL
_ADVICE = 'must be "host:port", "[v6]:port", ":port" or "unix:/absolute/path"'


@dataclass(frozen=True, slots=True)
class TCPAddress:
    """A TCP address to listen on; `host` None stands for every address, `port` 0 for one that the kernel picks."""

    host: str | None
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket to listen on, by its absolute path."""

    path: str


ListenAddress = TCPAddress | UnixAddress


def parse_listen(text: str) -> ListenAddress:
    """Read an address to listen on; raises ValueError with a sentence that tells the forms."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(_ADVICE)
    port = int(match["port"])
    if match["v6"] is not None:
        return TCPAddress(_ip(match["v6"], 6), port)
    host = match["host"]
    if host == "":
        return TCPAddress(None, port)
    if _LOOKS_NUMERIC.fullmatch(host):
        return TCPAddress(_ip(host, 4), port)
    if not _NAME.fullmatch(host):
        raise ValueError(_ADVICE)
    return TCPAddress(host.lower(), port)


def collide(one: ListenAddress, other: ListenAddress) -> bool:
    """Tell whether two listeners can't both be opened."""
    match one, other:
        case TCPAddress(), TCPAddress():
            return one.port == other.port != 0 and _hosts_collide(one.host, other.host)
        case UnixAddress(), UnixAddress():
            return one == other
        case _:
            return False


def _hosts_collide(one: str | None, other: str | None) -> bool:
    if one == other or one is None or other is None:
        return True
    # 0.0.0.0 and [::] stand beside each other: a v6 socket is opened for v6 alone.
    for wildcard, host in ((one, other), (other, one)):
        if wildcard == "0.0.0.0" and ":" not in host:  # noqa: S104 - compared, not bound
            return True
        if wildcard == "::" and not _LOOKS_NUMERIC.fullmatch(host):
            return True
    return False


def _unix(path: str) -> UnixAddress:
    if not path.startswith("/") or path.endswith("/") or any(ord(letter) < 32 for letter in path):
        raise ValueError(_ADVICE)
    if len(path.encode("utf-8", "surrogatepass")) > _MAX_SOCKET_PATH:
        raise ValueError(f"a unix socket's path must not be longer than {_MAX_SOCKET_PATH} bytes")
    return UnixAddress(path)


def _ip(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(_ADVICE) from None
    if address.version != version:
        raise ValueError(_ADVICE)
    return str(address)
