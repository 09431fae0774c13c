"""The addresses that authgate listens on: `host:port`, `[v6]:port`, `:port` or `unix:/path`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final

_HOST_AND_PORT: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9.-]{0,253})):(?P<port>\d{1,5})", re.ASCII
)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_LOOKS_NUMERIC: Final = re.compile(r"[0-9.]+")
_MAX_SOCKET_PATH: Final = 107  # sun_path of sockaddr_un on Linux, without its NUL
_FORMS: Final = 'must be "host:port", "[v6]:port", ":port" or "unix:/absolute/path"'


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP host and port, or the absolute path of a unix socket.

    `host` "" is every address of the machine, `port` 0 is one that the kernel picks, and `unix` is None for TCP.
    """

    host: str = ""
    port: int = 0
    unix: str | None = None

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Parse an address; raises ValueError with a sentence that lists the forms."""
        if text.startswith("unix:"):
            return cls(unix=_socket_path(text.removeprefix("unix:")))
        match = _HOST_AND_PORT.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(_FORMS)
        port = int(match["port"])
        if match["v6"] is not None:
            return cls(_ip(match["v6"], 6), port)
        host = match["host"]
        if _LOOKS_NUMERIC.fullmatch(host):
            return cls(_ip(host, 4), port)
        if host and not _NAME.fullmatch(host):
            raise ValueError(_FORMS)
        return cls(host.lower(), port)

    def __str__(self) -> str:
        """Write the address as a configuration has it."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: a unix socket, or loopback."""
        if self.unix is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> ListenAddress:
        """Return the same TCP address with the port that the kernel picked."""
        return replace(self, port=port)

    def collides_with(self, other: ListenAddress) -> bool:
        """Return whether both addresses cannot be open at the same time."""
        if self.unix is not None or other.unix is not None:
            return self.unix == other.unix
        return self.port == other.port != 0 and _hosts_collide(self.host, other.host)


def _hosts_collide(one: str, other: str) -> bool:
    if one == other or "" in (one, other):
        return True
    # 0.0.0.0 and [::] do not collide: a v6 socket is opened for v6 alone.
    for wildcard, host in ((one, other), (other, one)):
        if wildcard == "0.0.0.0" and ":" not in host:  # noqa: S104 - compared, not bound
            return True
        if wildcard == "::" and not _LOOKS_NUMERIC.fullmatch(host):
            return True
    return False


def _socket_path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or any(ord(letter) < 32 for letter in path):
        raise ValueError(_FORMS)
    if len(path.encode("utf-8", "surrogatepass")) > _MAX_SOCKET_PATH:
        raise ValueError(f"must be a socket path of at most {_MAX_SOCKET_PATH} bytes")
    return path


def _ip(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(_FORMS) from None
    if address.version != version:
        raise ValueError(_FORMS)
    return str(address)
