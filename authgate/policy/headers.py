"""The identity headers for the app: always the same names for a preset, with empty values for what is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol
from urllib.parse import quote

from authgate.errors import Reason
from authgate.expressions import Failed
from authgate.text import is_clean
from authgate.vocabulary import POD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authgate.model import Headers, Identity, VerifiedClaims
    from authgate.policy.mapped_headers import MappedHeader
    from authgate.policy.role import Role
    from authgate.vocabulary import Preset


class IdentityToken(Protocol):
    """A header that contains a signed identity token."""

    @property
    def name(self) -> str:
        """The name of the header."""
        ...

    def value(self, identity: Identity, policy: str, expires_at: float | None) -> str:
        """Return the token, or "" if it would already be expired; `expires_at` is the verdict's, in POSIX seconds."""
        ...


_UTF8_BYTES: Final = 4  # the most that one character takes


@dataclass(frozen=True, slots=True)
class HeaderFailure:
    """Headers cannot carry the identity. `detail` names the header, never its value."""

    reason: Literal[Reason.IDENTITY_UNSENDABLE, Reason.IDENTITY_TOO_LARGE]
    detail: str = ""


class HeaderMapper:
    """Turns an identity into the headers of a preset and the configured additional ones.

    `mapped` are headers from claims and expressions, `identity_token` is a header with a signed token. `max_bytes`
    limits their total size.
    """

    def __init__(
        self,
        preset: Preset,
        max_bytes: int,
        *,
        mapped: Iterable[MappedHeader] = (),
        identity_token: IdentityToken | None = None,
    ) -> None:
        self._render = _PRESETS[preset]
        self._max_bytes = max_bytes
        self._mapped = tuple(mapped)
        self._identity_token = identity_token
        self.same_for_sender: Final = preset != "kubernetes" and not self._mapped and identity_token is None
        """Whether tokens of a `Sender` have the same headers, except that one may show the first personal value."""

    def anonymous(self, role: Role | None = None) -> Headers:
        """Return the headers of an anonymous request: every name, with empty values."""
        further = [
            *self._mapped,
            *(role.headers if role else ()),
            *([self._identity_token] if self._identity_token else ()),
        ]
        return (*self._render(None), *((header.name, "") for header in further))

    def map(
        self,
        identity: Identity,
        policy: str = "",
        expires_at: float | None = None,
        claims: VerifiedClaims | None = None,
        role: Role | None = None,
    ) -> Headers | HeaderFailure:
        """Return all headers in order, including empty ones, or why they cannot carry the identity.

        An identity token contains the `policy` and ends at `expires_at` (POSIX seconds) at the latest. Without
        `claims`, as after a TokenReview, headers from claims are empty. A `role` may rename user and groups, and add
        headers.
        """
        mapped = self._mapped
        if role is not None:
            renamed = role.rename(identity, {} if claims is None else claims.members)
            if isinstance(renamed, str):
                return HeaderFailure(Reason.IDENTITY_UNSENDABLE, renamed)
            identity, mapped = renamed, (*mapped, *role.headers)
        for value in _values(identity):
            if value.strip() != value:  # parsers drop white space around a value (RFC 9110, section 5.5)
                return HeaderFailure(Reason.IDENTITY_UNSENDABLE)
        headers = self._render(identity)
        for header in mapped:
            text = _mapped(header, identity, claims)
            if isinstance(text, HeaderFailure):
                return text
            headers = (*headers, (header.name, text))
        if self._identity_token is not None:
            headers = (
                *headers,
                (self._identity_token.name, self._identity_token.value(identity, policy, expires_at)),
            )
        size = sum([len(name) + len(value) + 4 for name, value in headers])
        if _UTF8_BYTES * size > self._max_bytes:  # otherwise it fits even if every character takes 4 bytes
            size = sum([len(name) + len(value.encode()) + 4 for name, value in headers])
            if size > self._max_bytes:
                return HeaderFailure(Reason.IDENTITY_TOO_LARGE)
        return headers


def _mapped(header: MappedHeader, identity: Identity, claims: VerifiedClaims | None) -> str | HeaderFailure:
    values = header.values(identity, {} if claims is None else claims.members)
    if isinstance(values, Failed):
        return HeaderFailure(Reason.IDENTITY_UNSENDABLE, f"header {header.name}: {values.detail}")
    text = _joined(values)
    if any(value.strip() != value for value in values) or not is_clean(text):
        return HeaderFailure(Reason.IDENTITY_UNSENDABLE, f"header {header.name}")
    return text


def _values(identity: Identity) -> list[str]:
    values = [identity.username, identity.uid, identity.issuer, identity.email, identity.preferred_username]
    values += identity.groups
    for _, more in identity.extra:
        values += more
    return values


def _joined(values: Iterable[str]) -> str:
    return ",".join([value.replace("%", "%25").replace(",", "%2C") for value in values])


def _oauth2_proxy(identity: Identity | None) -> Headers:
    account = identity.service_account if identity else None
    return (
        ("X-Auth-Request-User", identity.username if identity else ""),
        ("X-Auth-Request-Groups", _joined(identity.groups) if identity else ""),
        ("X-Auth-Request-Uid", identity.uid if identity else ""),
        ("X-Auth-Request-Issuer", identity.issuer if identity else ""),
        ("X-Auth-Request-Cluster", (identity.cluster or "") if identity else ""),
        ("X-Auth-Request-Namespace", account.namespace if account else ""),
        ("X-Auth-Request-Service-Account", account.name if account else ""),
        ("X-Auth-Request-Pod", identity.extra_value(POD_NAME) if identity else ""),
        ("X-Auth-Request-Email", identity.email if identity else ""),
        ("X-Auth-Request-Preferred-Username", identity.preferred_username if identity else ""),
    )


def _kubernetes(identity: Identity | None) -> Headers:
    # Source: the request-header authenticator, staging/src/k8s.io/apiserver/pkg/authentication/request/headerrequest
    if identity is None:
        return (("X-Remote-User", ""), ("X-Remote-Group", ""), ("X-Remote-Uid", ""))
    groups = tuple(("X-Remote-Group", group) for group in identity.groups) or (("X-Remote-Group", ""),)
    extra = tuple(
        (f"X-Remote-Extra-{quote(key.lower(), safe='')}", value)
        for key, values in identity.extra
        for value in values
    )
    return (("X-Remote-User", identity.username), *groups, ("X-Remote-Uid", identity.uid), *extra)


def _remote(identity: Identity | None) -> Headers:
    return (
        ("Remote-User", identity.username if identity else ""),
        ("Remote-Groups", _joined(identity.groups) if identity else ""),
        ("Remote-Email", identity.email if identity else ""),
        ("Remote-Name", identity.preferred_username if identity else ""),
    )


_PRESETS: Final[dict[Preset, Callable[[Identity | None], Headers]]] = {
    "oauth2-proxy": _oauth2_proxy,
    "kubernetes": _kubernetes,
    "remote": _remote,
    "none": lambda _: (),
}
