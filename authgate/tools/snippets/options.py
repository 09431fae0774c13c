"""What a snippet is made for: addresses, names and paths, each held to letters that no configuration takes amiss."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from authgate.tools.snippets.timeouts import GATE_TIMEOUT
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


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server that the proxy asks: a host and a port, or a unix socket's path."""

    host: str
    """A name or an address, an IPv6 address in brackets; "" where it is a unix socket."""
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
    """Where the proxy listens; `host` is "" for every address, an IPv6 address stands in brackets."""

    host: str
    port: int

    @property
    def bare_host(self) -> str:
        """The address without brackets, "" for every address."""
        return self.host.strip("[]")


@dataclass(frozen=True, slots=True)
class Options:
    """What `authgate snippets PROXY` is asked for."""

    gate: Upstream | None = None
    """None: on the same machine, at the port of the gate's examples; in a cluster, that of its manifests."""
    app: Upstream | None = None
    """None: on the same machine, at port 3000; in a cluster, an example."""
    listen: Listen = Listen("", 8000)
    policy: str = DEFAULT_POLICY
    preset: Preset = DEFAULT_PRESET
    strip_authorization: bool = True
    headers: tuple[str, ...] = ()
    """Headers that the gate sends beside the preset's."""
    open_paths: tuple[str, ...] = ()
    cookie: bool = False
    """Whether the gate takes tokens from a cookie, too (`credential.sources`)."""
    error_pages: bool = False
    """Whether refusals come with a page, or with JSON for those who ask for no page."""
    gate_timeout: int = GATE_TIMEOUT
    """Seconds after which the proxy gives up on the gate."""
    tls: bool = False
    complete: bool = False


def parse_gate(text: str) -> Upstream:
    """Read where the gate listens; raises ValueError with a sentence."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not _SOCKET.fullmatch(path) or path.endswith("/"):
            raise ValueError(
                "--gate unix:PATH needs the socket's absolute path, of letters, digits and . _ - /"
            )
        return Upstream("", 0, socket=path)
    gate = _upstream(text, "--gate")
    if gate.scheme != "http":
        raise ValueError(
            "--gate takes http://HOST:PORT or unix:PATH; let TLS to the gate be a mesh's, or keep the gate beside the"
            " proxy"
        )
    return gate


def parse_app(text: str) -> Upstream:
    """Read where the app listens; raises ValueError with a sentence."""
    app = _upstream(text, "--app")
    if app.scheme not in _APP_SCHEMES:
        raise ValueError("--app takes http://HOST:PORT, or h2c://HOST:PORT for gRPC")
    return app


def parse_listen(text: str) -> Listen:
    """Read where the proxy is to listen: `:PORT` or `ADDRESS:PORT`; raises ValueError with a sentence."""
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise ValueError("--listen must be :PORT, ADDRESS:PORT or [V6-ADDRESS]:PORT, such as 127.0.0.1:8000")
    return Listen(_host(match["host"] or "", "--listen"), _port(match["port"], "--listen"))


def parse_policy(text: str) -> str:
    """Read a policy's name; raises ValueError with a sentence."""
    if not _POLICY.fullmatch(text):
        raise ValueError("--policy must be a policy's name: lower-case letters, digits and dashes")
    return text


def parse_preset(text: str) -> Preset:
    """Read a preset's name; raises ValueError with a sentence."""
    for preset in PRESETS:
        if text == preset:
            return preset
    raise ValueError(
        f"--preset must be {', '.join(PRESETS[:-1])} or {PRESETS[-1]}, as headers.preset of the gate"
    )


def parse_header(text: str) -> str:
    """Read the name of a header that the gate sends beside the preset's; raises ValueError with a sentence."""
    if not _HEADER.fullmatch(text):
        raise ValueError(
            f"--header {text!r}: must be a name of headers.set or identityToken.header, such as X-Department: letters,"
            " digits and dashes, and none that HTTP or the proxy owns"
        )
    return text


def parse_open_path(text: str) -> str:
    """Read a path that needs no token; raises ValueError with a sentence.

    Exactly this path: what stands for many is the gate's to judge, which sees more than a proxy's matcher does.
    """
    if not _OPEN_PATH.fullmatch(text) or ".." in text:
        raise ValueError(
            f"--open {text!r}: must be one path such as /healthz, of letters, digits and . _ -; for all paths below"
            ' one use the gate: policies.NAME.anonymous: ["/public/*"]'
        )
    return text


def verify_path(policy: str) -> str:
    """The gate's path for a policy."""
    return "/verify" if policy == DEFAULT_POLICY else f"/policies/{policy}/verify"


def _upstream(text: str, option: str) -> Upstream:
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{option} must be a URL of scheme, host and port alone, such as http://127.0.0.1:8080"
        )
    port = _port(match["port"] or "80", option)
    return Upstream(_host(match["host"], option), port, scheme=match["scheme"])


def _port(text: str, option: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"{option}: a port is a number from 1 to 65535, not {text}")
    return int(text)


def _host(text: str, option: str) -> str:
    try:
        if text.startswith("["):
            return f"[{ipaddress.IPv6Address(text[1:-1])}]"
        if re.fullmatch(r"[0-9.]+", text):
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{option}: {text} is no IP address") from None
    if text and not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{option}: {text} is no host name")
    return text
