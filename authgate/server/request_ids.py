"""Request ids: one text that finds a request in the logs of the proxy, of authgate and of the app."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from authgate.credential.bearer import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.credential.bearer import RawHeaders
    from authgate.model import Headers

MAX_LENGTH: Final = 128
"""The longest id that is taken from a request."""
_ALLOWED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:/+=@|-"
_JWT: Final = b"eyJ"
"""How a JWT begins. The log masks texts with it, so such an id could not be found there."""
_BYTES: Final = 16
_POOL: Final = 64


class RequestIds:
    """Take the id of each request from a header, or generate one of 128 random bits.

    Create one object in each process: it reads random bytes ahead.
    """

    def __init__(self, header: str) -> None:
        self.header: Final = header
        self.field: Final = header.lower().encode()
        """The header's name as `values_of` takes it."""
        self._line = f"{header}: ".encode()
        self._new_lines: Iterator[bytes] = iter(())

    def of(self, headers: RawHeaders) -> str:
        """Return the id of a request with these headers."""
        values = values_of(headers, self.field)
        return self._id(values[0] if len(values) == 1 else b"").decode()

    def line(self, value: bytes | None) -> bytes:
        """Return the response's header line; `value` is the only one in the request, or None."""
        return self._new_line() if value is None else self._line + self._id(value) + b"\r\n"

    def _new_line(self) -> bytes:
        return next(self._new_lines, b"") or self._more_lines()

    def answer_headers(self, request_id: str) -> Headers:
        """Return the header of a response."""
        return ((self.header, request_id),)

    def _id(self, value: bytes) -> bytes:
        """Return a value without white space around it, or a new id if it is not well-formed."""
        value = value.strip(b" \t")
        if value and len(value) <= MAX_LENGTH and not value.translate(None, _ALLOWED) and _JWT not in value:
            return value
        return self._new_line()[len(self._line) : -2]

    def _more_lines(self) -> bytes:
        ids = os.urandom(_BYTES * _POOL).hex("\0", _BYTES).encode()
        between = b"\r\n\0" + self._line
        self._new_lines = iter((self._line + ids.replace(b"\0", between) + b"\r\n").split(b"\0"))
        return next(self._new_lines)


def named(request_id: str | None) -> dict[str, str]:
    """Return the attribute of a log line about one request."""
    return {} if request_id is None else {"http_request_id": request_id}
