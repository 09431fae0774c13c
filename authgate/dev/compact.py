"""A JWS in compact serialization (RFC 7515 section 7.1), built from pieces that can each be invalid."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

JsonObject: TypeAlias = dict[str, object]
Clock: TypeAlias = Callable[[], float]
"""Returns seconds since the epoch."""


class Omit(enum.Enum):
    """The type of `OMIT`."""

    OMIT = "omit"


OMIT: Final = Omit.OMIT
"""A member with this value is removed; None would write a JSON null."""


def changed(members: Mapping[str, object], changes: Mapping[str, object] | None) -> JsonObject:
    """Return the members with the changes applied: replaced, added, or removed if the new value is `OMIT`."""
    together = {**members, **(changes or {})}
    return {name: value for name, value in together.items() if value is not OMIT}


def json_bytes(value: Mapping[str, object]) -> bytes:
    """Serialize an object as kube-apiserver does: sorted members, no spaces. NaN and lone surrogates are allowed."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")


def segment(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def compact(header: bytes, payload: bytes, signature: bytes) -> str:
    """Return a compact JWS of three arbitrary pieces."""
    return f"{segment(header)}.{segment(payload)}.{segment(signature)}"
