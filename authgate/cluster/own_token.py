"""The claims of the gate's own token. Nothing is verified: it is the gate's own credential, not a client's."""

from __future__ import annotations

import base64
import binascii
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final

from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from authgate.model import JSONValue

MAX_TOKEN_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class OwnToken:
    """The claims of a token; "", empty or None for a missing one.

    `issuer` is set for a ServiceAccount token only; `issued` and `expires` are in seconds since 1970.
    """

    subject: str = ""
    issuer: str = ""
    _: KW_ONLY
    audiences: tuple[str, ...] = ()
    issued: float | None = None
    expires: float | None = None


def read_own_token(token: str | None) -> OwnToken:
    """Return the claims of a token; all are empty if it is not a JWT.

    The issuer is set only if the token has a `kubernetes.io` claim, as bound ServiceAccount tokens do.
    """
    parts = (token or "").split(".")
    if len(parts) != 3 or len(parts[1]) > MAX_TOKEN_BYTES:
        return OwnToken()
    try:
        payload = parse_object(
            base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError, StrictJSONError):
        return OwnToken()
    subject, issuer = payload.get("sub"), payload.get("iss")
    bound = isinstance(payload.get("kubernetes.io"), dict)
    return OwnToken(
        subject=subject if isinstance(subject, str) else "",
        issuer=issuer if isinstance(issuer, str) and bound else "",
        audiences=_texts(payload.get("aud")),
        issued=_seconds(payload.get("iat")),
        expires=_seconds(payload.get("exp")),
    )


def _texts(value: JSONValue) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(item for item in items if isinstance(item, str))


def _seconds(value: JSONValue) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
