"""The validity periods of the certificates and tokens that the gate presents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from authgate.cluster.credentials import file_mark
from authgate.cluster.own_token import read_own_token

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Validity(NamedTuple):
    """Two times in POSIX seconds."""

    begins: float
    ends: float


class CertificateValidity:
    """The validity of a PEM certificate. A file is read again when it changes."""

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        self._mark: Hashable = self  # no file has this mark
        self._validity: Validity | None = None

    def __call__(self) -> Validity | None:
        """Return the validity of the first certificate, or None if it cannot be read."""
        source = self._source
        mark = file_mark(source) if isinstance(source, Path) else None
        if mark != self._mark:
            self._mark = mark
            self._validity = _read_certificate(source)
        return self._validity


class TokenValidity:
    """The validity of the token that a credential has now."""

    def __init__(self, token: Callable[[], str | None]) -> None:
        self._token = token
        self._read: str | None = None
        self._validity: Validity | None = None

    def __call__(self) -> Validity | None:
        """Return the validity, or None if there is no token, or it does not have both times."""
        token = self._token()
        if token != self._read:
            claims = read_own_token(token)
            known = claims.issued is not None and claims.expires is not None
            self._validity = Validity(claims.issued or 0.0, claims.expires or 0.0) if known else None
            self._read = token
        return self._validity


def _read_certificate(source: Path | bytes) -> Validity | None:
    from cryptography.x509 import load_pem_x509_certificates  # not needed by most gates

    try:
        pem = source.read_bytes() if isinstance(source, Path) else source
        leaf = load_pem_x509_certificates(pem)[0]
    except (OSError, ValueError):
        return None  # a file is being replaced, or the client that uses it reports the error
    return Validity(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())
