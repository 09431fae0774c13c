"""The headers that tell the app who sent the request: one preset a gate, always the same names, empty where unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from authgate.errors import Reason
from authgate.model import POD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authgate.model import Headers, Identity

Preset = Literal["oauth2-proxy", "kubernetes", "remote"]


class HeaderMapper:
    """Names an identity in the headers of a preset, or says why headers cannot carry it."""

    def __init__(self, preset: Preset, max_bytes: int) -> None:
        self._render = _PRESETS[preset]
        self._max_bytes = max_bytes
        self.anonymous: Headers = self._render(None)

    def map(self, identity: Identity) -> Headers | Reason:
        """Return the header names and values in their order; every name of the preset, always."""
        for value in _values(identity):
            if value.strip() != value:  # white space at its ends would be dropped (RFC 9110, section 5.5)
                return Reason.IDENTITY_UNSENDABLE
        headers = self._render(identity)
        if sum([len(name) + len(value.encode()) + 4 for name, value in headers]) > self._max_bytes:
            return Reason.IDENTITY_TOO_LARGE
        return headers


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
}
