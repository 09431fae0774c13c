"""What the gate shows the API server, and how a token file is followed as it is written anew."""

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
"""Seconds after which a token file is read again even where it looks unchanged (as client-go does)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one request shows: an Authorization header, a client certificate, both or neither."""

    authorization: str | None = field(default=None, repr=False)
    certificate: ClientCertificate | None = None

    @property
    def token(self) -> str | None:
        """The bearer token inside, or None."""
        scheme, _, token = (self.authorization or "").partition(" ")
        return token if scheme == "Bearer" and token else None


class Credential(Protocol):
    """The gate's own credential; it may change from one request to the next."""

    def held(self) -> Shown:
        """Return what would be shown now, as far as that is known without waiting."""
        ...

    async def current(self) -> Shown:
        """Return what to show now; raises `ApiError` where there is nothing to show."""
        ...

    async def renew(self) -> Shown:
        """Return what to show after a server refused the last, perhaps the same again; raises `ApiError`."""
        ...


class FixedCredential:
    """A credential that never changes: a token, a password, a client certificate, or none at all."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def held(self) -> Shown:
        """Return the credential."""
        return self._shown

    async def current(self) -> Shown:
        """Return the credential."""
        return self._shown

    async def renew(self) -> Shown:
        """Return the same credential: there is no other."""
        return self._shown


class FileCredential:
    """A token in a file, read again when the file changes, when it was read 60 s ago, and after a refusal.

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

    def held(self) -> Shown:
        """Return the token of the file as it is now."""
        if file_mark(self._path) != self._mark or self._monotonic() - self._read_at >= MAX_TOKEN_AGE:
            self._read_again()
        return Shown(f"Bearer {self._token}", self._certificate)

    async def current(self) -> Shown:
        """Return the token of the file as it is now."""
        return self.held()

    async def renew(self) -> Shown:
        """Read the file again, changed or not, and return its token."""
        self._read_again()
        return Shown(f"Bearer {self._token}", self._certificate)

    def _read_again(self) -> None:
        # The mark is taken before the content: a file that changes in between is read once more, never missed.
        self._mark, self._read_at = file_mark(self._path), self._monotonic()
        try:
            self._token = _read_token(self._path)
        except ClusterConfigError as error:
            _LOG.warning("%s; the last token stays in use", error)


def file_mark(path: Path) -> tuple[int, int, int, int] | None:
    """Return what changes when a file is rewritten or replaced, or None for a file that is not there."""
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
