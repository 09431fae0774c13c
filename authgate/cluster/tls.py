"""TLS to the API server: a context that is rebuilt when one of its files changes."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from authgate.cluster.connection import ClientCertificate, ClusterConfigError, Connection
from authgate.cluster.credentials import file_mark

if TYPE_CHECKING:
    from collections.abc import Hashable

_LOG: Final = logging.getLogger(__name__)


class TLSContexts:
    """Returns the TLS context for the next request, and rebuilds it when a CA or client certificate file changes.

    The files are compared by their `file_mark` before every request. A request after a change gets a new context and so
    a new connection: a removed CA is no longer trusted, and requests under way end undisturbed. Files that are unusable
    at first are a `ClusterConfigError`; later the last good context stays in use, with one warning per change.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._marks: Hashable = None
        self._context: ssl.SSLContext | None = None

    def context(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """Return the context for a request with this client certificate."""
        sources = [self._connection.ca]
        if certificate is not None:
            sources += [certificate.certificate, certificate.key]
        marks = tuple(file_mark(source) if isinstance(source, Path) else source for source in sources)
        if self._context is None:
            self._context = _build(self._connection, certificate)
        elif marks != self._marks:
            try:
                self._context = _build(self._connection, certificate)
            except ClusterConfigError as error:
                _LOG.warning("%s; the last good certificates stay in use", error)
        self._marks = marks
        return self._context


def _build(connection: Connection, certificate: ClientCertificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host name
    if connection.ca is None:
        context.load_default_certs()
    else:
        _trust(context, _pem(connection.ca, "certificate-authority"), connection.origin)
    # As Go, and so kubectl, verifies: any certificate of the CA file is an anchor, also an intermediate.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if connection.unsafe_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        _load_certificate(context, certificate, connection.origin)
    return context


def _trust(context: ssl.SSLContext, ca: bytes, origin: str) -> None:
    try:
        context.load_verify_locations(cadata=ca.decode("ascii", "ignore"))  # the rest is comments
    except (ssl.SSLError, ValueError):
        raise ClusterConfigError(
            f"{origin}: certificate-authority does not contain a PEM certificate"
        ) from None


def _load_certificate(context: ssl.SSLContext, pair: ClientCertificate, origin: str) -> None:
    certificate, key = _pem(pair.certificate, "client-certificate"), _pem(pair.key, "client-key")
    # OpenSSL reads keys from files only. This file exists during the call only, and only its owner can read it.
    with TemporaryDirectory(prefix="authgate-") as folder:
        path = Path(folder) / "client.pem"
        path.touch(mode=0o600)
        path.write_bytes(key + b"\n" + certificate)
        try:
            # Without a password here, OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(path, password="")
        except (ssl.SSLError, ValueError):
            raise ClusterConfigError(
                f"{origin}: client-certificate and client-key must be one PEM pair, the key without a password"
            ) from None


def _pem(source: Path | bytes, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise ClusterConfigError(f"{name} {source}: cannot be read: {error.strerror}") from None
