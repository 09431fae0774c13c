"""What `server.grpc` needs: packages that are installed, and a socket that one process has for itself."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from authgate.config.checks.tokens import several_workers
from authgate.config.problems import Finding, shown
from authgate.config.reading.values import Values
from authgate.listen_address import ListenAddress

_PACKAGES = ("grpc", "grpc_health", "envoy")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def findings_of_grpc(values: Values) -> Iterator[Finding]:
    """Tell why gRPC could not be served."""
    path = ("server", "grpc")
    address = values.text(*path)
    if address is None:
        return
    if any(find_spec(name) is None for name in _PACKAGES):  # looked for only: a supervisor must not load gRPC
        yield Finding(path, "needs the extra 'grpc': in a checkout of authgate, run: pip install '.[grpc]'")
    if address.startswith("unix:") and several_workers(values):
        yield Finding(
            path, "cannot be a unix socket with several server.workers: gRPC cannot share one", shown(address)
        )


def as_grpc_opens(address: ListenAddress) -> ListenAddress:
    """Return an address as gRPC opens it: every address of IPv4 or of IPv6 is both for it."""
    if address.unix is None and address.host in _EVERYWHERE:
        return ListenAddress(port=address.port)
    return address
