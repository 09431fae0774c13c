"""Render a decision as an HTTP status and headers. The body is always empty."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from authgate.errors import REASONS, Challenge, Reason
from authgate.model import Allow, Decision, Deny, Unavailable
from authgate.vocabulary import REASON_HEADER

if TYPE_CHECKING:
    from authgate.model import Headers

_MAX_DESCRIPTION = 200
_NOT_QUOTABLE = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    for status in (200, *{info.status for info in REASONS.values()})
}
_BASIC_CHALLENGE: Final = 'Basic realm="authgate", charset="UTF-8"'
_COMMON: Final = (("Cache-Control", "no-store"), ("Content-Length", "0"), ("Server", "authgate"))


def render(decision: Decision, *, reads_basic: bool = False, more: Headers = ()) -> tuple[int, Headers]:
    """Return the status and the headers of a decision, with `more` headers. Only a 200 has identity headers.

    With `reads_basic`, a 401 also asks for a Basic password. Both challenges are in one line, because nginx before 1.23
    forwards only one. Basic is first, because some clients read only the first challenge of a line.
    """
    match decision:
        case Allow(headers=headers):
            return 200, headers + more + _COMMON
        case Deny(reason, detail):
            info = REASONS[reason]
            headers = ((REASON_HEADER, reason.value), *more, *_COMMON)
            if info.status == 404:
                return info.status, headers
            asked = challenge(reason, detail)
            if reads_basic and info.status == 401:
                asked = f"{_BASIC_CHALLENGE}, {asked}"
            return info.status, (("WWW-Authenticate", asked), *headers)
        case Unavailable(reason, _, retry_after):
            retry = ("Retry-After", str(retry_after))
            return REASONS[reason].status, (retry, (REASON_HEADER, reason.value), *more, *_COMMON)


def challenge(reason: Reason, detail: str) -> str:
    """Return the Bearer challenge of a refusal (RFC 6750, section 3).

    A request without any credential gets no error code, as section 3.1 requires.
    """
    info = REASONS[reason]
    if info.challenge is Challenge.NONE:
        return 'Bearer realm="authgate"'
    description = f"{info.meaning}: {detail}" if detail else info.meaning
    return f'Bearer realm="authgate", error="{info.challenge.value}", error_description="{_quotable(description)}"'


def _quotable(text: str) -> str:
    """Replace what an error_description may not hold: all but %x20-21 / %x23-5B / %x5D-7E (RFC 6750, section 3)."""
    return _NOT_QUOTABLE.sub("'", text[:_MAX_DESCRIPTION])


def head_of(decision: Decision) -> bytes:
    """Return the bytes of a decision's answer before its `TAIL`, as aiohttp would write them."""
    if isinstance(decision, Allow):
        status, headers = 200, decision.headers
    else:
        status, headers = render(decision)
        headers = headers[: -len(_COMMON)]
    return (_STATUS_LINES[status] + "".join([f"{name}: {value}\r\n" for name, value in headers])).encode()


TAIL: Final = ("".join([f"{name}: {value}\r\n" for name, value in _COMMON]) + "Date: ").encode()
"""The end of every answer, except for the date and the empty line."""
