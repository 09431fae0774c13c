"""The TokenRequest exchange: what is sent, and a strict reading of what comes back (`authentication.k8s.io/v1`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.own_token import MAX_TOKEN_BYTES, read_own_token
from authgate.cluster.wording import clean
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.cluster.transport import RawAnswer
    from authgate.model import JSONValue

MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer that are read."""

REFUSED: Final = frozenset({400, 403, 404, 409, 422})
"""The statuses by which a server tells that this token is not to be had, whoever asks how often."""

_TOKEN: Final = re.compile(r"[!-~]+")
_TIMESTAMP: Final = re.compile(r"[0-9T:.Z+-]{20,40}")
_USER: Final = re.compile(r'User "([^"\\]{1,512})" cannot create resource "serviceaccounts/token"')


@dataclass(frozen=True, slots=True)
class BoundObject:
    """What a token lives and dies with, in the account's own namespace."""

    kind: Literal["Pod", "Secret"]
    name: str


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """A token to ask for: whose, for which audiences (never empty), for how many seconds, and bound to what.

    Names must be fit for a path, as Kubernetes' own names are.
    """

    namespace: str
    account: str
    audiences: tuple[str, ...]
    lifetime: int
    bound_to: BoundObject | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as the server gave it; `lifetime` is its real one in seconds, `expires_at` the server's RFC 3339 text."""

    text: str = field(repr=False)
    lifetime: int
    expires_at: str


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """A request that the server understood and refused, with its words, bounded.

    `resource` names what is missing after a 404 (such as `pods`), `user` who is not allowed after a 403; "" where
    the server does not tell.
    """

    status: int
    said: str
    resource: str = ""
    user: str = ""


TokenAnswer = IssuedToken | TokenRefusal


def request_path(wanted: TokenSpec) -> str:
    """Return where tokens of the account are asked for."""
    return f"/api/v1/namespaces/{wanted.namespace}/serviceaccounts/{wanted.account}/token"


def request_body(wanted: TokenSpec) -> dict[str, object]:
    """Return the object to post."""
    spec: dict[str, object] = {"audiences": list(wanted.audiences), "expirationSeconds": wanted.lifetime}
    if wanted.bound_to is not None:
        bound = {"apiVersion": "v1", "kind": wanted.bound_to.kind, "name": wanted.bound_to.name}
        spec["boundObjectRef"] = bound
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def read_refusal(answer: RawAnswer, own_token: str | None) -> TokenRefusal:
    """Read the `Status` of a refusal; the gate's own token is removed from the server's words."""
    try:
        status = parse_object(answer.body)
    except StrictJSONError:
        return TokenRefusal(answer.status, "")
    said, details = status.get("message"), status.get("details")
    said = said if isinstance(said, str) else ""
    resource = details.get("kind") if isinstance(details, dict) else None
    forbidden = _USER.search(said)
    return TokenRefusal(
        answer.status,
        clean(said, (own_token,)),
        clean(resource) if isinstance(resource, str) else "",
        forbidden[1] if forbidden and forbidden[1].isprintable() else "",
    )


def parse_token(body: bytes) -> IssuedToken:
    """Read a TokenRequest's status; raises `ApiError` (bad_answer), which quotes nothing of it.

    The real lifetime is the token's own, `exp` without `iat`: a server may shorten what was asked for, and extends
    some tokens without telling so elsewhere. What is no JWT has the lifetime of the answered spec.
    """
    try:
        answer = parse_object(body)
    except StrictJSONError as error:
        raise _bad(str(error)) from None
    if answer.get("kind") != "TokenRequest":
        raise _bad("its kind is not TokenRequest")
    spec, status = _members(answer, "spec"), _members(answer, "status")
    token, expires_at = status.get("token"), status.get("expirationTimestamp")
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
        raise _bad("status.token is no token")
    if not isinstance(expires_at, str) or not _TIMESTAMP.fullmatch(expires_at):
        raise _bad("status.expirationTimestamp is no time")
    says = read_own_token(token)
    if says.expires is not None and says.issued is not None and says.expires > says.issued:
        return IssuedToken(token, round(says.expires - says.issued), expires_at)
    seconds = spec.get("expirationSeconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        raise _bad("spec.expirationSeconds is no time to live")
    return IssuedToken(token, seconds, expires_at)


def _members(answer: Mapping[str, JSONValue], name: str) -> Mapping[str, JSONValue]:
    value = answer.get(name)
    if not isinstance(value, dict):
        raise _bad(f"it has no {name}")
    return value


def _bad(problem: str) -> ApiError:
    return ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is no usable TokenRequest: {problem}")
