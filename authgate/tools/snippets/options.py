"""The options of a snippet: addresses, names and paths, limited to characters that are safe in every configuration."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass
from typing import Final

from authgate.config.models.cluster import TokenReviewConfig
from authgate.config.models.keys import KeyRefreshConfig
from authgate.vocabulary import DEFAULT_POLICY, DEFAULT_PRESET, IDENTITY_HEADER_PATTERN, PRESETS, Preset

_URL = re.compile(
    r"(?P<scheme>[a-z0-9]{2,5})://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?/?",
    re.ASCII,
)
_LISTEN = re.compile(r"(?P<host>[0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\])?:(?P<port>\d{1,5})", re.ASCII)
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_SOCKET = re.compile(r"/[A-Za-z0-9._/-]{1,106}", re.ASCII)
_POLICY = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_OPEN_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){1,10}", re.ASCII)
_HEADER = re.compile(IDENTITY_HEADER_PATTERN, re.ASCII)
_APP_SCHEMES = ("http", "h2c")


def gate_timeout(keys: float, review: float) -> int:
    """Return the proxy's timeout for the gate in seconds, from `keys.timeout` and `tokenReview.timeout`.

    One request may wait for discovery, for the keys, for a TokenReview and for an access review, one after the other.
    """
    return math.ceil(2 * keys + 2 * review + 1)


GATE_TIMEOUT: Final = gate_timeout(KeyRefreshConfig().timeout, TokenReviewConfig().timeout)
"""The proxy's timeout for a gate with the default timeouts."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server behind the proxy: a host and a port, or the path of a unix socket."""

    host: str
    """A name or an address, an IPv6 address in brackets; "" for a unix socket."""
    port: int
    socket: str = ""
    scheme: str = "http"

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def bare_host(self) -> str:
        """The host, an IPv6 address without its brackets."""
        return self.host.strip("[]")


@dataclass(frozen=True, slots=True)
class Listen:
    """The listen address of the proxy; `host` is "" for every address, and an IPv6 address is in brackets."""

    host: str
    port: int

    @property
    def bare_host(self) -> str:
        """The address without brackets, "" for every address."""
        return self.host.strip("[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `authgate snippets PROXY`."""

    gate: Upstream | None = None
    """None: on this machine, on the port of the examples; in a cluster, the Service of the manifests."""
    app: Upstream | None = None
    """None: port 3000 on this machine; in a cluster, an example."""
    listen: Listen = Listen("", 8000)
    policy: str = DEFAULT_POLICY
    preset: Preset = DEFAULT_PRESET
    strip_authorization: bool = True
    headers: tuple[str, ...] = ()
    """Headers that the gate sends in addition to the preset's."""
    open_paths: tuple[str, ...] = ()
    cookie: bool = False
    """Whether the gate also accepts tokens in a cookie (`credential.sources`)."""
    token_header: str = ""
    """Another header in which the gate accepts a token (`credential.sources`); "" for none."""
    error_pages: bool = False
    """Whether denied requests get a page, or JSON for clients that do not accept HTML."""
    gate_timeout: int = GATE_TIMEOUT
    """The proxy's timeout for the gate in seconds."""
    tls: bool = False
    complete: bool = False


def parse_gate(text: str) -> Upstream:
    """Parse the address of the gate; raises ValueError with a sentence."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not _SOCKET.fullmatch(path) or path.endswith("/"):
            raise ValueError(
                "--gate unix:PATH needs the absolute path of the socket, with only letters, digits and . _ - /"
            )
        return Upstream("", 0, socket=path)
    gate = _upstream(text, "--gate")
    if gate.scheme != "http":
        raise ValueError(
            "--gate must be http://HOST:PORT or unix:PATH; for TLS to the gate, use a mesh or run the gate next to the"
            " proxy"
        )
    return gate


def parse_app(text: str) -> Upstream:
    """Parse the address of the app; raises ValueError with a sentence."""
    app = _upstream(text, "--app")
    if app.scheme not in _APP_SCHEMES:
        raise ValueError("--app must be http://HOST:PORT, or h2c://HOST:PORT for gRPC")
    return app


def parse_listen(text: str) -> Listen:
    """Parse the listen address of the proxy, `:PORT` or `ADDRESS:PORT`; raises ValueError with a sentence."""
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise ValueError("--listen must be :PORT, ADDRESS:PORT or [V6-ADDRESS]:PORT, such as 127.0.0.1:8000")
    return Listen(_host(match["host"] or "", "--listen"), _port(match["port"], "--listen"))


def parse_policy(text: str) -> str:
    """Parse the name of a policy; raises ValueError with a sentence."""
    if not _POLICY.fullmatch(text):
        raise ValueError("--policy must be the name of a policy: lower-case letters, digits and dashes")
    return text


def parse_preset(text: str) -> Preset:
    """Parse the name of a preset; raises ValueError with a sentence."""
    for preset in PRESETS:
        if text == preset:
            return preset
    raise ValueError(
        f"--preset must be {', '.join(PRESETS[:-1])} or {PRESETS[-1]}, the same as headers.preset of the gate"
    )


def parse_header(text: str) -> str:
    """Parse the name of a header that the gate sends in addition to the preset's; raises ValueError with a sentence."""
    if not _HEADER.fullmatch(text):
        raise ValueError(
            f"--header {text!r}: must be a name in headers.set or identityToken.header, such as X-Department: letters,"
            " digits and dashes, and not a header of HTTP or of the proxy"
        )
    return text


def parse_token_header(text: str) -> str:
    """Parse the name of a header in which the gate accepts a token; raises ValueError with a sentence."""
    if not _HEADER.fullmatch(text):
        raise ValueError(
            f"--token-header {text!r}: must be the name of a header in credential.sources, such as"
            " Cf-Access-Jwt-Assertion: letters, digits and dashes, and not a header of HTTP or of the proxy"
        )
    return text


def parse_open_path(text: str) -> str:
    """Parse a path that needs no token; raises ValueError with a sentence.

    Patterns are left to the gate, which recognizes more spellings of a path than a proxy's matcher.
    """
    if not _OPEN_PATH.fullmatch(text) or ".." in text:
        raise ValueError(
            f"--open {text!r}: must be one path such as /healthz, with only letters, digits and . _ -; for all paths"
            ' below one, configure the gate: policies.NAME.anonymous: ["/public/*"]'
        )
    return text


def verify_path(policy: str) -> str:
    """Return the gate's path for a policy."""
    return "/verify" if policy == DEFAULT_POLICY else f"/policies/{policy}/verify"


def _upstream(text: str, option: str) -> Upstream:
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{option} must be a URL with only scheme, host and port, such as http://127.0.0.1:8080"
        )
    port = _port(match["port"] or "80", option)
    return Upstream(_host(match["host"], option), port, scheme=match["scheme"])


def _port(text: str, option: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"{option}: the port must be a number from 1 to 65535, but is {text}")
    return int(text)


def _host(text: str, option: str) -> str:
    try:
        if text.startswith("["):
            return f"[{ipaddress.IPv6Address(text[1:-1])}]"
        if re.fullmatch(r"[0-9.]+", text):
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{option}: {text} is not an IP address") from None
    if text and not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{option}: {text} is not a host name")
    return text
