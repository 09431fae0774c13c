"""TokenRequest: the token to request, and a strict reading of the answer (`authentication.k8s.io/v1`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from authgate.cluster.failures import clean
from authgate.cluster.own_token import MAX_TOKEN_BYTES, read_own_token
from authgate.cluster.reviews import UnusableError, members_of, read_answer_object
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.cluster.transport import RawAnswer
    from authgate.model import JSONValue

REFUSED: Final = frozenset({400, 403, 404, 409, 422})
"""The statuses that are a decision: the same request will be refused again."""

_TOKEN: Final = re.compile(r"[!-~]+")
_TIMESTAMP: Final = re.compile(r"[0-9T:.Z+-]{20,40}")
_USER: Final = re.compile(r'User "([^"\\]{1,512})" cannot create resource "serviceaccounts/token"')


@dataclass(frozen=True, slots=True)
class BoundObject:
    """The object in the account's namespace whose deletion invalidates the token."""

    kind: Literal["Pod", "Secret"]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpec:
    """The token to request: its account, its audiences (never empty), its lifetime in seconds and its bound object."""

    namespace: str
    account: str
    audiences: tuple[str, ...]
    lifetime: int
    bound_to: BoundObject | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that the server issued; `lifetime` is in seconds, `expires_at` the server's RFC 3339 text."""

    text: str = field(repr=False)
    lifetime: int
    expires_at: str


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """A request that the server understood and refused, with its message, bounded.

    `resource` names what is missing after a 404 (such as `pods`), `user` the account without permission after a 403.
    Both are "" if the server does not name them.
    """

    status: int
    message: str
    resource: str = ""
    user: str = ""


TokenAnswer = IssuedToken | TokenRefusal


def read_refusal(answer: RawAnswer, own_token: str | None) -> TokenRefusal:
    """Read the `Status` of a refusal; the gate's own token is removed from the server's message."""
    try:
        status = parse_object(answer.body)
    except StrictJSONError:
        return TokenRefusal(answer.status, "")
    message, details = status.get("message"), status.get("details")
    message = message if isinstance(message, str) else ""
    resource = details.get("kind") if isinstance(details, dict) else None
    forbidden = _USER.search(message)
    return TokenRefusal(
        answer.status,
        clean(message, (own_token,)),
        clean(resource) if isinstance(resource, str) else "",
        forbidden[1] if forbidden and forbidden[1].isprintable() else "",
    )


def parse_token(body: bytes) -> IssuedToken:
    """Read a TokenRequest; raises `ApiError` (bad_answer), which quotes nothing from it.

    The real lifetime is the token's own, `exp` minus `iat`: a server may shorten what was requested, and extends some
    tokens without reporting it elsewhere. A token that is not a JWT has the lifetime of the answer's spec.
    """
    return read_answer_object("TokenRequest", body, _issued)


def _issued(answer: Mapping[str, JSONValue]) -> IssuedToken:
    spec, status = members_of(answer, "spec"), members_of(answer, "status")
    token, expires_at = status.get("token"), status.get("expirationTimestamp")
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
        raise UnusableError("status.token is not a token")
    if not isinstance(expires_at, str) or not _TIMESTAMP.fullmatch(expires_at):
        raise UnusableError("status.expirationTimestamp is not a time")
    own = read_own_token(token)
    if own.expires is not None and own.issued is not None and own.expires > own.issued:
        return IssuedToken(token, round(own.expires - own.issued), expires_at)
    seconds = spec.get("expirationSeconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        raise UnusableError("spec.expirationSeconds is not a lifetime")
    return IssuedToken(token, seconds, expires_at)
