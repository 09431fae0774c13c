"""The connection to a cluster: the settings that select it, and the API server and credential they resolve to."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from authgate.cluster.running_programs import RunningPrograms
from authgate.vocabulary import SERVICE_ACCOUNT_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.http_proxy import Proxy

_SCHEMES: Final = ("https", "http")


class ClusterConfigError(Exception):
    """The configured cluster cannot be used; the message names what to change and contains no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Which cluster to use, and how long a call may take.

    `kubeconfig` is an explicit file. Without one the pod's ServiceAccount is used if its files and environment exist
    and no `context` is set, else the files of $KUBECONFIG, else ~/.kube/config. `timeout` is in seconds and bounds a
    whole call: connecting, sending, reading and the repetition after a 401. `import_timeout` is how long the first
    review or token request may wait for the Kubernetes client library to be loaded, before its call begins.
    """

    kubeconfig: str | None = None
    context: str | None = None
    timeout: float = 3.0
    import_timeout: float = 10.0
    service_account_dir: str = SERVICE_ACCOUNT_DIR
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    programs: RunningPrograms = field(default_factory=RunningPrograms)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate with its key: files that are read again when they change, or PEM bytes."""

    certificate: Path | bytes = field(repr=False)
    key: Path | bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authorization:
    """A fixed value of the Authorization header."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file with a bearer token, which its writer replaces before the token expires."""

    path: Path


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that prints an ExecCredential (client-go credential plugin), as kubeconfig describes it."""

    api_version: str
    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An API server, how its certificate is verified, and the gate's credential; `origin` names the source in messages.

    `credential` is None if the gate presents only a client certificate, or nothing. `ca` is None for the system's
    certificate authorities.
    """

    origin: str
    server: str
    ca: Path | bytes | None = None
    unsafe_skip_verify: bool = False
    server_name: str | None = None
    proxy: Proxy | None = None
    client_certificate: ClientCertificate | None = None
    credential: Authorization | TokenFile | ExecPlugin | None = None


def server_url(value: str, where: str) -> str:
    """Return an API server's URL without a trailing slash; raises `ClusterConfigError` if it must not be used.

    Plain http is accepted on loopback only, where `kubectl proxy` listens, because request bodies contain tokens.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ClusterConfigError(f"{where}: not a URL; write it as https://host:port") from None
    if "@" in value or parts.query or parts.fragment:  # not quoted: there may be a password before the @
        raise ClusterConfigError(f"{where}: must have no user info, query or fragment")
    if parts.scheme not in _SCHEMES or not host:
        raise ClusterConfigError(f"{where}: must be a URL such as https://host:port, is {value!r}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ClusterConfigError(f"{where}: plain http is accepted on loopback only; use https for {host}")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def present(path: Path) -> bool:
    """Return whether `path` exists; true if that is unknown, so that reading it reports the reason."""
    try:
        return path.exists()
    except OSError:  # such as a home directory that only its owner may enter
        return True


def header_safe(token: str, where: str) -> str:
    """Return the token if a header can carry it, else raise `ClusterConfigError`, which does not quote it."""
    if not all("!" <= character <= "~" for character in token):
        raise ClusterConfigError(
            f"{where}: a token must be printable ASCII without spaces; is it the right value?"
        )
    return token


def pod_connection(settings: ConnectionSettings) -> Connection | None:
    """Return the connection to the cluster that this pod runs in (client-go's InClusterConfig), or None."""
    host = settings.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = settings.environ.get("KUBERNETES_SERVICE_PORT", "")
    folder = Path(settings.service_account_dir)
    token, ca = folder / "token", folder / "ca.crt"
    if not host or not port or not present(token) or not present(ca):
        return None
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Connection(
        origin="the pod's ServiceAccount",
        server=server_url(f"https://{netloc}", "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"),
        ca=ca,
        credential=TokenFile(token),
    )
