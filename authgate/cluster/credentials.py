"""The credential that the gate presents to the API server, and how a token file is followed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from authgate.cluster.connection import ClientCertificate, ClusterConfigError, header_safe
from authgate.cluster.own_token import MAX_TOKEN_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)

MAX_TOKEN_AGE: Final = 60.0
"""Seconds after which a token file is read again even if it looks unchanged, as in client-go."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The credential of one request: an Authorization header, a client certificate, both or neither."""

    authorization: str | None = field(default=None, repr=False)
    certificate: ClientCertificate | None = None

    @property
    def token(self) -> str | None:
        """The bearer token inside, or None."""
        scheme, _, token = (self.authorization or "").partition(" ")
        return token if scheme == "Bearer" and token else None


class CredentialSource(Protocol):
    """Where the gate's own credential comes from; it may change from one request to the next."""

    def latest(self) -> Credential:
        """Return the latest credential that is known without waiting."""
        ...

    async def current(self) -> Credential:
        """Return the credential for a request; raises `ApiError` without one."""
        ...

    async def renew(self) -> Credential:
        """Return the credential to try after a server refused the last one, perhaps the same; raises `ApiError`."""
        ...


class FixedSource:
    """A credential that never changes: a token, a password, a client certificate, or nothing."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def latest(self) -> Credential:
        """Return the credential."""
        return self._credential

    async def current(self) -> Credential:
        """Return the credential."""
        return self._credential

    async def renew(self) -> Credential:
        """Return the same credential."""
        return self._credential


class TokenFileSource:
    """A token file, read again when it changes, 60 s after the last time, and after a refusal.

    A file that is unreadable at first is a `ClusterConfigError`; later the last token stays in use, with a warning.
    """

    def __init__(
        self, path: Path, certificate: ClientCertificate | None, monotonic: Callable[[], float]
    ) -> None:
        self._path = path
        self._certificate = certificate
        self._monotonic = monotonic
        self._mark, self._read_at = file_mark(path), monotonic()
        self._token = _read_token(path)

    def latest(self) -> Credential:
        """Return the token that the file has now."""
        if file_mark(self._path) != self._mark or self._monotonic() - self._read_at >= MAX_TOKEN_AGE:
            self._read_again()
        return Credential(f"Bearer {self._token}", self._certificate)

    async def current(self) -> Credential:
        """Return the token that the file has now."""
        return self.latest()

    async def renew(self) -> Credential:
        """Read the file again, changed or not, and return its token."""
        self._read_again()
        return Credential(f"Bearer {self._token}", self._certificate)

    def _read_again(self) -> None:
        # The mark is taken before the content: a file that changes in between is read once more, never missed.
        self._mark, self._read_at = file_mark(self._path), self._monotonic()
        try:
            self._token = _read_token(self._path)
        except ClusterConfigError as error:
            _LOG.warning("%s; the last token stays in use", error)


def file_mark(path: Path) -> tuple[int, int, int, int] | None:
    """Return a value that changes when a file is rewritten or replaced, or None if the file does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ClusterConfigError(f"token file {path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_TOKEN_BYTES:
        raise ClusterConfigError(
            f"token file {path}: longer than {MAX_TOKEN_BYTES} bytes; is it the right file?"
        )
    token = data.decode("latin-1").strip()
    if not token:
        raise ClusterConfigError(f"token file {path}: is empty; write the token into it")
    return header_safe(token, f"token file {path}")
